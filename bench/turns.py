"""Times functions that do the same work: called in turns, so that a busy machine slows all alike; medians."""

import time
from collections.abc import Callable, Mapping
from os import times
from statistics import median

PEERS = "requirements-bench.txt"


def processor_seconds() -> float:
    """Of this process, all its threads, and of the programs that it has waited for."""
    return time.process_time() + times().children_user + times().children_system


def measure(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median processor seconds of each way; a first round, which pays for imports and caches, does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            begin = processor_seconds()
            way()
            if number:
                seconds[name].append(processor_seconds() - begin)
    return {name: median(taken) for name, taken in seconds.items()}


def not_installed(package: str, error: Exception) -> str:
    """What a bench says in place of a figure of a peer that does not load."""
    return f"not installed: uv pip install -r {PEERS} ({package}: {str(error).strip().splitlines()[0][:100]})"
