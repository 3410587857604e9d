"""Explain: attribute the student's test predictions, and check that the attributions are faithful. Fits nothing."""

import shutil
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch

from merc.data.batches.dataset import read_split
from merc.data.records import labels, manifest, truth
from merc.explanation import figures, findings, units
from merc.explanation.checks import ground_truth, randomisation
from merc.explanation.counterfactual import actual_classes, as_classes, explained_classes, explained_task
from merc.explanation.explainer import ExplainConfig, Sources, choose, explain, join
from merc.explanation.gallery import page, selection
from merc.explanation.methods import word_masking
from merc.runtime import entry_point, params, results, workers
from merc.runtime.device import select_device
from merc.runtime.errors import UserError
from merc.training.core import speaker_offsets, stage_checkpoints
from models import checkpoint

OUT, METRICS, PLOTS = Path("out/explain"), Path("metrics/explain.json"), Path("plots/explain")
STUDENT, TEACHER = Path("out/distill"), Path("out/train")
KINDS = ("shap", "show", "check", "explain")  # of jobs, longest first
SHOWN = 5  # gallery utterances per job
TOKENS = 3  # gallery utterances with SHAP values of their tokens: some hundred masked sentences each


def main() -> None:
    """Explain the first seed's student: a single network, because the mean of several has no attributions."""
    corpora, seeds = (
        manifest.check_corpora(params.read("data.corpora", list[str])),
        params.read("train.seeds", list[int]),
    )
    config, space = params.read("explain", ExplainConfig), labels.label_space(params.read("data.labels", str))
    network = stage_checkpoints.load_network(checkpoint.load, STUDENT / f"seed-{seeds[0]}")
    split = read_split("test", corpora, network.modalities, space)
    if not len(split):
        write_off("no corpus of data.corpora has an utterance of test")
        return
    split = split.with_streams(list(network.streams))
    split = speaker_offsets.with_offsets(split, speaker_offsets.load(STUDENT / speaker_offsets.FILE))
    sources = Sources(split, units.read("test", corpora, split), word_masking.read("test", corpora, split))
    known_truth = truth.read_truth("test", corpora)
    pieces = choose(split, config.utterances)
    picks = _picks(network, split)
    jobs = [("shap", (list(chain.from_iterable(pieces)), picks[:TOKENS]))]
    jobs += [("show", picks[first : first + SHOWN]) for first in range(0, len(picks), SHOWN)]
    jobs += [("check", dialogue) for dialogue in chain.from_iterable(choose(split, randomisation.MIN_UTTERANCES))]
    jobs += [("explain", piece) for piece in pieces]
    for folder in (OUT, PLOTS):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    explain, on_gpu = partial(run_job, sources, config, known_truth, seeds), select_device().type == "cuda"
    outputs = workers.run(jobs, explain, label="explain", accelerator=on_gpu)
    if failures := [output.reason for output in outputs if isinstance(output, workers.JobFailure)]:
        raise UserError(f"explain: {failures[0]}; lower compute.workers if memory ran out")
    by_kind = {
        kind: [output for job, output in zip(jobs, outputs, strict=True) if job[0] == kind] for kind in KINDS
    }
    _write(by_kind, network, known_truth, config)


def write_off(reason: str) -> None:
    """Write a marker in place of the tables and the gallery, and no plots."""
    results.write_disabled(OUT, reason)
    results.recreate_folder(PLOTS)
    results.write_json(METRICS, {"utterances": 0})


def _write(outputs: dict[str, list], network: Any, known_truth: pd.DataFrame, config: ExplainConfig) -> None:
    """Write tables, metrics, plots and gallery from the jobs' outputs, by kind."""
    explained, verdicts = zip(*outputs["explain"], strict=True)
    explanations = join(list(explained))
    verdicts = [ground_truth.concatenate_hits(pieces) for pieces in zip(*verdicts, strict=True)]  # by seed
    randomised = pd.concat(outputs["check"], ignore_index=True)
    modalities, order = network.modalities, explained_classes(network)
    pq.write_table(findings.table(explanations, order, modalities), OUT / "attributions.parquet")
    metrics = findings.metrics(explanations, randomised, verdicts, known_truth, modalities, config)
    shap_error, tokens = outputs["shap"][0]
    results.write_json(METRICS, metrics | shap_error)
    emotions = findings.by_emotion(explanations, order, modalities)
    results.write_csv(PLOTS / "modalities.csv", emotions)
    results.write_csv(PLOTS / "curves.csv", findings.curves(explanations))
    results.write_csv(PLOTS / "randomised.csv", findings.by_change(randomised))
    results.write_csv(PLOTS / "hits.csv", ground_truth.metrics_by_seed(verdicts))
    figures.contributions(PLOTS / "modalities.png", emotions, "What the student's answers rest on")
    figures.curves(PLOTS / "curves.png", findings.curves(explanations))
    shown = selection.add_token_scores(list(chain.from_iterable(outputs["show"])), tokens)
    page.write_page(OUT / "gallery", shown, "Why the student says so: test")


def _picks(network: Any, split: Any) -> list[tuple[int, str]]:
    """The gallery's utterances and emotions, chosen by the network's probabilities."""
    task = explained_task(network)
    with torch.no_grad():
        logits = [as_classes(network, task, network(batch)[task]) for batch in split.batches(8)]
    actual = actual_classes(network, task, split.targets[task]).numpy()
    probabilities = np.concatenate([each.softmax(1).numpy() for each in logits])
    return selection.choose_utterances(probabilities, actual, explained_classes(network))


def run_job(
    sources: Sources, config: ExplainConfig, known_truth: pd.DataFrame, seeds: list[int], job: tuple[str, Any]
) -> Any:
    """Run a job in a worker process; explanations are of the first seed's student, verdicts of every seed's."""
    kind, item = job
    sources = replace(sources, split=sources.split.to(select_device()))
    student = _load(STUDENT, seeds[0])
    if kind == "explain":
        explanations = explain(student, _load(TEACHER, seeds[0]), sources, config, item)
        verdicts = [
            ground_truth.ground_truth_hits(_load(STUDENT, seed), sources, known_truth, item, seed) for seed in seeds
        ]
        return explanations, verdicts
    if kind == "check":
        return randomisation.sanity_checks(student, sources, config.seed, item)
    if kind == "show":
        return selection.explain_utterances(student, "test", sources.split, item)
    dialogues, picks = item  # everything that needs shap in one process: its import takes seconds
    shap_error = figures.write(PLOTS, student, sources, config, dialogues)
    return shap_error, selection.explain_tokens(student, "test", sources.split, picks)


def _load(folder: Path, seed: int) -> Any:
    return stage_checkpoints.load_network(checkpoint.load, folder / f"seed-{seed}", select_device())


if __name__ == "__main__":
    entry_point.run(main)
