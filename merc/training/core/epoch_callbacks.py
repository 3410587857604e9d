"""Callbacks after each epoch of a training: TensorBoard logs and the weights of selected epochs.

The logs (tensorboard --logdir out/runs) are no declared output of a stage, because they contain times.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from merc.runtime import results
from merc.training.core import torchrun
from merc.training.core.loop import SCORE, EpochCallback
from merc.training.core.network import MultimodalNetwork

TENSORBOARD_FOLDER = Path("out/runs")


def log_folder(stage: str) -> Path:
    """The folder of the logs of a run of the stage that begins now."""
    return TENSORBOARD_FOLDER / stage / time.strftime("%Y%m%d-%H%M%S")


@contextmanager
def tensorboard(stage: str) -> Iterator[list[EpochCallback]]:
    """The callback that logs a run of the stage; of several processes in the first one alone."""
    if not torchrun.is_first():
        yield []
        return
    with TensorBoardLogger(log_folder(stage)) as board:
        yield [board]


class TensorBoardLogger:
    """Logs the metrics of each epoch for TensorBoard at once, so that a killed training loses none of them."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes 0.4 CPU-seconds: not at module level

        self.writer = SummaryWriter(folder)

    def __enter__(self) -> "TensorBoardLogger":
        return self

    def __exit__(self, *_: Any) -> None:
        self.writer.close()

    def __call__(self, row: dict[str, float], network: MultimodalNetwork) -> None:
        for name, value in row.items():
            self.writer.add_scalar(_tag(name), value, int(row["epoch"]))
        self.writer.flush()


def _tag(name: str) -> str:
    """dev_macro_f1 -> dev/macro_f1: TensorBoard groups charts by the part before the slash."""
    return name.replace("_", "/", 1)


MAX_KEPT_EPOCHS = 8  # maximum number of epochs kept: the best, and up to seven at equal distances
LOG_FILE = "log.json"


class EpochSnapshots:
    """Saves the weights of the best epoch so far and of every n-th, n doubling as the training gets longer.

    At no time are there more than MAX_KEPT_EPOCHS files, however long the training is.
    """

    def __init__(self, folder: Path, selected_by: str) -> None:
        self.folder, self.interval, self.selected_by = folder, 1, selected_by
        self.scores: dict[int, float] = {}
        folder.mkdir(parents=True)

    def __call__(self, row: dict[str, float], network: MultimodalNetwork) -> None:
        """Save the network if this epoch is kept, and delete epochs no longer kept."""
        epoch = int(row["epoch"])
        self.scores[epoch] = row[SCORE]
        if epoch in self._kept():
            weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
            save_file(weights, self._file(epoch))
        for dropped in self.scores.keys() - self._kept():
            self._file(dropped).unlink(missing_ok=True)
        self._write_log()

    def _kept(self) -> set[int]:
        while (
            len(regular := {epoch for epoch in self.scores if (epoch - 1) % self.interval == 0}) >= MAX_KEPT_EPOCHS
        ):
            self.interval *= 2
        return regular | {self._best()}

    def _best(self) -> int:
        return max(self.scores, key=lambda epoch: self.scores[epoch])

    def _file(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch}.safetensors"

    def _write_log(self) -> None:
        epochs = [
            {"epoch": epoch, "dev": self.scores[epoch], "file": self._file(epoch).name}
            for epoch in sorted(self._kept())
        ]
        log = {"selected_by": self.selected_by, "best": self._best(), "epochs": epochs}
        results.write_json(self.folder / LOG_FILE, log)
