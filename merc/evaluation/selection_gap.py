"""Selection gap: how much selecting the epoch on test instead of dev would have added to the test scores.

Training keeps the weights of some epochs; `epochs/log.json` beside a trained network records by which score the
epoch was selected. A selection on test is an error.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from merc.data.records.selection import LOWER_IS_BETTER
from merc.evaluation.missing_modalities import FULL
from merc.evaluation.predictions import Predictions
from merc.runtime import results
from merc.runtime.errors import UserError

LOG_FILE = Path("epochs/log.json")
EPOCH_PREFIX = "epoch:"  # prefix of a condition: all modalities, weights of that epoch
MEASURES = {
    "classification": ("macro_f1", "weighted_f1", "accuracy"),
    "multilabel": ("macro_f1", "weighted_f1", "accuracy"),
    "regression": ("ccc", "pearson", "mae"),
}


def kept_epochs(folder: Path) -> dict[str, str]:
    """{condition: weights file in the folder} of every kept epoch; {} if none was kept."""
    if not (folder / LOG_FILE).is_file():
        return {}
    log = results.read_json(folder / LOG_FILE)
    try:
        _check_selection(folder / LOG_FILE, log)
        return {f"{EPOCH_PREFIX}{epoch['epoch']}": f"{LOG_FILE.parent}/{epoch['file']}" for epoch in log["epochs"]}
    except (KeyError, TypeError, AttributeError):
        raise UserError(
            f"{folder / LOG_FILE}: is no log of kept epochs; run `dvc repro {folder.parent.name}`"
        ) from None


def epoch_gap(predictions: Predictions, model: str, task: str = "emotion") -> dict[str, float]:
    """The best test score of the kept epochs minus the selected epoch's (NaN without any), and their number."""
    names = [name for name in predictions.conditions(model) if name.startswith(EPOCH_PREFIX)]
    measure = predictions.measure(task)
    if not names or task not in predictions.outputs:
        return dict.fromkeys(MEASURES[measure.kind], np.nan) | {"epochs": len(names)}
    matrices = predictions.confusions(task, model, [FULL, *names])
    by_epoch = measure.summarise(matrices)  # (seeds with epochs, 1 + epochs)
    gains = {name: _gain(by_epoch[name], name) for name in MEASURES[measure.kind]}
    return {name: float(gain.mean()) for name, gain in gains.items()} | {"epochs": len(names)}


def _gain(by_epoch: np.ndarray, name: str) -> np.ndarray:
    """(seeds,) how much the best other epoch is better than the selected one, the first of (seeds, 1 + epochs)."""
    sign = -1 if name in LOWER_IS_BETTER else 1
    return (sign * by_epoch[:, 1:]).max(axis=1) - sign * by_epoch[:, 0]


def _check_selection(path: Path, log: Mapping[str, Any]) -> None:
    """Raise if the epoch was selected on test, or is not the best one on dev."""
    remedy = f"choose on dev: run `dvc repro {path.parents[1].parent.name}`"
    if named := next((word for word in _words(log) if re.search(r"(^|[^a-z])test([^a-z]|$)", word.lower())), None):
        raise UserError(f"{path}: {named!r} names test, which must not choose an epoch; {remedy}")
    dev = {epoch["epoch"]: epoch["dev"] for epoch in log["epochs"]}
    if log["best"] not in dev or dev[log["best"]] < max(dev.values()):
        raise UserError(
            f"{path}: epoch {log['best']} was chosen, but {max(dev, key=dev.__getitem__)} is best on dev; {remedy}"
        )


def _words(log: Mapping[str, Any]) -> Iterator[str]:
    """The selecting score's name, and the log's keys."""
    yield from (str(log["selected_by"]), *log)
    for epoch in log["epochs"]:
        yield from epoch
