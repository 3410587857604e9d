"""Results of a row of a study, read from the metrics files that its stages wrote."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from merc.data.records.selection import TITLES
from merc.evaluation import predictions, significance
from merc.evaluation.predictions import Predictions
from merc.runtime.results import read_json
from merc.studies import presets
from merc.studies.definitions import Study, StudyRow
from merc.training.core.scores import HEADLINE_METRICS

STAGE_OF_MODEL = {"teacher": "train", "student": "distill"}
ORDER = ("pretrain", "train", "distill", "evaluate")
SUBSETS = "dev_subsets_macro_f1"  # column of the learning curve: mean over all proper subsets of the modalities


def measure_row(project: Path, study: Study, row: StudyRow, values: dict[str, Any]) -> dict[str, Any]:
    """The row of docs/results/<study>.json: deterministic, with the numbers of the metrics files."""
    is_test_scored, base = study.until == "evaluate", yaml.safe_load(presets.preset_text(presets.BASE))
    row_of_page = {
        "name": row.name,
        "about": row.about,
        "flags": row.flags,
        "seeds": values["train"]["seeds"],
        "test_scored": is_test_scored,
        "params": {key: new for key, (_, new) in presets.differences(base, values).items()},
        "lock": _lock(project, study.until, values["data"]["corpora"]),
        "dev": _dev(project, study),
        "test": _test(project, study.models) if is_test_scored else None,
    }
    if is_test_scored and len(values["data"]["corpora"]) > 1:
        row_of_page["corpora"] = _corpora(project, study.models)
    return row_of_page


def _lock(project: Path, until: str, corpora: list[str]) -> str:
    """Hash of the part of dvc.lock that belongs to the row; earlier rows may have added stages of other corpora."""
    document, lock = (yaml.safe_load((project / name).read_text()) for name in ("dvc.yaml", "dvc.lock"))
    stages = list(document["stages"])
    stages_run = stages[: stages.index(until) + 1]
    used = {
        name: stage
        for name, stage in lock["stages"].items()
        if _is_used(name, document["stages"], stages_run, corpora)
    }
    return hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()


def _is_used(instance: str, stages: dict[str, Any], stages_run: list[str], corpora: list[str]) -> bool:
    """Whether a stage of dvc.lock, or its item `stage@item` of a matrix, was run for these corpora."""
    name, _, item = instance.partition("@")
    has_corpus = "corpus" in stages.get(name, {}).get("matrix", {})
    is_of_corpus = any(item == corpus or item.startswith(f"{corpus}-") for corpus in corpora)
    return name in stages_run and (not has_corpus or is_of_corpus)


def _dev(project: Path, study: Study) -> dict[str, Any]:
    """Means over seeds, and a score per seed for the paired comparisons."""
    stages_run = ORDER[: ORDER.index(study.until) + 1]
    models = [model for model in study.models if STAGE_OF_MODEL[model] in stages_run]
    pretrained = {"pretrain": read_json(project / "metrics/pretrain.json")}
    return pretrained | {model: _dev_scores(project, STAGE_OF_MODEL[model]) for model in models}


def _dev_scores(project: Path, stage: str) -> dict[str, Any]:
    scores = read_json(project / f"metrics/{stage}.json")
    curves = pd.read_csv(project / f"plots/{stage}/learning.csv")
    best = {int(seed): epoch for seed, epoch in scores["best_epoch"].items()}
    best_epochs = curves.loc[curves["epoch"] == curves["seed"].map(best.get)]
    if SUBSETS in best_epochs.columns and bool(best_epochs[SUBSETS].notna().all()):
        subset_scores = zip(best_epochs["seed"].astype(str), best_epochs[SUBSETS], strict=True)
        scores["subsets_by_seed"] = dict(subset_scores)
    return scores


def _test(project: Path, models: tuple[str, ...]) -> dict[str, Any]:
    scores, robustness = (read_json(project / f"metrics/{name}.json") for name in ("evaluate", "robustness"))
    shown = [model for model in (*models, "floor") if model in scores]
    by_model = {model: _test_scores(scores[model], robustness[model]) for model in shown}
    return by_model | {"baseline": scores["baseline"]}


def _corpora(project: Path, models: tuple[str, ...]) -> dict[str, Any]:
    """Test scores by corpus."""
    scores = read_json(project / "out/evaluate/corpora.json")
    shown = (*models, "floor")
    return {corpus: {model: _by_task(by_model[model]) for model in shown} for corpus, by_model in scores.items()}


def _test_scores(scores: dict[str, Any], robustness: dict[str, Any]) -> dict[str, Any]:
    """Mean and 95 % interval of every headline score, and macro F1 by subset of the modalities."""
    subsets = {name: value for name, value in next(iter(robustness.values())).items() if name.startswith("only:")}
    return _by_task(scores) | {"emotion_macro_f1_of": subsets}


def _by_task(scores: dict[str, Any]) -> dict[str, Any]:
    """The headline scores of every task; of emotion and sentiment, which the page shows, even if there are none."""
    found = {}
    for task in dict.fromkeys(("emotion", "sentiment", *scores)):
        names = [name for name in TITLES if name in scores.get(task, {})] or HEADLINE_METRICS
        found[task] = {name: _interval(scores.get(task, {}), name) for name in names}
    return found


def _interval(scores: dict[str, float], name: str) -> dict[str, float | None]:
    """Mean and bounds of a score; all None if the task has no label."""
    return {"mean": scores.get(name), "low": scores.get(f"{name}_low"), "high": scores.get(f"{name}_high")}


# predictions of each row, named by the row's key (its code and parameters)
PREDICTIONS_FOLDER = Path("out/results")
COMPARISON_KEYS = ("difference", "low", "high", "permutation_p", "verdict")


def keep_predictions(clone: Path, key: str) -> None:
    """Keep a row's predictions for the test split."""
    PREDICTIONS_FOLDER.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(clone / predictions.PREDICTIONS_FILE, PREDICTIONS_FOLDER / f"{key}.parquet")


def add_comparisons(study: Study, rows: dict[str, dict[str, Any]]) -> None:
    """Add to each row its comparison with the reference row of each corpus, if the predictions of both exist."""
    for row in rows.values():
        for corpus, name in study.against.items():
            compared = [rows[other] for other in (name, row["name"]) if other in rows]
            files = [file for file in map(_predictions_file, compared) if file is not None]
            if name != row["name"] and len(files) == 2:
                comparisons = row.setdefault("against", {})
                comparisons[corpus] = {"row": name} | _compare(files, corpus, study.models, (name, row["name"]))


def _predictions_file(row: dict[str, Any]) -> Path | None:
    file = PREDICTIONS_FOLDER / f"{row['key']}.parquet"
    return file if file.is_file() else None


def _compare(files: list[Path], corpus: str, models: tuple[str, ...], names: tuple[str, str]) -> dict[str, dict]:
    first, second = (_of_corpus(predictions.read_predictions(file), corpus) for file in files)
    comparisons = {
        model: significance.compare(first, second, (model, model), "emotion", significance.ROUNDS, names)
        for model in models
    }
    return {
        model: {name: comparison[name] for name in COMPARISON_KEYS if name in comparison}
        for model, comparison in comparisons.items()
    }


def _of_corpus(all_predictions: Predictions, corpus: str) -> Predictions:
    return all_predictions.take(np.asarray(all_predictions.rows["corpus"] == corpus))
