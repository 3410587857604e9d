"""Answers of a prediction row: what each task says, in numbers and in words."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from merc.data.records.labels import Task
from merc.training.core import calibration
from merc.training.core.calibration import Calibration
from merc.training.core.task_scores import task_scores

NO_ANSWERS = ("gates", "kinds", "typicality")  # keys of a row that hold an object and are no task
HOLDS = 0.5  # probability from which on a class of a multilabel task is answered


def task_answers(task: Task, outputs: np.ndarray, calibrated: Calibration) -> list[dict[str, float]]:
    """Of (N, C) outputs: a probability for each class, or `value`, `low` and `high` of a number."""
    if task.kind == "regression":
        values = task_scores(task).answers(outputs.astype(np.float64))
        bounds = calibration.intervals(values, calibrated, task)
        return [
            {"value": float(value), "low": float(low), "high": float(high)}
            for value, (low, high) in zip(values, bounds, strict=True)
        ]
    probabilities = calibration.apply(outputs.astype(np.float64), calibrated)
    return [dict(zip(task.classes, row.tolist(), strict=True)) for row in probabilities]


def likely_sets(
    task: Task | None, answers: Sequence[Mapping[str, float]], calibrated: Calibration
) -> list[list[str]]:
    """The classes that cannot be ruled out (multilabel: that hold), the most probable first; of a number none."""
    if task is None or task.kind == "regression" or not answers:
        return [[] for _ in answers]
    probabilities = np.array([list(answer.values()) for answer in answers])
    members = probabilities > HOLDS
    if task.kind == "classification":
        members = calibration.label_sets(probabilities, calibrated)
    return [
        [task.classes[column] for column in sorted(np.flatnonzero(member), key=lambda column: -row[column])]
        for member, row in zip(members, probabilities, strict=True)
    ]


def of_row(row: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """A row's answers by task, those that a model without such a head leaves empty left out."""
    return {
        name: value for name, value in row.items() if isinstance(value, dict) and value and name not in NO_ANSWERS
    }


def lead(row: Mapping[str, Any]) -> str:
    """The task that is shown first: the first of the model."""
    return next(iter(of_row(row)))


def kind(row: Mapping[str, Any], task: str) -> str:
    """What the answer is; rows name the kinds of tasks that are no classification."""
    return row.get("kinds", {}).get(task, "classification")


def in_words(row: Mapping[str, Any], task: str) -> str:
    """The likeliest class and its probability in percent; all classes that hold; or the number and its interval."""
    answer = row.get(task)
    if not answer:
        return "-"
    if kind(row, task) == "regression":
        return f"{answer['value']:.2f} [{answer['low']:.2f}, {answer['high']:.2f}]"
    if kind(row, task) == "multilabel":
        held = sorted((chance, label) for label, chance in answer.items() if chance > HOLDS)[::-1]
        return ", ".join(f"{label} {100 * chance:.0f} %" for chance, label in held) or "none"
    label = max(answer, key=answer.__getitem__)
    return f"{label} {100 * answer[label]:.0f} %"
