"""A training that was killed and is resumed ends with the same bytes, whatever state it has."""

import shutil
from pathlib import Path

import loops
import pytest
import torch
from safetensors.torch import save
from torch import nn

from merc.training.core import loop
from merc.training.core.optim import TrainablePart
from merc.training.core.saved_training import SavedTraining

EPOCHS = 6
SCORES = [0.3, 0.2, 0.1, 0.2, 0.4, 0.35]  # falls long enough for a plateau; the fifth epoch is the best
STATES = {
    "adamw": {},
    "adam": {"optimiser": "adam", "accumulate": 2},
    "moving average": {"average": 0.9},
    "plateau": {"schedule": "plateau", "average": 0.5},
}


class Killed(BaseException):
    """Nothing catches it."""


class RandomBatches(loops.FixedBatches):
    """Batches drawn anew in every epoch."""

    def __init__(self, random: torch.Generator) -> None:
        super().__init__([])
        self.random = random

    def draw(self) -> list[torch.Tensor]:
        return list(torch.randn(3, 4, 2, generator=self.random))


class Network(nn.Module):
    """A layer that is unfrozen late, one with dropout and batch statistics, and a parameter without a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.late, self.early = nn.Linear(2, 3), nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 1))
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.early(self.late(values))


def train(folder, kill_in: int | None = None, **changes) -> tuple[bytes, loop.History, list[int]]:
    """Weights, history, and the epochs that were scored; with `kill_in` it ends before that epoch is scored."""
    torch.manual_seed(1)
    random, scored = torch.Generator().manual_seed(1), []

    def score(network) -> dict[str, float]:
        epoch = int(torch.as_tensor(network.early[0].num_batches_tracked)) // 3
        if epoch == kill_in:
            raise Killed
        scored.append(epoch)
        return {loop.SCORE: SCORES[epoch - 1]}

    network = Network()
    parts = [
        TrainablePart([*network.early.parameters(), network.unused], 0.1),
        TrainablePart(list(network.late.parameters()), 0.05, first_epoch=2),
    ]
    history = loop.fit(
        network,
        lambda net, batch: {"square": net(batch).square().mean()},
        RandomBatches(random),
        score,
        loops.config(epochs=EPOCHS, **changes),
        parts,
        saved=SavedTraining(folder, {"order": random}),
    )
    return save(network.state_dict()), history, scored


@pytest.mark.parametrize("kill_in", [2, 3, 4, EPOCHS])
@pytest.mark.parametrize("changes", STATES.values(), ids=STATES)
def test_killed_and_continued_is_byte_identical(tmp_path, changes, kill_in):
    whole, history, _ = train(tmp_path / "whole", **changes)
    with pytest.raises(Killed):
        train(tmp_path / "killed", kill_in=kill_in, **changes)
    resumed, resumed_history, scored = train(tmp_path / "killed", **changes)
    assert scored == list(range(kill_in, EPOCHS + 1))
    assert resumed == whole and resumed_history == history
    assert loop.best_epoch(history) == 5


@pytest.mark.parametrize("step", range(3))
def test_killed_while_it_saves_it_goes_on_from_a_state_that_is_whole(tmp_path, monkeypatch, step):
    """Killed in the third save, before each of its steps: a folder that is removed loses its first file."""
    whole, history, _ = train(tmp_path / "whole")
    folder, saved, steps = tmp_path / "killed", [], []

    def counted(done):
        def call(path, *rest, **options):
            if len(saved) == 3 and Path(path).is_dir():
                if len(steps) == step:
                    if done is remove:
                        (Path(path) / "state.json").unlink()
                    raise Killed
                steps.append(path)
            return done(path, *rest, **options)

        return call

    def write(self, training):
        saved.append(training)
        write_state(self, training)

    write_state, remove = SavedTraining.write, shutil.rmtree
    with monkeypatch.context() as patch:
        patch.setattr(SavedTraining, "write", write)
        patch.setattr(shutil, "rmtree", counted(shutil.rmtree))
        patch.setattr(Path, "rename", counted(Path.rename))
        with pytest.raises(Killed):
            train(folder)
    resumed, resumed_history, scored = train(folder)
    assert resumed == whole and resumed_history == history
    assert scored[0] == (3, 3, 4)[step]
