"""Why the student answers what it answers on the test split, and whether the why is faithful. Fits nothing."""

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

from merc import (
    entry,
    findings,
    gallery,
    labels,
    manifest,
    params,
    plots_explain,
    reading,
    results,
    sanity,
    shapreport,
    showcase,
    tables,
    trained,
    truth,
    units,
    verdicts,
    work,
)
from merc.batches import read_split
from merc.device import device
from merc.explanation import ExplainConfig, Sources, choose, explain, join
from merc.problem import Problem
from models import checkpoint

OUT, METRICS, PLOTS = Path("out/explain"), Path("metrics/explain.json"), Path("plots/explain")
STUDENT, TEACHER = Path("out/distill"), Path("out/train")
KINDS = ("shap", "show", "check", "explain")  # of jobs, the longest first
SHOWN = 5  # utterances of the gallery that one job explains
TOKENS = 3  # of them get SHAP of their tokens: some hundred masked sentences each


def main() -> None:
    """Explain the first seed's student: one network has reasons, a mean of five has none."""
    corpora, seeds = manifest.only(params.read("data.corpora", list[str])), params.read("train.seeds", list[int])
    config, space = params.read("explain", ExplainConfig), labels.space(params.read("data.labels", str))
    network = trained.network(checkpoint.load, STUDENT / f"seed-{seeds[0]}")
    split = read_split("test", corpora, network.modalities, space).known(list(network.streams))
    sources = Sources(split, units.read("test", corpora, split), reading.read("test", corpora, split))
    told = truth.read("test", corpora)
    pieces = choose(split, config.utterances)
    picks = _picks(network, split)
    jobs = [("shap", (list(chain.from_iterable(pieces)), picks[:TOKENS]))]
    jobs += [("show", picks[first : first + SHOWN]) for first in range(0, len(picks), SHOWN)]
    jobs += [("check", dialogue) for dialogue in chain.from_iterable(choose(split, sanity.CHECKED))]
    jobs += [("explain", piece) for piece in pieces]
    for place in (OUT, PLOTS):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
    done = work.run(jobs, partial(answer, sources, config, told, seeds), label="explain")
    if failures := [one.reason for one in done if isinstance(one, work.Failed)]:
        raise Problem(f"explain: {failures[0]}; lower compute.workers if memory ran out")
    _write(
        {kind: [one for job, one in zip(jobs, done, strict=True) if job[0] == kind] for kind in KINDS},
        network,
        told,
        config,
    )


def _write(done: dict[str, list], network: Any, told: pd.DataFrame, config: ExplainConfig) -> None:
    explained, judged = zip(*done["explain"], strict=True)
    found, judged = join(explained), [verdicts.join(pieces) for pieces in zip(*judged, strict=True)]
    checked = pd.concat(done["check"], ignore_index=True)
    modalities, order = network.modalities, network.labels["emotion"]
    pq.write_table(findings.table(found, order, modalities), OUT / "attributions.parquet")
    metrics = findings.metrics(found, checked, judged, told, modalities, config)
    missed, tokens = done["shap"][0]
    results.write_json(METRICS, metrics | missed)
    emotions = findings.by_emotion(found, order, modalities)
    tables.write(PLOTS / "modalities.csv", emotions)
    tables.write(PLOTS / "curves.csv", findings.curves(found))
    tables.write(PLOTS / "randomised.csv", findings.by_change(checked))
    tables.write(PLOTS / "hits.csv", verdicts.by_seed(judged))
    plots_explain.contributions(PLOTS / "modalities.png", emotions, "What the student's answers rest on")
    plots_explain.curves(PLOTS / "curves.png", findings.curves(found))
    shown = showcase.join(list(chain.from_iterable(done["show"])), tokens)
    gallery.write(OUT / "gallery", shown, "Why the student says so: test")


def _picks(network: Any, split: Any) -> list[tuple[int, str]]:
    with torch.no_grad():
        told = [network(batch)["emotion"].softmax(1).numpy() for batch in split.batches(8)]
    return showcase.choose(np.concatenate(told), split.targets["emotion"].numpy(), network.labels["emotion"])


def answer(
    sources: Sources, config: ExplainConfig, told: pd.DataFrame, seeds: list[int], job: tuple[str, Any]
) -> Any:
    """One job, in a process of its own; every seed's student is judged, the first one's is explained."""
    kind, item = job
    sources = replace(sources, split=sources.split.to(device()))
    student = _load(STUDENT, seeds[0])
    if kind == "explain":
        found = explain(student, _load(TEACHER, seeds[0]), sources, config, item)
        return found, [verdicts.verdict(_load(STUDENT, seed), sources, told, item, seed) for seed in seeds]
    if kind == "check":
        return sanity.checks(student, sources, config.seed, item)
    if kind == "show":
        return showcase.show(student, "test", sources.split, item)
    dialogues, picks = item  # whatever needs shap in one process: to import it takes seconds
    missed = shapreport.write(PLOTS, student, sources, config, dialogues)
    return missed, showcase.tokens(student, "test", sources.split, picks)


def _load(place: Path, seed: int) -> Any:
    return trained.network(checkpoint.load, place / f"seed-{seed}", device())


if __name__ == "__main__":
    entry.run(main)
