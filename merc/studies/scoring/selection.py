"""On which split a system was selected: as its author declares, or as the scores of its epochs show."""

import numpy as np

from merc.data.records.selection import MAIN_METRIC
from merc.evaluation.missing_modalities import FULL
from merc.evaluation.predictions import Predictions
from merc.evaluation.selection_gap import EPOCH_PREFIX
from merc.runtime.errors import UserError
from merc.studies.scoring.prediction_files import ANSWER_PART, SystemPredictions


def selected_on(system: SystemPredictions, dev: SystemPredictions | None, declared: str | None) -> str:
    """`dev`, `test` or `unknown`; raise if the epochs show another split than the declared one.

    Where both files have conditions `epoch:<n>`, `full` is one of these epochs: if in every seed that with the best
    dev score, it was selected on dev; if the best of test instead, on test.
    """
    shown = _shown(system, dev) if dev is not None else None
    if shown and declared and shown != declared:
        raise UserError(f"--selected-on {declared}: condition full is the epoch that is best on {shown}")
    return shown or declared or "unknown"


def _shown(system: SystemPredictions, dev: SystemPredictions) -> str | None:
    """The split that the epochs show, or nothing if there are none, or they show neither."""
    test, found = system.predictions, set()
    task = next((name for name in test.outputs if name in dev.predictions.outputs), None)
    if task is None:
        return None
    for seed in sorted({key.seed for key in test.keys}):
        on_test, on_dev = _by_epoch(test, task, seed), _by_epoch(dev.predictions, task, seed)
        if len(on_test) < 2 or set(on_test) != set(on_dev):
            return None
        best = {name: max(each, key=each.__getitem__) for name, each in (("dev", on_dev), ("test", on_test))}
        same = {name for name, epoch in best.items() if _is_full(test, task, seed, epoch)}
        found.add("dev" if "dev" in same else "test" if same else None)
    return found.pop() if len(found) == 1 else None


def _by_epoch(predictions: Predictions, task: str, seed: int) -> dict[str, float]:
    of_seed = predictions.take_seeds({seed})
    name, measure = of_seed.keys[0].model if of_seed.keys else "", predictions.measure(task)
    main = MAIN_METRIC[measure.kind]
    epochs = [condition for condition in of_seed.conditions(name) if condition.startswith(EPOCH_PREFIX)]
    return {
        epoch: float(measure.summarise(of_seed.confusions(task, name, [epoch]))[main].mean()) for epoch in epochs
    }


def _is_full(predictions: Predictions, task: str, seed: int, epoch: str) -> bool:
    blocks = {key.condition: n for n, key in enumerate(predictions.keys) if key.seed == seed}
    answers = predictions.outputs[task][ANSWER_PART[predictions.task(task).kind]]
    return bool(np.array_equal(answers[blocks[FULL]], answers[blocks[epoch]]))
