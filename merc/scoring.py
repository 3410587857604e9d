"""Every file that follows from the predictions: metrics, plots, tables, the report. Needs no model."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from merc import comparisons, intervals, latex, plots, reliability, report, results, slices, tables
from merc.labels import LabelSpace
from merc.predictions import Predictions
from merc.robustness import band, robustness
from merc.scoreboard import headline, scoreboard

OUT, METRICS, PLOTS = Path("out/evaluate"), Path("metrics"), Path("plots/evaluate")
FIGURES = OUT / "figures"
FILES = {"corpora": "corpora", "compared": "comparisons", "calibrated": "calibration"}  # of report.Told


def write(
    found: Predictions, space: LabelSpace, splits: Mapping[str, pd.DataFrame], draws: intervals.Draws
) -> None:
    """Score the predictions; `splits` are the manifests, of which test holds the predictions' rows."""
    board = scoreboard(found, space, splits["train"], draws)
    results.write_json(METRICS / "evaluate.json", board)
    parts = slices.slices(splits["test"], pd.concat([splits["train"], splits["dev"]], ignore_index=True))
    told = report.Told(
        board,
        robustness(found),
        _compared(found, len(draws.groups)),
        _calibrated(found),
        _by_corpus(found, len(draws.groups)),
        {task: slices.table(found, task, parts, found.models()) for task in found.orders},
    )
    results.write_json(METRICS / "robustness.json", told.robust)
    for name in ("corpora", "compared", "calibrated"):
        results.write_json(OUT / f"{FILES[name]}.json", getattr(told, name))
    tables.write(OUT / "results.csv", tables.every(found))
    for task, table in told.slices.items():
        tables.write(PLOTS / f"slices_{task}.csv", table)
        _plot(found, task, draws)
    classes = {task: tables.classes(found, task, draws) for task in found.orders}
    latex.write(OUT, board, told.robust, told.calibrated, classes)
    report.write(OUT / "report/index.html", report.page(found, splits["test"], told, FIGURES))


def _plot(found: Predictions, task: str, draws: intervals.Draws) -> None:
    models = found.models()
    tables.write(PLOTS / f"confusion_{task}.csv", tables.confusions(found, task, "student"))
    tables.write(PLOTS / f"confusion_{task}_teacher.csv", tables.confusions(found, task, "teacher"))
    drawn = {
        "classes": tables.classes(found, task, draws),
        "missing_rate": band(found, task, draws),
        "reliability": reliability.diagram(found, task, models),
        "risk_coverage": reliability.coverage_curve(found, task, models),
    }
    for name, table in drawn.items():
        tables.write(PLOTS / f"{name}_{task}.csv", table)
    _figures(found, task, drawn)


def _figures(found: Predictions, task: str, drawn: Mapping[str, pd.DataFrame]) -> None:
    models = found.models()
    for model in models:
        matrix = found.matrices(task, model)[:, 0].mean(axis=0)
        title = f"{model}, {task}: % of each actual label"
        plots.confusion(FIGURES / f"confusion_{task}_{model}.svg", matrix, found.orders[task], title)
        if model == "student":
            plots.confusion(PLOTS / f"confusion_{task}.png", matrix, found.orders[task], title)
    missing = {"x": "chance that a modality is missing", "y": "macro F1", "title": f"{task}, missing modalities"}
    for path in (FIGURES / f"missing_rate_{task}.svg", PLOTS / f"missing_rate_{task}.png"):
        plots.curves(path, drawn["missing_rate"], "rate", models, missing)
    risk = {"x": "share of utterances answered", "y": "share wrong", "title": f"{task}, surest first"}
    plots.curves(FIGURES / f"risk_coverage_{task}.svg", drawn["risk_coverage"], "coverage", models, risk)
    plots.reliability(FIGURES / f"reliability_{task}.svg", drawn["reliability"], f"{task}, calibrated on dev")
    plots.bars(FIGURES / f"classes_{task}.svg", drawn["classes"], f"{task}, F1 by class")


def _by_corpus(found: Predictions, rounds: int) -> dict[str, dict]:
    """The headline of each corpus alone."""
    told = {}
    for corpus in dict.fromkeys(found.rows["corpus"]):
        own = found.only((found.rows["corpus"] == corpus).to_numpy())
        draws = intervals.draw(own.groups()[1], own.seeds(), rounds, seed=1)
        told[corpus] = {
            model: {task: headline(own, task, model, draws) for task in own.orders} for model in own.models()
        }
    return told


def _compared(found: Predictions, rounds: int) -> dict[str, dict]:
    return {task: comparisons.compare(found, found, ("teacher", "student"), task, rounds) for task in found.orders}


def _calibrated(found: Predictions) -> dict[str, dict]:
    return {
        model: {task: reliability.calibration(found, task, model) for task in found.orders}
        for model in found.models()
    }
