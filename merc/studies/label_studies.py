"""How many labels pretraining saves: table and figure of studies that vary the fraction of labelled dialogues."""

from pathlib import Path

import numpy as np
import pandas as pd

from merc.studies.cells import format_number, format_paired_gain, half_width
from merc.studies.definitions import PRETRAINED_SUFFIX

LABEL_FRACTION = "data.label_fraction"
AXES = {"x": "share of the train dialogues with labels", "y": "macro F1 on dev, 95 % over seeds"}


def varies_label_fraction(study: dict) -> bool:
    """Whether every row of the study sets the fraction of labels."""
    return bool(study["rows"]) and all(LABEL_FRACTION in row["flags"] for row in study["rows"])


def is_pretrained(row: dict) -> bool:
    """Whether the network of this row was pretrained, however the study does that."""
    return row["name"].endswith(PRETRAINED_SUFFIX)


def label_fraction_cells(study: dict) -> list[tuple[str, ...]]:
    """Dev macro F1 with and without pretraining by fraction of labels, and the paired difference over the seeds."""
    if not varies_label_fraction(study):
        return []
    rows = study["rows"]
    teachers = {(row["flags"][LABEL_FRACTION], is_pretrained(row)): row["dev"]["teacher"] for row in rows}
    pairs = {
        fraction: (teacher, teachers[fraction, False])
        for (fraction, with_it), teacher in teachers.items()
        if with_it and (fraction, False) in teachers
    }
    return [
        (
            f"{fraction:.0%}",
            *(format_number(teacher["emotion"]["macro_f1"]) for teacher in (pretrained, without)),
            format_paired_gain(pretrained["by_seed"], without["by_seed"]),
        )
        for fraction, (pretrained, without) in pairs.items()
    ]


def label_fraction_curves(study: dict) -> pd.DataFrame:
    """A row per fraction of labels: mean macro F1 with and without pretraining, and the intervals over seeds."""
    rows: dict[float, dict[str, float]] = {}
    for row in study["rows"]:
        curve = "pretrained" if is_pretrained(row) else "without"
        scores = np.array(list(row["dev"]["teacher"]["by_seed"].values()))
        mean, half, fraction = scores.mean(), half_width(scores), row["flags"][LABEL_FRACTION]
        columns = {curve: mean, f"{curve}_low": mean - half, f"{curve}_high": mean + half}
        rows.setdefault(fraction, {"share": fraction}).update(columns)
    return pd.DataFrame([rows[fraction] for fraction in sorted(rows)])


def draw_label_fraction_curves(study: dict, path: Path) -> None:
    """Draw the curves of a study that varies the fraction of labels."""
    from merc import plots  # importing matplotlib takes a second

    curves = label_fraction_curves(study)
    names = [name for name in ("pretrained", "without") if name in curves]
    plots.curves(path, curves, "share", names, AXES | {"title": study["study"]})
