"""Export: the student of one seed and all that it needs to predict, in one folder."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from merc import (
    agreement,
    engine,
    entry,
    exporting,
    labels,
    manifest,
    modelcard,
    onnxfiles,
    params,
    portable,
    results,
    scores,
    trained,
)
from merc.batches import Split, read_split
from merc.encoders import naming
from merc.encoders import portable as portable_encoders
from merc.exporting import ExportConfig
from models import checkpoint

OUT, METRICS, DISTILLED = Path("out/export"), Path("metrics/export.json"), Path("out/distill")
AGREEMENT = Path("metrics/bench/export.json")  # no output of the pipeline: onnxruntime differs between processors
CHOSEN = {"best": "best macro F1 of all seeds on the dev split"}
Needed = dict[str, dict[str, Any]]  # by modality, what naming.needs tells


def main() -> None:
    """Write out/export and metrics/export.json, and how far the ONNX files agree with the checkpoint here."""
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
    needed = write_encoders(network)
    portable.write(OUT, network)
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
    reloaded = agreement.compare(logits, engine.predict(checkpoint.load(OUT), split), list(logits))
    sizes = {"parameters": modelcard.parameters(network), "bytes": exporting.sizes(OUT)}
    results.write_json(METRICS, {"torch": reloaded, **sizes})
    compared = answers(network, split, needed)
    results.write_json(
        AGREEMENT, {name: agreement.compare(logits, other, list(logits)) for name, other in compared.items()}
    )


def write_encoders(network) -> Needed:
    """Name the encoders, copy the weights that no one else has, and write as ONNX what can be."""
    needed = {m: one for m in network.modalities if (one := naming.needs(m, network.streams))}
    for modality, one in needed.items():
        place = OUT / "encoders" / modality
        if one["weights"] is not None:
            exporting.copy_stage(Path(one["weights"]), place)
            one["weights"] = f"encoders/{modality}"
        encoder = naming.restore(modality, one, OUT)
        one["onnx"] = "no encoder" if encoder is None else portable_encoders.write(place, encoder) or "exported"
    exporting.copy_stage(Path("out/lipsync/vision"), OUT / "lipsync")
    results.write_json(OUT / "encoders.json", needed)
    return needed


def answers(network, split: Split, needed: Needed) -> dict[str, dict[str, np.ndarray]]:
    """Logits of the ONNX files on dev; at reduced precision also from features of the reduced encoders."""
    reduced = {m: encoder for m, one in needed.items() if (encoder := reduced_encoder(m, one)) is not None}
    seen = {"onnx": split, "int8": split, "int8_with_encoders": agreement.encoded_by(split, reduced, needed)}
    files = {"onnx": onnxfiles.FULL}
    return {
        name: agreement.answers(OUT / files.get(name, onnxfiles.REDUCED), own, network.streams)
        for name, own in seen.items()
    }


def reduced_encoder(modality: str, one: dict[str, Any]):
    """None for an encoder that did not export."""
    if one["onnx"] != "exported":
        return None
    path = OUT / "encoders" / modality / onnxfiles.REDUCED
    return portable_encoders.exchange(naming.restore(modality, one, OUT), path)


def score(logits: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """The headline scores of a task on dev."""
    return scores.scores(actual, logits.argmax(1), logits.shape[1])


if __name__ == "__main__":
    entry.run(main)
