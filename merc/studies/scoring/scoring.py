"""Scores a system by the code of evaluate: every number of a result file comes from merc/evaluation."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pandas as pd

from merc.data.records.labels import Kind
from merc.data.records.selection import MAIN_METRIC, METRICS
from merc.evaluation import bootstrap, headline, reliability, robustness, selection_gap, significance, slices
from merc.evaluation.missing_modalities import FULL
from merc.evaluation.predictions import Predictions
from merc.evaluation.report import tables
from merc.studies.scoring import modality_equity, reference, result_file
from merc.studies.scoring.dev_calibration import FITTED
from merc.studies.scoring.prediction_files import ANSWER_PART, SystemPredictions
from merc.studies.scoring.protocols import BOOTSTRAP_SEED, ROUNDS
from merc.studies.scoring.reference import Reference
from merc.studies.scoring.result_file import TaskResult

CLEAN = "clean test"  # name of the slice
FIRST_MEASURE: dict[Kind, str] = {"classification": "macro_f1", "multilabel": "macro_f1", "regression": "mae"}
# z for a two-sided test at 5 % plus z for a power of 80 %
DETECTABLE_ERRORS = 1.959964 + 0.841621


@dataclass(frozen=True)
class Rivals:
    """What a system is measured against."""

    baseline: SystemPredictions | None = None
    dev: SystemPredictions | None = None  # its own predictions of dev
    floor: Predictions | None = None
    notes: list[str] = field(default_factory=list)


def score(system: SystemPredictions, ref: Reference, rivals: Rivals) -> dict[str, TaskResult]:
    """The results of every task that the system predicts."""
    predictions = system.predictions
    scored = _scored_manifest(ref, predictions)
    draws = bootstrap.draw(predictions.groups()[1], predictions.num_seeds, ROUNDS, BOOTSTRAP_SEED)
    parts = slices.slice_masks(scored, ref.seen)
    if not ref.knows_media:  # nobody looked whether a medium is damaged
        parts = {name: mask for name, mask in parts.items() if not name.startswith(("text:", "audio:", "vision:"))}
    if not len(ref.seen):
        parts.pop(CLEAN, None)
        rivals.notes.append("no clean test: the corpus's train and dev splits are not there")
    elif CLEAN not in parts:
        rivals.notes.append("no clean test: every utterance shares its text or recording with train or dev")
    robust = robustness.robustness(predictions)[system.name]
    return {task: _task(system, ref, rivals, task, draws, parts, robust[task]) for task in predictions.outputs}


def ordering_measure(protocol_measure: str, kind: Kind) -> str:
    """The score by which systems are ordered: the protocol's, or what the field reports first of this kind."""
    return protocol_measure if protocol_measure in METRICS[kind] else FIRST_MEASURE[kind]


def _scored_manifest(ref: Reference, predictions: Predictions) -> pd.DataFrame:
    if len(predictions.rows) == len(ref.manifest):
        return ref.manifest
    kept = ref.manifest["utterance"].isin(predictions.rows["utterance"])
    return cast("pd.DataFrame", ref.manifest[kept].reset_index(drop=True))


def _task(
    system: SystemPredictions,
    ref: Reference,
    rivals: Rivals,
    task: str,
    draws: bootstrap.Draws,
    parts: Mapping[str, np.ndarray],
    robust: Mapping[str, float],
) -> TaskResult:
    predictions, name, baseline = system.predictions, system.name, rivals.baseline
    counts, measure = predictions.group_confusions(task, name), predictions.measure(task)
    replicates = bootstrap.replicate(counts, draws, measure.summarise)
    ordered_by, labelled = ordering_measure(ref.protocol.measure, measure.kind), predictions.labelled(task)
    is_first = task == next(iter(predictions.outputs))
    clean = parts.get(CLEAN)
    board = headline.headline(predictions, task, name, draws)
    tested = baseline and {
        "digest": predictions_digest(baseline.predictions),
        **_compare(baseline.predictions, baseline.name, system, task),
    }
    against_floor = rivals.floor and {
        "digest": None,
        **_compare(rivals.floor, rivals.floor.keys[0].model, system, task),
    }
    pair, differences = _differences(system, baseline, task, replicates)
    lost = modality_equity.losses(robust)
    gap = selection_gap.epoch_gap(predictions, name, task) if is_first else None
    content: dict[str, Any] = {
        "kind": system.kinds[task],
        "task_kind": measure.kind,
        "measure": None if ordered_by == ref.protocol.measure else ordered_by,
        "classes": list(predictions.task(task).classes),
        "utterances": int(labelled.sum()),
        "scores": _with_intervals(board, measure.kind),
        "by_class": [] if measure.kind == "regression" else _by_class(predictions, task, draws),
        "majority": headline.majority_baseline(ref.space, ref.manifests["train"], predictions, task),
        "jensen_shannon": board.get("jensen_shannon") if system.kinds[task] != "labels" else None,
        "clean_utterances": 0 if clean is None else int((clean & labelled).sum()),
        "clean": None if clean is None else board_of(predictions.take(clean), task),
        "slices": _slices(predictions, task, parts),
        "dev": board_of(rivals.dev.predictions, task) if rivals.dev and task in rivals.dev.kinds else None,
        "selection_gap": gap if gap and gap["epochs"] else None,
        "calibration": _calibration(system, task),
        "comparison": tested,
        "floor": board_of(rivals.floor, task) if rivals.floor and task in rivals.floor.outputs else None,
        "against_floor": against_floor,
        "smallest_difference": differences,
        "smallest_difference_pair": pair,
        "conditions": robust,
        "curve": _curve(predictions, task, draws),
        "equity": {"equity": modality_equity.equity(lost), "losses": lost} if len(lost) > 1 else None,
        "replicates": replicates[ordered_by],
    }
    return TaskResult.model_validate(plain(content))


def board_of(predictions: Predictions, task: str) -> dict[str, dict[str, float]]:
    """Headline scores of predictions with draws of their own, as evaluate scores each corpus."""
    draws = bootstrap.draw(predictions.groups()[1], predictions.num_seeds, ROUNDS, BOOTSTRAP_SEED)
    board = headline.headline(predictions, task, predictions.keys[0].model, draws)
    return _with_intervals(board, predictions.task(task).kind)


def _with_intervals(board: Mapping[str, float], kind: Kind) -> dict[str, dict[str, float]]:
    """{measure: {value, std, low, high}}."""
    return {
        name: {"value": board[name], **{part: board[f"{name}_{part}"] for part in ("std", "low", "high")}}
        for name in METRICS[kind]
    }


def _by_class(predictions: Predictions, task: str, draws: bootstrap.Draws) -> list[dict[str, Any]]:
    table = tables.class_scores(predictions, task, draws).drop(columns="model").rename(columns={"class": "label"})
    return table.to_dict("records")


def _slices(predictions: Predictions, task: str, parts: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    table = slices.slice_table(predictions, task, dict(parts), predictions.models())
    return table.drop(columns="model").rename(columns={"slice": "name"}).to_dict("records")


def _calibration(system: SystemPredictions, task: str) -> dict[str, Any] | None:
    """Calibration measures, with conformal sets, or intervals of numbers, if they were fitted on dev."""
    predictions, kind, labelled = system.full, system.predictions.task(task).kind, system.full.labelled(task)
    if system.kinds[task] == "labels" or not labelled.any():
        return None
    fitted = {"classification": "set", "multilabel": FITTED, "regression": "interval"}[kind]
    if fitted in predictions.outputs[task] or system.kinds[task] == "parts":
        return reliability.calibration_measures(predictions, task, system.name) or None
    if kind == "regression":
        return None
    actual = predictions.actual(task)[labelled]
    probability = predictions.values(task, system.name, [FULL])[:, 0, labelled]
    if kind == "multilabel":
        return dict(reliability.binary_measures(probability, actual > 0))
    return dict(reliability.calibration_scores(probability, actual))


def _compare(other: Predictions, name: str, system: SystemPredictions, task: str) -> dict[str, Any]:
    """This system - the other, by the report's paired tests, on the utterances that both answer."""
    first, second = _shared(other, system.full)
    result = significance.compare(first, second, (name, system.name), task, ROUNDS)
    return {"other": name, **result}


def _shared(first: Predictions, second: Predictions) -> tuple[Predictions, Predictions]:
    """Both for the utterances of both: with --allow-missing one may have more than the other."""
    if len(first.rows) == len(second.rows) and first.rows["utterance"].equals(second.rows["utterance"]):
        return first, second
    kept = [
        one.rows["utterance"].isin(other.rows["utterance"]).to_numpy(dtype=bool)
        for one, other in ((first, second), (second, first))
    ]
    return first.take(kept[0]), second.take(kept[1])


def _differences(
    system: SystemPredictions, baseline: SystemPredictions | None, task: str, replicates: Mapping[str, np.ndarray]
) -> tuple[str, dict[str, float]]:
    """The other system's name, and {measure: smallest true difference that the split shows in 4 of 5 cases}.

    2.80 standard errors of the difference: paired with the baseline on the same drawn groups; without a baseline
    those of an unrelated system that varies as much, so at most.
    """
    measure = system.predictions.measure(task)
    names = METRICS[measure.kind]
    if baseline is None or task not in baseline.predictions.outputs:
        spread = {name: np.sqrt(2) * _spread(replicates[name]) for name in names}
        pair = "an unrelated system of the same spread"
    else:
        seeds = {key.seed for key in baseline.predictions.keys} & {key.seed for key in system.predictions.keys}
        shared = _shared(baseline.predictions, system.predictions)
        pairs = zip(shared, (baseline.name, system.name), strict=True)
        both = [one.take_seeds(seeds).group_confusions(task, name) for one, name in pairs]
        draws = bootstrap.draw(both[0].shape[2], len(seeds), ROUNDS, BOOTSTRAP_SEED)
        first, second = (bootstrap.replicate(counts, draws, measure.summarise) for counts in both)
        spread = {name: _spread(second[name] - first[name]) for name in names}
        pair = baseline.name
    return pair, {name: float(DETECTABLE_ERRORS * value) for name, value in spread.items()}


def _spread(replicates: np.ndarray) -> float:
    defined = replicates[np.isfinite(replicates)]
    return float(defined.std()) if len(defined) else np.nan


def _curve(predictions: Predictions, task: str, draws: bootstrap.Draws) -> list[dict[str, float]]:
    name = predictions.keys[0].model
    table = robustness.missing_rate_curve(predictions, task, draws)
    main = MAIN_METRIC[predictions.task(task).kind]
    columns = {name: main, f"{name}_low": "low", f"{name}_high": "high"}
    return table.rename(columns=columns).to_dict("records") if len(table) > 1 else []


def predictions_digest(predictions: Predictions) -> str:
    """SHA-256 of ids, seeds, conditions and raw predictions: equal however the rows of the files are ordered."""
    hasher = hashlib.sha256(reference.digest(predictions.rows).encode())
    hasher.update(str([(key.seed, key.condition) for key in predictions.keys]).encode())
    for task, parts in predictions.outputs.items():
        hasher.update(f"{task} {predictions.classes[task]}".encode())
        for block in parts[ANSWER_PART[predictions.task(task).kind]]:
            hasher.update(np.ascontiguousarray(block).data)
    return hasher.hexdigest()


def plain(content: Any) -> Any:
    """Numbers of Python for those of numpy, and None for NaN."""
    if isinstance(content, Mapping):
        return {key: plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple | np.ndarray):
        return [plain(value) for value in content]
    if isinstance(content, np.generic):
        content = content.item()
    return None if isinstance(content, float) and not np.isfinite(content) else content


def stamp(system: SystemPredictions, ref: Reference) -> dict[str, Any]:
    """What was scored, by which protocol."""
    predictions = system.predictions
    whole = reference.digest(ref.rows())
    return {
        "format": result_file.FORMAT,
        "system": system.name,
        "protocol": {
            "corpus": ref.protocol.corpus,
            "version": ref.protocol.version,
            "split": ref.split,
            "labels": ref.labels,
            "measure": ref.protocol.measure,
        },
        "reference": {
            "source": ref.source,
            "utterances": len(ref.manifest),
            "groups": len(set(ref.manifest["group"])),
            "digest": whole,
            "scored": len(predictions.rows),
            "scored_digest": reference.digest(predictions.rows) if system.missing else whole,
        },
        "predictions": {
            "files": list(system.files),
            "digest": predictions_digest(predictions),
            "seeds": sorted({key.seed for key in predictions.keys}),
            "conditions": predictions.conditions(system.name),
            "missing": system.missing,
        },
    }
