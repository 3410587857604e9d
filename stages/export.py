"""Export: one seed's student and everything it needs to predict, in one folder."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from merc.data.batches.dataset import Split, read_split
from merc.data.records import labels, manifest, selection
from merc.export import agreement, bundle, model_card, needed_encoders, onnx_files, onnx_network
from merc.export import onnx_encoders as portable_encoders
from merc.export.bundle import ExportConfig
from merc.runtime import entry_point, params, results
from merc.training.core import loop, speaker_offsets, stage_checkpoints, task_scores, typicality
from models import checkpoint

OUT, METRICS, DISTILLED = Path("out/export"), Path("metrics/export.json"), Path("out/distill")
AGREEMENT = Path("metrics/bench/export.json")  # not a pipeline output: onnxruntime differs between processors
Needed = dict[str, dict[str, Any]]  # modality -> encoder as of needed_encoders.needs


def main() -> None:
    """Write out/export and metrics/export.json, and compare the ONNX files' outputs with the checkpoint's."""
    seeds, config = params.read("train.seeds", list[int]), params.read("export", ExportConfig)
    corpora = manifest.check_corpora(params.read("data.corpora", list[str]))
    space = labels.label_space(params.read("data.labels", str))
    chosen = selection.selection(params.read("train.select", str), space)
    by_seed = results.read_json(Path("metrics/distill.json"))["by_seed"]
    seed = bundle.choose_seed(config.seed, seeds, by_seed, chosen.sign)
    source = DISTILLED / f"seed-{seed}"
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    bundle.copy_checkpoint(source, OUT)
    shutil.copyfile(DISTILLED / typicality.FILE, OUT / typicality.FILE)
    speakers = speaker_offsets.load(DISTILLED / speaker_offsets.FILE)
    if speakers:
        shutil.copyfile(DISTILLED / speaker_offsets.FILE, OUT / speaker_offsets.FILE)
    network = stage_checkpoints.load_network(checkpoint.load, source)
    results.write_json(OUT / "labels.json", network.labels)
    if colours := {label: colour for task in space.tasks.values() for label, colour in task.colours.items()}:
        results.write_json(OUT / bundle.COLOURS, colours)
    results.write_json(OUT / "extraction.json", params.read("extract", dict[str, Any]))
    needed = write_encoders(network)
    onnx_network.export_network(OUT, network)
    split = read_split("dev", corpora, network.modalities, space).with_streams(list(network.streams))
    split = speaker_offsets.with_offsets(split, speakers)
    logits = loop.predict(network, split)
    card = model_card.render_card(
        network,
        needed,
        task_scores.scores_by_task(split.tasks, {t: split.targets[t].numpy() for t in logits}, logits),
        seed=seed,
        chosen=f"best {selection.TITLES[chosen.metric]} of all seeds on the dev split"
        if config.seed == "best"
        else "export.seed in params.yaml",
        corpora=corpora,
        utterances=len(split),
    )
    (OUT / "card.md").write_text(card, encoding="utf-8")
    bundle.write_hashes(OUT)
    bundle.verify(OUT)
    reloaded = agreement.compare_logits(logits, loop.predict(checkpoint.load(OUT), split), split.tasks)
    sizes = {"parameters": model_card.count_parameters(network), "bytes": bundle.file_sizes(OUT)}
    results.write_json(METRICS, {"torch": reloaded, **sizes})
    exported = onnx_logits(network, split, needed)
    results.write_json(
        AGREEMENT, {name: agreement.compare_logits(logits, other, split.tasks) for name, other in exported.items()}
    )


def write_encoders(network) -> Needed:
    """Write encoders.json; copy the weights that only this project has, and export to ONNX where possible."""
    needed = {
        m: entry for m in network.modalities if (entry := needed_encoders.describe_encoder(m, network.streams))
    }
    for modality, entry in needed.items():
        folder = OUT / "encoders" / modality
        if entry["weights"] is not None:
            bundle.copy_stage(Path(entry["weights"]), folder)
            entry["weights"] = f"encoders/{modality}"
        encoder = needed_encoders.restore_encoder(modality, entry, OUT)
        problem = None if encoder is None else portable_encoders.export_text_encoder(folder, encoder)
        entry["onnx"] = "no encoder" if encoder is None else problem or "exported"
    bundle.copy_stage(Path("out/lipsync/vision"), OUT / "lipsync")
    results.write_json(OUT / "encoders.json", needed)
    return needed


def onnx_logits(network, split: Split, needed: Needed) -> dict[str, dict[str, np.ndarray]]:
    """Logits of the ONNX files on dev; the 8-bit network also on features of the 8-bit encoders."""
    reduced = {m: encoder for m, entry in needed.items() if (encoder := reduced_encoder(m, entry)) is not None}
    splits = {
        "onnx": split,
        "int8": split,
        "int8_with_encoders": agreement.with_features_of(split, reduced, needed),
    }
    files = {"onnx": onnx_files.FULL}
    return {
        name: agreement.onnx_logits(OUT / files.get(name, onnx_files.REDUCED), features, network.streams)
        for name, features in splits.items()
    }


def reduced_encoder(modality: str, entry: dict[str, Any]):
    """Load the encoder's 8-bit ONNX file; None for an encoder that was not exported."""
    if entry["onnx"] != "exported":
        return None
    return portable_encoders.load_text_encoder(OUT / "encoders" / modality / onnx_files.REDUCED, entry)


if __name__ == "__main__":
    entry_point.run(main)
