"""Figures of explanations."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from merc import plots

COLOURS = {"text": "#3b6fb6", "audio": "#e08b2d", "vision": "#4f9d69"}
BAR = 0.26
WORDS = {"deletion": "blank, best first", "insertion": "shown, best first"}


def contributions(path: Path, table: pd.DataFrame, title: str) -> None:
    """Mean |Shapley value| of each modality per predicted emotion, from `findings.by_emotion`."""
    emotions = list(dict.fromkeys(table["emotion"]))
    figure, axes = plt.subplots(figsize=(6.4, 0.9 + 0.55 * len(emotions)))
    for number, (modality, own) in enumerate(table.groupby("modality", sort=False)):
        place = np.array([emotions.index(emotion) for emotion in own["emotion"]]) + (number - 1) * BAR
        axes.barh(place, own["shapley_absolute"], BAR, label=modality, color=COLOURS[modality])
    counts = table.drop_duplicates("emotion")["utterances"]
    names = [f"{emotion} ({count})" for emotion, count in zip(emotions, counts, strict=True)]
    axes.set_yticks(range(len(emotions)), names)
    axes.invert_yaxis()
    axes.set_xlabel("mean |Shapley value|, log-odds of the predicted emotion")
    axes.set_ylabel("predicted (utterances)")
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    plots.save(figure, path)


def curves(path: Path, table: pd.DataFrame) -> None:
    """Probability while parts are taken away and while they are shown, a line a method, from `findings.curves`."""
    figure, both = plt.subplots(1, 2, figsize=(8.0, 3.1), sharey=True)
    for axes, (kind, own) in zip(both, table.groupby("curve", sort=False), strict=True):
        for (method, line), colour in zip(own.groupby("method", sort=False), plots.COLOURS, strict=True):
            axes.plot(
                line["share"], line["probability"], label=method.replace("_", " "), color=colour, marker="o", ms=3
            )
        axes.set_xlabel(f"share of the parts that are {WORDS[kind]}")
        axes.set_title(kind, fontsize=10)
        axes.grid(alpha=0.25)
    both[0].set_ylabel("mean probability of the\npredicted emotion")
    both[1].legend(frameon=False, fontsize=8)
    plots.save(figure, path)
