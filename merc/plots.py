"""Figures of the README and the report: small, legible in print, the same bytes on every run."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("agg")
matplotlib.rcParams["svg.hashsalt"] = "merc"  # otherwise the ids in an SVG are random
matplotlib.rcParams["svg.fonttype"] = "none"  # text is not converted to paths
import matplotlib.pyplot as plt  # noqa: E402 (the backend is set before it loads)
from matplotlib.figure import Figure  # noqa: E402

DOTS_PER_INCH = 110
COLOURS = ("#1f5f99", "#c8641e", "#4a8a3c", "#8a4a9a")  # distinct in print and for the colour-blind
LIGHT_TEXT_ABOVE = 0.55  # cells above this fraction have light text


def confusion_matrix(path: Path, matrix: np.ndarray, labels: Sequence[str], title: str) -> None:
    """Draw a confusion matrix of counts (C, C), actual by predicted, normalised by row."""
    fractions = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure, axes = plt.subplots(figsize=(1.6 + 0.52 * len(labels), 1.3 + 0.48 * len(labels)))
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    for (row, column), fraction in np.ndenumerate(fractions):
        colour = "white" if fraction > LIGHT_TEXT_ABOVE else "black"
        axes.text(column, row, f"{100 * fraction:.0f}", ha="center", va="center", color=colour, fontsize=9)
    support = matrix.sum(axis=1)
    axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right", rotation_mode="anchor")
    rows = [f"{label} ({count:,.0f})" for label, count in zip(labels, support, strict=True)]
    axes.set_yticks(range(len(labels)), rows)
    axes.set(xlabel="predicted", ylabel="actual (utterances)")
    axes.set_title(title, fontsize=10)
    axes.tick_params(length=0)
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as .png or .svg, without the version or date that would change its bytes, and close it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {".png": {"Software": None}, ".svg": {"Date": None}}[path.suffix]
    figure.savefig(path, dpi=DOTS_PER_INCH, bbox_inches="tight", metadata=metadata)
    plt.close(figure)


def curves(path: Path, table: pd.DataFrame, x: str, models: Sequence[str], texts: dict[str, str]) -> None:
    """Draw a line per model over column `x`, with a band where the table has `<model>_low` and `<model>_high`.

    `texts`: x and y, the labels of the axes; title.
    """
    figure, axes = plt.subplots(figsize=(4.6, 3.0))
    for model, colour in zip(models, COLOURS, strict=False):
        axes.plot(table[x], table[model], color=colour, label=model, linewidth=1.6)
        if f"{model}_low" in table:
            axes.fill_between(table[x], table[f"{model}_low"], table[f"{model}_high"], color=colour, alpha=0.15)
    axes.set(xlabel=texts["x"], ylabel=texts["y"])
    axes.set_title(texts["title"], fontsize=10)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    save_figure(figure, path)


def reliability(path: Path, table: pd.DataFrame, title: str) -> None:
    """Draw accuracy over confidence, a line per model; the diagonal is perfect calibration."""
    figure, axes = plt.subplots(figsize=(3.4, 3.2))
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
    for (model, rows), colour in zip(table.groupby("model", sort=False), COLOURS, strict=False):
        axes.plot(rows["confidence"], rows["correct"], color=colour, marker="o", markersize=3, label=model)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share correct")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    save_figure(figure, path)


def numbers(path: Path, table: pd.DataFrame, limits: tuple[float, float], title: str) -> None:
    """Draw answered over actual numbers, a point per utterance (seeds averaged); the diagonal is right."""
    seeds = max(len(set(table["seed"])), 1)
    predicted = table["predicted"].to_numpy().reshape(seeds, -1).mean(axis=0)
    figure, axes = plt.subplots(figsize=(3.4, 3.2))
    axes.plot(limits, limits, color="0.6", linewidth=1, linestyle="--")
    axes.scatter(table["actual"].to_numpy()[: len(predicted)], predicted, s=6, alpha=0.4, color=COLOURS[0])
    axes.set(xlim=limits, ylim=limits, xlabel="actual", ylabel="answered")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25)
    save_figure(figure, path)


def class_f1_bars(path: Path, table: pd.DataFrame, title: str) -> None:
    """Draw the F1 of every class with its 95 % interval, a bar per model."""
    models, classes = list(dict.fromkeys(table["model"])), list(dict.fromkeys(table["class"]))
    figure, axes = plt.subplots(figsize=(1.4 + 0.75 * len(classes), 2.8))
    width = 0.8 / max(len(models), 1)
    for number, (model, colour) in enumerate(zip(models, COLOURS, strict=False)):
        rows = table[table["model"] == model]
        x = np.arange(len(classes)) + (number - (len(models) - 1) / 2) * width
        # a percentile interval may exclude the estimate, but an error bar must not be negative
        below, above = rows["f1"] - rows["f1_low"], rows["f1_high"] - rows["f1"]
        errors = [cast("pd.Series", gap).clip(lower=0) for gap in (below, above)]
        axes.bar(x, rows["f1"], width, yerr=errors, color=colour, label=model, error_kw={"linewidth": 0.8})
    axes.set_xticks(range(len(classes)), classes, rotation=25, ha="right", rotation_mode="anchor")
    axes.set(ylim=(0, 1), ylabel="F1")
    axes.set_title(title, fontsize=10)
    axes.legend(frameon=False, ncols=2, fontsize=8)
    save_figure(figure, path)
