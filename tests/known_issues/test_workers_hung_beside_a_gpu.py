"""CUDA does not survive a fork: worker processes never answered."""

import multiprocessing
import sys

from merc.runtime import workers


def fork_or_spawn(number: int) -> str:
    return multiprocessing.get_start_method()


def test_where_there_is_a_gpu_nothing_is_forked(monkeypatch):
    """Whoever asked for it (stages ask for compute.device) has started the driver, which a fork would break."""
    assert workers.run([0], fork_or_spawn, seconds=60.0) == ["fork" if sys.platform == "linux" else "spawn"]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert workers.run([0], fork_or_spawn, seconds=60.0) == ["spawn"]
