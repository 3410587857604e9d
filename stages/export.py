"""Export: the student of one seed and all that it needs to predict, in one folder."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from merc import engine, entry, exporting, labels, manifest, modelcard, params, results, scores, trained
from merc.batches import read_split
from merc.encoders import naming
from merc.exporting import ExportConfig
from models import checkpoint

OUT, METRICS, DISTILLED = Path("out/export"), Path("metrics/export.json"), Path("out/distill")
CHOSEN = {"best": "best macro F1 of all seeds on the dev split"}


def main() -> None:
    """Write out/export and metrics/export.json."""
    seeds, config = params.read("train.seeds", list[int]), params.read("export", ExportConfig)
    corpora = manifest.only(params.read("data.corpora", list[str]))
    space = labels.space(params.read("data.labels", str))
    seed = exporting.choose(config.seed, seeds, results.read_json(Path("metrics/distill.json"))["by_seed"])
    source = DISTILLED / f"seed-{seed}"
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    exporting.copy_checkpoint(source, OUT)
    network = trained.network(checkpoint.load, source)
    results.write_json(OUT / "labels.json", network.labels)
    results.write_json(OUT / "extraction.json", params.read("extract", dict[str, Any]))
    needed = copy_encoders(network)
    split = read_split("dev", corpora, network.modalities, space).known(list(network.streams))
    logits = engine.predict(network, split)
    card = modelcard.write(
        network,
        needed,
        {task: score(own, split.targets[task].numpy()) for task, own in logits.items()},
        seed=seed,
        chosen=CHOSEN.get(str(config.seed), "export.seed in params.yaml"),
        corpora=corpora,
        utterances=len(split),
    )
    (OUT / "card.md").write_text(card, encoding="utf-8")
    exporting.seal(OUT)
    exporting.verify(OUT)
    results.write_json(METRICS, parity(logits, engine.predict(checkpoint.load(OUT), split), network))


def copy_encoders(network) -> dict[str, dict[str, Any]]:
    """Name the encoders, copy the weights that no one else has; the lip-sync network goes along."""
    needed = {m: one for m in network.modalities if (one := naming.needs(m, network.streams))}
    for modality, one in needed.items():
        if one["weights"] is not None:
            exporting.copy_stage(Path(one["weights"]), OUT / "encoders" / modality)
            one["weights"] = f"encoders/{modality}"
    exporting.copy_stage(Path("out/lipsync/vision"), OUT / "lipsync")
    results.write_json(OUT / "encoders.json", needed)
    return needed


def score(logits: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """The headline scores of a task on dev."""
    return scores.scores(actual, logits.argmax(1), logits.shape[1])


def parity(own: dict[str, np.ndarray], exported: dict[str, np.ndarray], network) -> dict[str, Any]:
    """The exported folder against the checkpoint, on dev."""
    difference = max(float(np.abs(own[task] - exported[task]).max(initial=0.0)) for task in own)
    same = own["emotion"].argmax(1) == exported["emotion"].argmax(1)
    return {
        "difference": difference,
        "agreement": same.mean() if len(same) else None,
        "parameters": modelcard.parameters(network),
        "bytes": exporting.size(OUT),
    }


if __name__ == "__main__":
    entry.run(main)
