"""Write all files computed from the predictions: metrics, plots, tables and the report page. Needs no model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from merc import plots
from merc.data.records.labels import LabelSpace
from merc.data.records.selection import MAIN_METRIC, TITLES, Selection
from merc.evaluation import bootstrap, left_out, reliability, significance, slices
from merc.evaluation.headline import headline, scoreboard
from merc.evaluation.missing_modalities import FULL
from merc.evaluation.predictions import Predictions
from merc.evaluation.report import html_report, latex, tables
from merc.evaluation.robustness import missing_rate_curve, robustness
from merc.runtime import results

OUT, METRICS, PLOTS = Path("out/evaluate"), Path("metrics"), Path("plots/evaluate")
FIGURES = OUT / "figures"
# Folders of `dvc plots show`, which draws every file of a folder in one way (`plots:` in dvc.yaml): a file a task.
# A kind of task that has no such plot leaves the header alone, because DVC warns of a folder that is not there.
DRAWN_BY_DVC = {
    "confusion": ("actual", "predicted", "seed"),
    "confusion_teacher": ("actual", "predicted", "seed"),
    "missing_rate": ("rate", "student"),
    "reliability": ("model", "confidence", "correct", "count"),
    "risk_coverage": ("coverage", "student", "teacher"),
    "numbers": ("actual", "predicted", "seed"),
}


class Remarks(NamedTuple):
    """What the report says besides the scores of the predictions."""

    findings: Sequence[str]  # sentences
    floors: Mapping[str, Mapping[str, Mapping[str, float]]]  # of merc/evaluation/floor.py's describe
    left_out: Mapping[str, Mapping[str, float]]  # condition -> of merc/evaluation/left_out.py's shares


def write_results(
    predictions: Predictions,
    space: LabelSpace,
    splits: Mapping[str, pd.DataFrame],
    draws: bootstrap.Draws,
    remarks: Remarks,
    chosen: Selection,
) -> None:
    """Score the predictions and write the results; `splits` are the manifests, test's in the predictions' order."""
    board = scoreboard(predictions, space, splits["train"], draws, chosen)
    results.write_json(METRICS / "evaluate.json", board)
    slice_masks = slices.slice_masks(splits["test"], pd.concat([splits["train"], splits["dev"]], ignore_index=True))
    data = html_report.ReportData(
        board,
        robustness(predictions),
        _compared(predictions, len(draws.groups)),
        _calibrated(predictions),
        _by_corpus(predictions, len(draws.groups)),
        {
            task: slices.slice_table(predictions, task, slice_masks, predictions.models())
            for task in predictions.classes
        },
        remarks.findings,
        remarks.floors,
        html_report.classes_scored(predictions, space, splits["train"]),
        chosen,
        left_out.compare(predictions, remarks.left_out, draws),
    )
    results.write_json(METRICS / "robustness.json", data.robust)
    results.write_json(METRICS / "typicality.json", data.typicality)
    files = {"corpora": data.corpora, "comparisons": data.compared, "calibration": data.calibrated}
    files |= {"findings": data.findings, "floor": data.floors}
    for name, content in files.items():
        results.write_json(OUT / f"{name}.json", content)
    results.write_csv(OUT / "results.csv", tables.all_scores(predictions))
    for task, table in data.slices.items():
        results.write_csv(PLOTS / f"slices_{task}.csv", table)
        _plot(predictions, task, draws)
    with_classes = [task for task in predictions.classes if predictions.task(task).kind != "regression"]
    classes = {task: tables.class_scores(predictions, task, draws) for task in with_classes}
    latex.write_tables(OUT, board, data.robust, data.calibrated, classes)
    page = OUT / "report/index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(html_report.render_page(predictions, splits["test"], data, FIGURES), encoding="utf-8")


def _plot(predictions: Predictions, task: str, draws: bootstrap.Draws) -> None:
    models, kind = predictions.models(), predictions.task(task).kind
    plotted = {"missing_rate": missing_rate_curve(predictions, task, draws)}
    if kind == "classification":
        plotted["confusion"] = tables.confusions(predictions, task, "student")
        plotted["confusion_teacher"] = tables.confusions(predictions, task, "teacher")
        plotted["risk_coverage"] = reliability.coverage_curve(predictions, task, models)
    if kind == "regression":
        plotted["numbers"] = tables.numbers(predictions, task, "student")
    else:
        plotted["classes"] = tables.class_scores(predictions, task, draws)
        plotted["reliability"] = reliability.reliability_diagram(predictions, task, models)
    for name, columns in DRAWN_BY_DVC.items():
        results.write_csv(PLOTS / name / f"{task}.csv", plotted.get(name, pd.DataFrame(columns=list(columns))))
    if "classes" in plotted:
        results.write_csv(PLOTS / f"classes_{task}.csv", plotted["classes"])
    _figures(predictions, task, plotted)


def _figures(predictions: Predictions, task: str, plotted: Mapping[str, pd.DataFrame]) -> None:
    models, main = predictions.models(), TITLES[MAIN_METRIC[predictions.task(task).kind]]
    for model in models if predictions.task(task).kind == "classification" else ():
        matrix = predictions.confusions(task, model)[:, 0].mean(axis=0)
        title = f"{model}, {task}: % of each actual label"
        plots.confusion_matrix(FIGURES / f"confusion_{task}_{model}.svg", matrix, predictions.classes[task], title)
        if model == "student":
            plots.confusion_matrix(PLOTS / f"confusion_{task}.png", matrix, predictions.classes[task], title)
    missing = {"x": "chance that a modality is missing", "y": main, "title": f"{task}, missing modalities"}
    for path in (FIGURES / f"missing_rate_{task}.svg", PLOTS / f"missing_rate_{task}.png"):
        plots.curves(path, plotted["missing_rate"], "rate", models, missing)
    risk = {"x": "share of utterances answered", "y": "share wrong", "title": f"{task}, surest first"}
    if "risk_coverage" in plotted:
        plots.curves(FIGURES / f"risk_coverage_{task}.svg", plotted["risk_coverage"], "coverage", models, risk)
    if "classes" in plotted:
        plots.reliability(FIGURES / f"reliability_{task}.svg", plotted["reliability"], f"{task}, calibrated on dev")
        plots.class_f1_bars(FIGURES / f"classes_{task}.svg", plotted["classes"], f"{task}, F1 by class")
    if "numbers" in plotted:
        limits = predictions.task(task).low, predictions.task(task).high
        for path in (FIGURES / f"numbers_{task}.svg", PLOTS / f"numbers_{task}.png"):
            plots.numbers(path, plotted["numbers"], limits, f"student, {task}: mean over seeds")


def _by_corpus(predictions: Predictions, rounds: int) -> dict[str, dict]:
    """The headline scores of each corpus alone."""
    boards, predictions = {}, predictions.take_conditions(FULL)
    for corpus in dict.fromkeys(predictions.rows["corpus"]):
        subset = predictions.take((predictions.rows["corpus"] == corpus).to_numpy())
        draws = bootstrap.draw(subset.groups()[1], subset.num_seeds, rounds, seed=1)
        boards[corpus] = {
            model: {task: headline(subset, task, model, draws) for task in subset.classes}
            for model in subset.models()
        }
    return boards


def _compared(predictions: Predictions, rounds: int) -> dict[str, dict]:
    return {
        task: significance.compare(predictions, predictions, ("teacher", "student"), task, rounds)
        for task in predictions.classes
    }


def _calibrated(predictions: Predictions) -> dict[str, dict]:
    return {
        model: {task: reliability.calibration_measures(predictions, task, model) for task in predictions.classes}
        for model in predictions.models()
    }
