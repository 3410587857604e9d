"""Figures of the studies' page."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from merc import plots

SHARE = "data.label_fraction"  # the flag that such a study varies
WORDS = {"x": "share of the train dialogues with labels", "y": "macro F1 on dev, 95 % over seeds"}


def label_shares(study: dict) -> pd.DataFrame:
    """A row a share of labels: macro F1 with and without pretraining, and the intervals over seeds."""
    rows: dict[float, dict[str, float]] = {}
    for row in study["rows"]:
        name = "without" if row["flags"].get("pretrain.epochs") == 0 else "pretrained"
        found = np.array(list(row["dev"]["teacher"]["by_seed"].values()))
        half = stdtrit(len(found) - 1, 0.975) * found.std(ddof=1) / len(found) ** 0.5 if len(found) > 1 else 0.0
        told = {name: found.mean(), f"{name}_low": found.mean() - half, f"{name}_high": found.mean() + half}
        rows.setdefault(row["flags"][SHARE], {"share": row["flags"][SHARE]}).update(told)
    return pd.DataFrame([rows[share] for share in sorted(rows)])


def draw(study: dict, path: Path) -> None:
    """The curve of a study that varies the share of labels."""
    table = label_shares(study)
    names = [name for name in ("pretrained", "without") if name in table]
    plots.curves(path, table, "share", names, WORDS | {"title": study["study"]})
