"""Weights of some epochs of one training: how much does choosing the best epoch on dev flatter the score."""

from pathlib import Path

from safetensors.torch import save_file
from torch import nn

from merc import results
from merc.engine import SCORE

MOST = 8  # epochs that are kept: the best, and up to seven at even distances
LOG = "log.json"


class KeptEpochs:
    """Keeps the best epoch so far, and every first, second, fourth ... as the training grows longer.

    So no more than `MOST` lie on the disk at any time, however long the training gets.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.every = folder, 1
        self.scores: dict[int, float] = {}
        folder.mkdir(parents=True)

    def __call__(self, row: dict[str, float], network: nn.Module) -> None:
        """See the network after one more epoch."""
        epoch = int(row["epoch"])
        self.scores[epoch] = row[SCORE]
        if epoch in self._kept():
            weights = {name: one.detach().cpu().contiguous() for name, one in network.state_dict().items()}
            save_file(weights, self._file(epoch))
        for other in self.scores.keys() - self._kept():
            self._file(other).unlink(missing_ok=True)
        self._log()

    def _kept(self) -> set[int]:
        while len(even := {epoch for epoch in self.scores if (epoch - 1) % self.every == 0}) >= MOST:
            self.every *= 2
        return even | {self._best()}

    def _best(self) -> int:
        return max(self.scores, key=lambda epoch: self.scores[epoch])

    def _file(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch}.safetensors"

    def _log(self) -> None:
        epochs = [
            {"epoch": epoch, "dev": self.scores[epoch], "file": self._file(epoch).name}
            for epoch in sorted(self._kept())
        ]
        log = {"selected_by": "dev macro_f1", "best": self._best(), "epochs": epochs}
        results.write_json(self.folder / LOG, log)
