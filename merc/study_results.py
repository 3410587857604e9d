"""What a row of a study measured, read from the metrics files that its stages left."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from merc import labels, presets
from merc.results import read_json
from merc.scores import HEADLINE
from merc.studies import Row, Study

STAGES = {"teacher": "train", "student": "distill"}
ORDER = ("pretrain", "train", "distill", "evaluate")
SUBSETS = "dev_subsets_macro_f1"  # of the learning curve: the mean over all proper subsets of the modalities


def measured(project: Path, study: Study, row: Row, values: dict[str, Any]) -> dict[str, Any]:
    """The row as it stands in docs/results: deterministic, the same numbers as the metrics files'."""
    scored, base = study.until == "evaluate", yaml.safe_load(presets.text(presets.BASE))
    return {
        "name": row.name,
        "about": row.about,
        "flags": row.flags,
        "seeds": values["train"]["seeds"],
        "test_scored": scored,
        "params": {key: new for key, (_, new) in presets.differences(base, values).items()},
        "lock": _lock(project, study.until, values["data"]["corpora"]),
        "dev": _dev(project, study),
        "test": _test(project, study.models) if scored else None,
    } | ({"corpora": _corpora(project, study.models)} if scored and len(values["data"]["corpora"]) > 1 else {})


def _lock(project: Path, until: str, corpora: list[str]) -> str:
    """Hash of the row's own part of dvc.lock: rows before may have left other corpora's stages there."""
    document, lock = (yaml.safe_load((project / name).read_text()) for name in ("dvc.yaml", "dvc.lock"))
    stages = list(document["stages"])
    ran = stages[: stages.index(until) + 1]
    own = {name: stage for name, stage in lock["stages"].items() if _is_of(name, document["stages"], ran, corpora)}
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()


def _is_of(instance: str, stages: dict[str, Any], ran: list[str], corpora: list[str]) -> bool:
    name, _, item = instance.partition("@")
    by_corpus = "corpus" in stages.get(name, {}).get("matrix", {})
    return name in ran and (not by_corpus or any(item == one or item.startswith(f"{one}-") for one in corpora))


def _dev(project: Path, study: Study) -> dict[str, Any]:
    """Means over seeds, and what the paired comparisons need: a number a seed."""
    ran = ORDER[: ORDER.index(study.until) + 1]
    models = [model for model in study.models if STAGES[model] in ran]
    pretrained = {"pretrain": read_json(project / "metrics/pretrain.json")}
    return pretrained | {model: _trained(project, STAGES[model]) for model in models}


def _trained(project: Path, stage: str) -> dict[str, Any]:
    told = read_json(project / f"metrics/{stage}.json")
    curves = pd.read_csv(project / f"plots/{stage}/learning.csv")
    best = pd.Series({int(seed): epoch for seed, epoch in told["best_epoch"].items()})
    chosen = curves[curves["epoch"] == curves["seed"].map(best)]
    if SUBSETS in chosen and chosen[SUBSETS].notna().all():
        told["subsets_by_seed"] = dict(zip(chosen["seed"].astype(str), chosen[SUBSETS], strict=True))
    return told


def _test(project: Path, models: tuple[str, ...]) -> dict[str, Any]:
    scores, without = (read_json(project / f"metrics/{name}.json") for name in ("evaluate", "robustness"))
    return {model: _of_model(scores[model], without[model]) for model in models} | {"baseline": scores["baseline"]}


def _corpora(project: Path, models: tuple[str, ...]) -> dict[str, Any]:
    """The scores of each corpus alone."""
    told = read_json(project / "out/evaluate/corpora.json")
    return {corpus: {model: _tasks(own[model]) for model in models} for corpus, own in told.items()}


def _of_model(scores: dict[str, Any], without: dict[str, Any]) -> dict[str, Any]:
    """Mean and 95 % interval of every headline score, and macro F1 with a part of the modalities."""
    parts = {name: value for name, value in without["emotion"].items() if name.startswith("only:")}
    return _tasks(scores) | {"emotion_macro_f1_of": parts}


def _tasks(scores: dict[str, Any]) -> dict[str, Any]:
    told = {task: scores.get(task, {}) for task in labels.TASKS}
    return {task: {name: _interval(own, name) for name in HEADLINE} for task, own in told.items()}


def _interval(scores: dict[str, float], name: str) -> dict[str, float]:
    """Without a label in this task every score is null, and there is no interval."""
    return {"mean": scores.get(name), "low": scores.get(f"{name}_low"), "high": scores.get(f"{name}_high")}
