"""Why the student answers what it answers on the test split, and whether the why is faithful. Fits nothing."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq

from merc import (
    entry,
    findings,
    labels,
    manifest,
    params,
    plots_explain,
    reading,
    results,
    tables,
    trained,
    truth,
    units,
    work,
)
from merc.batches import read_split
from merc.device import device
from merc.explanation import ExplainConfig, Explained, Sources, choose, explain, join
from merc.problem import Problem
from models import checkpoint

OUT, METRICS, PLOTS = Path("out/explain"), Path("metrics/explain.json"), Path("plots/explain")


def main() -> None:
    """Explain the first seed's student: one network has reasons, a mean of five has none."""
    corpora = manifest.only(params.read("data.corpora", list[str]))
    space = labels.space(params.read("data.labels", str))
    seeds, config = params.read("train.seeds", list[int]), params.read("explain", ExplainConfig)
    folder = Path("out/distill") / f"seed-{seeds[0]}"
    network = trained.network(checkpoint.load, folder)
    modalities, order = network.modalities, network.labels["emotion"]
    split = read_split("test", corpora, modalities, space).known(list(network.streams))
    sources = Sources(split, units.read("test", corpora, split), reading.read("test", corpora, split))
    pieces = work.run(choose(split, config.utterances), partial(answer, sources, config, folder), label="explain")
    if failures := [piece.reason for piece in pieces if isinstance(piece, work.Failed)]:
        raise Problem(f"explain: {failures[0]}; lower compute.workers if memory ran out")
    found = join([piece for piece in pieces if isinstance(piece, Explained)])
    for place in (OUT, PLOTS):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
    pq.write_table(findings.table(found, order, modalities), OUT / "attributions.parquet")
    results.write_json(METRICS, findings.metrics(found, truth.read("test", corpora), modalities, config))
    emotions = findings.by_emotion(found, order, modalities)
    tables.write(PLOTS / "modalities.csv", emotions)
    tables.write(PLOTS / "deletion.csv", findings.deletion_curves(found))
    plots_explain.contributions(PLOTS / "modalities.png", emotions, "What the student's answers rest on")


def answer(sources: Sources, config: ExplainConfig, folder: Path, dialogues: list[int]) -> Explained:
    """The explanations of some dialogues; a job of its own process."""
    network = trained.network(checkpoint.load, folder, device())
    return explain(network, replace(sources, split=sources.split.to(device())), config, dialogues)


if __name__ == "__main__":
    entry.run(main)
