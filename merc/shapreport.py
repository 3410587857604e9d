"""SHAP of single features, drawn: which numbers of which encoder the two heads rest on."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from merc import plots_shap, tables
from merc.explanation import ExplainConfig, Sources, case_of
from merc.probe import Probe
from merc.shapvalues import Shap, of_features

ROWS = 40  # utterances, spread evenly over those that are explained


def write(
    folder: Path, network: Any, sources: Sources, config: ExplainConfig, dialogues: list[int]
) -> dict[str, float | None]:
    """shap_features.csv, a beeswarm and bars per head in `folder`; what the values miss, as a metric."""
    probe = Probe(network, sources.split.batch(dialogues))
    index = probe.batch["index"].cpu().numpy()
    emotion = probe.logits(probe.rows).argmax(1)
    case = case_of(probe, emotion, sources.units, index, sources.split.manifest["text"].to_numpy()[index])
    if not case.owner:  # imported features alone: no blank to begin from
        return {"shap_features_gap": None}
    rows = np.unique(np.linspace(0, len(index) - 1, min(ROWS, len(index))).astype(int)).tolist()
    found, means, names = of_features(case, rows, config.seed)
    tables.write(folder / "shap_features.csv", ranking(found, names))
    for task, values in found.values.items():
        plots_shap.beeswarm(folder / f"shap_beeswarm_{task}.png", values, means, names, task)
        plots_shap.bar(folder / f"shap_bar_{task}.png", values, means, names, task)
    return {"shap_features_gap": float(np.median(found.gap))}


def ranking(found: Shap, names: list[str]) -> pd.DataFrame:
    """Mean |value| of every feature by head, the largest for the emotion first."""
    sizes = {task: np.abs(values).mean(0) for task, values in found.values.items()}
    table = pd.DataFrame({"feature": names, **sizes})
    return table.sort_values("emotion", ascending=False, kind="stable", ignore_index=True)
