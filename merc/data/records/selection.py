"""What selects: the score on dev by which an epoch is chosen, and whether a corpus can be trained on at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from merc.data.records.labels import Kind, LabelSpace, is_labelled, label_space
from merc.runtime import params
from merc.runtime.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

# The scores of a task by its kind; `train.select` names a task and one of them (merc/training/core/scores.py).
METRICS: dict[Kind, tuple[str, ...]] = {
    "classification": ("accuracy", "weighted_f1", "macro_f1", "uar"),
    "multilabel": ("accuracy", "subset_accuracy", "weighted_f1", "macro_f1"),
    "regression": ("mae", "pearson", "ccc", "acc2", "acc2_f1", "acc2_nonzero", "acc2_nonzero_f1", "acc5", "acc7"),
}
LOWER_IS_BETTER = ("mae",)
# The score of robustness, findings and tests of significance: higher is better, and 0 says nothing
MAIN_METRIC: dict[Kind, str] = {"classification": "macro_f1", "multilabel": "macro_f1", "regression": "ccc"}
TITLES = {
    "accuracy": "accuracy",
    "weighted_f1": "weighted F1",
    "macro_f1": "macro F1",
    "uar": "UAR",
    "subset_accuracy": "subset accuracy",
    "mae": "MAE",
    "pearson": "Pearson",
    "ccc": "CCC",
    "acc2": "Acc-2",
    "acc2_f1": "F1 of Acc-2",
    "acc2_nonzero": "Acc-2, no zeros",
    "acc2_nonzero_f1": "F1, no zeros",
    "acc5": "Acc-5",
    "acc7": "Acc-7",
}


class Selection(NamedTuple):
    """`train.select`: the score on dev by which an epoch, and the seed that is exported, are chosen."""

    task: str
    metric: str

    @property
    def sign(self) -> int:
        """1 if a higher score is better, else -1."""
        return -1 if self.metric in LOWER_IS_BETTER else 1

    def __str__(self) -> str:
        return f"{self.task}.{self.metric}"


def selection(text: str, space: LabelSpace) -> Selection:
    """The score that `train.select` names; refused if this label space has no such task or score."""
    chosen = Selection(*text.partition(".")[::2])
    if chosen.task not in space.tasks or chosen.metric not in METRICS[space.tasks[chosen.task].kind]:
        raise UserError(f"params.yaml: train.select = {text!r}: {_choices(space, space.tasks)}")
    return chosen


def off_metrics() -> dict[str, Any]:
    """The metrics of a stage that is off: every score of every task is null."""
    tasks = label_space(params.read("data.labels", str)).tasks
    return {**{name: dict.fromkeys(METRICS[task.kind]) for name, task in tasks.items()}, "best_epoch": None}


def check_labels(manifest: pd.DataFrame, space: LabelSpace, select: str, *, is_whole: bool) -> None:
    """Raise if a training with these rows cannot end well: an unknown label, or nothing to select an epoch by.

    `is_whole`: no other corpus is trained on, which could have the label that is missing here.
    """
    labelled, chosen = space.labelled(manifest), selection(select, space)
    if is_whole:
        _check_splits(manifest)
    by_split = {
        name: {task: bool(rows[(manifest["split"] == name).to_numpy()].any()) for task, rows in labelled.items()}
        for name in ("train", "dev")
    }
    usable = [task for task in space.tasks if all(split[task] for split in by_split.values())]
    if is_whole and not usable:
        raise UserError(
            f"{manifest['corpus'].iloc[0]}: train and dev share no labelled task of data.labels = {space.name!r} "
            f"({', '.join(space.tasks)}); name the label space of these labels (docs/data.md)"
        )
    if is_whole and chosen.task not in usable:
        raise UserError(
            f"params.yaml: train.select = {select!r}: no utterance of train, or of dev, has that label; "
            f"{_choices(space, usable)}"
        )
    if is_whole:
        _check_differs(manifest, space, chosen.task)


def _check_splits(manifest: pd.DataFrame) -> None:
    """Raise if train or dev has no row."""
    present = set(manifest["split"])
    for split in ("train", "dev"):
        if split not in present:
            corpora = ", ".join(manifest["corpus"].unique())
            raise UserError(
                f"{corpora}: {split} has no utterance, and a training needs train and dev; bring files or rows of "
                f"{split}, or change which utterances it has: column split, or data.<corpus> in params.yaml "
                "(docs/data.md)"
            )


def _check_differs(manifest: pd.DataFrame, space: LabelSpace, task: str) -> None:
    """Raise if all of train has one and the same label: every network would answer it, whatever it reads."""
    train = manifest.loc[manifest["split"] == "train"]
    targets = space.targets(train, task)
    labels = space.tasks[task].cells(targets[is_labelled(targets)])
    if all(label == labels[0] for label in labels):
        raise UserError(
            f"{train['corpus'].iloc[0]}: all {len(labels)} labelled utterances of train have {task} = "
            f"{labels[0]!r}: there is nothing to learn; add utterances with another label"
        )


def _choices(space: LabelSpace, tasks: Iterable[str]) -> str:
    """The remedy: what train.select may be."""
    return "choose one of " + "; ".join(
        f"{task}.{{{', '.join(METRICS[space.tasks[task].kind])}}}" for task in tasks
    )
