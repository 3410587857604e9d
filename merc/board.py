"""Learning curves while a training runs: tensorboard --logdir out/runs. Undeclared, since its files hold times."""

from pathlib import Path
from typing import Any

from torch import nn

RUNS = Path("out/runs")


class Board:
    """Writes the numbers of each epoch for TensorBoard, at once, so that a killed training shows all it reached."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter  # 0.4 CPU-seconds: only a process that trains pays

        self.writer = SummaryWriter(folder)

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, *_: Any) -> None:
        self.writer.close()

    def __call__(self, row: dict[str, float], network: nn.Module) -> None:
        for name, value in row.items():
            self.writer.add_scalar(_group(name), value, int(row["epoch"]))
        self.writer.flush()


def _group(name: str) -> str:
    """dev_macro_f1 -> dev/macro_f1: TensorBoard draws what is before the slash together."""
    return name.replace("_", "/", 1)
