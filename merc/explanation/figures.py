"""Figures of explanations."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from merc import plots
from merc.explanation.counterfactual import Probe
from merc.explanation.explainer import ExplainConfig, Sources, case_of
from merc.explanation.methods.shap_values import ShapValues, feature_shap_values, import_shap
from merc.plots import plt
from merc.runtime import results

COLOURS = {"text": "#3b6fb6", "audio": "#e08b2d", "vision": "#4f9d69"}
BAR = 0.26
WORDS = {"deletion": "blank, best first", "insertion": "shown, best first"}


def contributions(path: Path, table: pd.DataFrame, title: str) -> None:
    """Mean |Shapley value| of each modality per predicted emotion, from `findings.by_emotion`."""
    emotions = list(dict.fromkeys(table["emotion"]))
    figure, axes = plt.subplots(figsize=(6.4, 0.9 + 0.55 * len(emotions)))
    for number, (modality, rows) in enumerate(_grouped(table, "modality")):
        place = np.array([emotions.index(emotion) for emotion in rows["emotion"]]) + (number - 1) * BAR
        axes.barh(place, rows["shapley_absolute"], BAR, label=modality, color=COLOURS[modality])
    counts = table.drop_duplicates("emotion")["utterances"]
    names = [f"{emotion} ({count})" for emotion, count in zip(emotions, counts, strict=True)]
    axes.set_yticks(range(len(emotions)), names)
    axes.invert_yaxis()
    axes.set(xlabel="mean |Shapley value|, log-odds of the predicted emotion", ylabel="predicted (utterances)")
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    plots.save_figure(figure, path)


def curves(path: Path, table: pd.DataFrame) -> None:
    """Probability while parts are removed and while they are added, one line per method, from `findings.curves`."""
    figure, both = plt.subplots(1, 2, figsize=(8.0, 3.1), sharey=True)
    for axes, (kind, rows) in zip(both, _grouped(table, "curve"), strict=True):
        for (method, line), colour in zip(_grouped(rows, "method"), plots.COLOURS, strict=True):
            axes.plot(
                line["share"], line["probability"], label=method.replace("_", " "), color=colour, marker="o", ms=3
            )
        axes.set_xlabel(f"share of the parts that are {WORDS[kind]}")
        axes.set_title(kind, fontsize=10)
        axes.grid(alpha=0.25)
    both[0].set_ylabel("mean probability of the\npredicted emotion")
    both[1].legend(frameon=False, fontsize=8)
    plots.save_figure(figure, path)


def _grouped(table: pd.DataFrame, column: str) -> Iterable[tuple[str, pd.DataFrame]]:
    """Rows by the name in a column, in the order of the table."""
    return cast("Iterable[tuple[str, pd.DataFrame]]", table.groupby(column, sort=False))


SHOWN = 12  # features of a figure; the rest are summed in its last line
UNIT = "SHAP value, log-odds of the predicted {task}"


def beeswarm(path: Path, values: np.ndarray, means: np.ndarray, names: list[str], task: str) -> None:
    """One dot per utterance, from values (n, F), coloured by the feature's mean over the utterance's steps."""
    np.random.seed(0)  # noqa: NPY002 (shap draws the order of the dots from numpy's global generator)
    shap = import_shap()
    plt.figure()
    explanation = shap.Explanation(values, data=means, feature_names=names)
    shap.plots.beeswarm(explanation, max_display=SHOWN, show=False, plot_size=(7.0, 4.6))
    _finish(path, UNIT.format(task=task), "One dot an utterance")


def bar(path: Path, values: np.ndarray, means: np.ndarray, names: list[str], task: str) -> None:
    """Mean |value| of the features (n, F)."""
    shap = import_shap()
    plt.figure(figsize=(7.0, 4.2))
    explanation = shap.Explanation(values, data=means, feature_names=names)
    shap.plots.bar(explanation, max_display=SHOWN, show=False, ax=plt.gca())
    _finish(path, "mean |" + UNIT.format(task=task).replace(",", "|,", 1), f"{len(values)} utterances")


def _finish(path: Path, unit: str, title: str) -> None:
    figure = plt.gcf()
    axes = figure.axes[0]
    axes.set_xlabel(unit, fontsize=10)
    axes.set_title(title, fontsize=10)
    axes.tick_params(labelsize=9)
    plots.save_figure(figure, path)


ROWS = 40  # utterances, spread evenly over those that are explained


def write(
    folder: Path, network: Any, sources: Sources, config: ExplainConfig, dialogues: list[int]
) -> dict[str, float | None]:
    """Write shap_features.csv, a beeswarm and bars per head to `folder`; return the values' gap as a metric."""
    probe = Probe(network, sources.split.batch(dialogues))
    index = probe.batch["index"].cpu().numpy()
    emotion = probe.logits(probe.rows).argmax(1)
    case = case_of(probe, emotion, sources.units, index, sources.split.manifest["text"].to_numpy()[index])
    if not case.owner:  # imported features alone: no blank to start from
        return {"shap_features_gap": None}
    rows = np.unique(np.linspace(0, len(index) - 1, min(ROWS, len(index))).astype(int)).tolist()
    shap_values, means, names = feature_shap_values(case, rows, config.seed)
    results.write_csv(folder / "shap_features.csv", ranking(shap_values, names, probe.task))
    for task, values in shap_values.values.items():
        beeswarm(folder / f"shap_beeswarm_{task}.png", values, means, names, task)
        bar(folder / f"shap_bar_{task}.png", values, means, names, task)
    return {"shap_features_gap": float(np.median(shap_values.gap))}


def ranking(shap_values: ShapValues, names: list[str], task: str) -> pd.DataFrame:
    """Mean |value| of every feature by head, the largest for the explained task first."""
    sizes = {task: np.abs(values).mean(0) for task, values in shap_values.values.items()}
    table = pd.DataFrame({"feature": names, **sizes})
    return table.sort_values(task, ascending=False, kind="stable", ignore_index=True)
