"""Figures for the README and the report: small, legible in print, the same bytes on every run."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("agg")
matplotlib.rcParams["svg.hashsalt"] = "merc"  # else the ids in an SVG are drawn anew on every run
matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
import matplotlib.pyplot as plt  # noqa: E402 (the backend is chosen before it loads)

DOTS_PER_INCH = 110
COLOURS = ("#1f5f99", "#c8641e", "#4a8a3c", "#8a4a9a")  # apart in print and for the colour-blind
DARK = 0.55  # a cell shaded above this carries light text


def confusion(path: Path, matrix: np.ndarray, order: Sequence[str], title: str) -> None:
    """Row-normalised (C, C) counts: of each actual label, the share that was answered so."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure, axes = plt.subplots(figsize=(1.6 + 0.52 * len(order), 1.3 + 0.48 * len(order)))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > DARK else "black"
        axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=colour, fontsize=9)
    support = matrix.sum(axis=1)
    axes.set_xticks(range(len(order)), order, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(order)), [f"{name} ({n:,.0f})" for name, n in zip(order, support, strict=True)])
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual (utterances)")
    axes.set_title(title, fontsize=10)
    axes.tick_params(length=0)
    save(figure, path)


def save(figure: plt.Figure, path: Path) -> None:
    """Write the figure without the date and version that would change its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nothing = {".png": {"Software": None}, ".svg": {"Date": None}}[path.suffix]
    figure.savefig(path, dpi=DOTS_PER_INCH, bbox_inches="tight", metadata=nothing)
    plt.close(figure)


def curves(path: Path, table: pd.DataFrame, x: str, models: Sequence[str], words: dict[str, str]) -> None:
    """A line a model over column `x`, with its band where the table has `<model>_low` and `_high`."""
    figure, axes = plt.subplots(figsize=(4.6, 3.0))
    for model, colour in zip(models, COLOURS, strict=False):
        axes.plot(table[x], table[model], color=colour, label=model, linewidth=1.6)
        if f"{model}_low" in table:
            axes.fill_between(table[x], table[f"{model}_low"], table[f"{model}_high"], color=colour, alpha=0.15)
    axes.set_xlabel(words["x"])
    axes.set_ylabel(words["y"])
    axes.set_title(words["title"], fontsize=10)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    save(figure, path)


def reliability(path: Path, table: pd.DataFrame, title: str) -> None:
    """Stated confidence against the share correct, a line a model; the diagonal is honest."""
    figure, axes = plt.subplots(figsize=(3.4, 3.2))
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
    for (model, rows), colour in zip(table.groupby("model", sort=False), COLOURS, strict=False):
        axes.plot(rows["confidence"], rows["correct"], color=colour, marker="o", markersize=3, label=model)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share correct")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    save(figure, path)


def bars(path: Path, table: pd.DataFrame, title: str) -> None:
    """F1 of every class with its 95 % interval, a bar a model."""
    models, classes = list(dict.fromkeys(table["model"])), list(dict.fromkeys(table["class"]))
    figure, axes = plt.subplots(figsize=(1.4 + 0.75 * len(classes), 2.8))
    width = 0.8 / max(len(models), 1)
    for number, (model, colour) in enumerate(zip(models, COLOURS, strict=False)):
        rows = table[table["model"] == model]
        place = np.arange(len(classes)) + (number - (len(models) - 1) / 2) * width
        # a percentile interval need not hold the estimate; an error bar must not be negative
        errors = [(rows["f1"] - rows["f1_low"]).clip(lower=0), (rows["f1_high"] - rows["f1"]).clip(lower=0)]
        axes.bar(place, rows["f1"], width, yerr=errors, color=colour, label=model, error_kw={"linewidth": 0.8})
    axes.set_xticks(range(len(classes)), classes, rotation=25, ha="right", rotation_mode="anchor")
    axes.set(ylim=(0, 1), ylabel="F1")
    axes.set_title(title, fontsize=10)
    axes.legend(frameon=False, ncols=2, fontsize=8)
    save(figure, path)
