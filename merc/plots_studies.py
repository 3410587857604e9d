"""Figures of the studies' page."""

from pathlib import Path

import numpy as np
import pandas as pd

from merc import plots
from merc.study_labels import LABEL_SHARE, pretrained
from merc.study_table import half_width

WORDS = {"x": "share of the train dialogues with labels", "y": "macro F1 on dev, 95 % over seeds"}


def label_shares(study: dict) -> pd.DataFrame:
    """A row a share of labels: macro F1 with and without pretraining, and the intervals over seeds."""
    rows: dict[float, dict[str, float]] = {}
    for row in study["rows"]:
        name = "pretrained" if pretrained(row) else "without"
        found = np.array(list(row["dev"]["teacher"]["by_seed"].values()))
        half, share = half_width(found), row["flags"][LABEL_SHARE]
        told = {name: found.mean(), f"{name}_low": found.mean() - half, f"{name}_high": found.mean() + half}
        rows.setdefault(share, {"share": share}).update(told)
    return pd.DataFrame([rows[share] for share in sorted(rows)])


def draw(study: dict, path: Path) -> None:
    """The curve of a study that varies the share of labels."""
    table = label_shares(study)
    names = [name for name in ("pretrained", "without") if name in table]
    plots.curves(path, table, "share", names, WORDS | {"title": study["study"]})
