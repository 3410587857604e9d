"""shap's own figures of single features, small and the same bytes on every run."""

from pathlib import Path

import numpy as np

from merc import plots
from merc.plots import plt
from merc.shapvalues import library

SHOWN = 12  # features of a figure; the rest are summed in its last line
UNIT = "SHAP value, log-odds of the predicted {task}"


def beeswarm(path: Path, values: np.ndarray, means: np.ndarray, names: list[str], task: str) -> None:
    """A dot an utterance (n, F), coloured by the feature's mean over the utterance's steps."""
    np.random.seed(0)  # noqa: NPY002 (shap draws the order of the dots from numpy's global generator)
    shap = library()
    plt.figure()
    shap.plots.beeswarm(_explanation(values, means, names), max_display=SHOWN, show=False, plot_size=(7.0, 4.6))
    _finish(path, UNIT.format(task=task), "One dot an utterance")


def bar(path: Path, values: np.ndarray, means: np.ndarray, names: list[str], task: str) -> None:
    """Mean |value| of the features (n, F)."""
    shap = library()
    plt.figure(figsize=(7.0, 4.2))
    shap.plots.bar(_explanation(values, means, names), max_display=SHOWN, show=False, ax=plt.gca())
    _finish(path, "mean |" + UNIT.format(task=task).replace(",", "|,", 1), f"{len(values)} utterances")


def _explanation(values: np.ndarray, means: np.ndarray, names: list[str]):
    return library().Explanation(values, data=means, feature_names=names)


def _finish(path: Path, unit: str, title: str) -> None:
    figure = plt.gcf()
    axes = figure.axes[0]
    axes.set_xlabel(unit, fontsize=10)
    axes.set_title(title, fontsize=10)
    axes.tick_params(labelsize=9)
    plots.save(figure, path)
