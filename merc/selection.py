"""What picking the epoch on test would have added: a study of the epochs that training kept.

A log of the kept epochs, `epochs/log.json` beside a trained network, says what the choice was made by; one that
was made on test is refused.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from merc import results, scores
from merc.conditions import FULL
from merc.predictions import Predictions
from merc.problem import Problem

LOG = Path("epochs/log.json")
EPOCH = "epoch:"  # prefix of a condition: everything present, but with the weights of that epoch
MEASURES = ("macro_f1", "weighted_f1", "accuracy")


def kept(folder: Path) -> dict[str, str]:
    """Condition -> file of weights in the folder, for every epoch that was kept; nothing if none was."""
    if not (folder / LOG).is_file():
        return {}
    log = results.read_json(folder / LOG)
    try:
        _refuse(folder / LOG, log)
        return {f"{EPOCH}{one['epoch']}": f"{LOG.parent}/{one['file']}" for one in log["epochs"]}
    except (KeyError, TypeError, AttributeError):
        raise Problem(f"{folder / LOG}: is no log of kept epochs; run `dvc repro {folder.parent.name}`") from None


def gap(found: Predictions, model: str) -> dict[str, float]:
    """The best test score of any kept epoch minus the chosen epoch's, and how many epochs; nan if none was kept."""
    names = [name for name in found.conditions(model) if name.startswith(EPOCH)]
    if not names or "emotion" not in found.answers:
        return dict.fromkeys(MEASURES, np.nan) | {"epochs": len(names)}
    measured = scores.summarise(found.matrices("emotion", model, [FULL, *names]))  # (seeds with epochs, 1 + epochs)
    gains = {name: measured[name][:, 1:].max(axis=1) - measured[name][:, 0] for name in MEASURES}
    return {name: float(gain.mean()) for name, gain in gains.items()} | {"epochs": len(names)}


def _refuse(path: Path, log: Mapping[str, Any]) -> None:
    again = f"choose on dev: run `dvc repro {path.parents[1].parent.name}`"
    if named := next((word for word in _words(log) if re.search(r"(^|[^a-z])test([^a-z]|$)", word.lower())), None):
        raise Problem(f"{path}: {named!r} names test, which must not choose an epoch; {again}")
    dev = {one["epoch"]: one["dev"] for one in log["epochs"]}
    if log["best"] not in dev or dev[log["best"]] < max(dev.values()):
        raise Problem(
            f"{path}: epoch {log['best']} was chosen, but {max(dev, key=dev.get)} is best on dev; {again}"
        )


def _words(log: Mapping[str, Any]) -> Iterator[str]:
    """What the choice was made by, and what was measured of each epoch."""
    yield from (str(log["selected_by"]), *log)
    for one in log["epochs"]:
        yield from one
