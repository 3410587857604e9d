"""What a finished `distill` leaves behind, made up in a moment: manifests, packs, untrained networks."""

import shutil

import numpy as np
import pandas as pd
import soundfile
import torch
import typical
import yaml

from merc.data.records import manifest as manifests
from merc.data.records import packs
from merc.runtime import results
from models import checkpoint
from models.network import Network, NetworkConfig

DIMS = {"text": 12, "audio": 109, "vision": 7}  # audio: what prosody gives, for it is encoded anew with noise
ENCODERS = {"text": "minilm", "audio": "prosody", "vision": "hog"}


def write(folder, params, dialogues=6, turns=5, seeds=(1, 2), dims=DIMS):
    """Fill `folder` for a params document whose one corpus is `sample`; returns nothing, reads nothing."""
    params["train"]["seeds"] = list(seeds)
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    for number, split in enumerate(manifests.SPLITS):
        corpus(folder, manifest(split, dialogues, turns, number), split, "sample", number, dims)
    for stage in ("train", "distill"):
        for seed in seeds:
            network(folder / "out" / stage / f"seed-{seed}", params["model"], dims, seed)
    typical.write(
        folder / "out/distill", {f"{modality}/{ENCODERS[modality]}": dim for modality, dim in dims.items()}
    )


def corpus(folder, rows, split, name, number, dims=DIMS):
    """A corpus's manifest, sounds and packs of one split; a status `missing` leaves a modality out."""
    place = folder / manifests.split_folder(split, name)
    place.mkdir(parents=True)
    manifests.write_manifest(place / "manifest.parquet", rows)
    if split == "test":
        write_sounds(place, rows)
    for modality, dim in dims.items():
        there = (rows[f"{modality}_status"] != manifests.MISSING).to_numpy(dtype=bool)
        packs.write_pack(folder / packs.pack_path(split, name, modality), pack(modality, dim, there, number), rows)


def manifest(split, dialogues, turns, seed):
    """Two speakers in turn; texts of their own; the third utterance has no sound."""
    generator, size = np.random.default_rng(seed), dialogues * turns
    rows = pd.DataFrame(index=range(size), columns=manifests.SCHEMA.names)
    rows["corpus"], rows["split"] = "sample", split
    rows["dialogue"], rows["turn"] = [str(n // turns) for n in range(size)], [n % turns for n in range(size)]
    rows["utterance"] = [f"dia{n // turns}_utt{n % turns}" for n in range(size)]
    rows["group"] = f"sample/{split}/" + rows["dialogue"]
    rows["speaker"] = [f"speaker {n % 2}" for n in range(size)]
    rows["text"] = [f"{split} says number {n} of a great many words" for n in range(size)]
    rows["emotion"] = generator.choice(["neutral", "joy", "anger"], size)
    rows["sentiment"] = generator.choice(["negative", "neutral", "positive"], size)
    for modality in manifests.MODALITIES:
        rows[f"{modality}_status"], rows[f"{modality}_reason"] = "ok", ""
    rows["wav"] = "audio/" + rows["utterance"] + ".wav"
    rows.loc[2, ["audio_status", "audio_reason", "wav"]] = "missing", "made so", None
    return rows.where(rows.notna(), None)


def write_sounds(folder, rows):
    (folder / "audio").mkdir()
    for number, name in enumerate(rows["wav"].dropna()):
        time = np.arange(8000) / 16000
        soundfile.write(folder / name, 0.1 * np.sin(2 * np.pi * (100 + number) * time), 16000)


def pack(modality, dim, there, seed):
    generator = np.random.default_rng([seed, dim])
    lengths = generator.integers(1, 20, len(there))
    drawn = [generator.normal(size=(steps, dim)) for steps in lengths]
    features = [one if present else None for one, present in zip(drawn, there, strict=True)]
    units = [None if one is None else np.zeros((len(one), 2), np.float32) for one in features]
    return packs.build_pack(
        features, units, np.zeros((1, dim)), encoder=ENCODERS[modality], unit_names=("a", "b"), step_seconds=None
    )


def network(folder, model, dims, seed):
    torch.manual_seed(seed)
    streams = {f"{modality}/{ENCODERS[modality]}": dim for modality, dim in dims.items()}
    orders = {
        "emotion": ("neutral", "joy", "surprise", "anger", "sadness", "disgust", "fear"),
        "sentiment": ("negative", "neutral", "positive"),
    }
    checkpoint.save(folder, Network(NetworkConfig(**model), streams, orders))
    results.write_json(
        folder / "calibration.json", {task: {"temperature": 1.5, "threshold": 0.1} for task in orders}
    )


def keep_epochs(folder, model, chosen=2, dims=DIMS):
    """Epochs 1 to 3 beside a trained network, of which `chosen` is best on dev and is the network itself."""
    (folder / "epochs").mkdir()
    epochs = []
    for epoch in (1, 2, 3):
        file = f"epoch-{epoch}.safetensors"
        network(folder / "other", model, dims, 100 + epoch)
        source = folder if epoch == chosen else folder / "other"
        shutil.copyfile(source / checkpoint.WEIGHTS_FILE, folder / "epochs" / file)
        epochs.append({"epoch": epoch, "dev": 0.5 + (epoch == chosen) / 10, "file": file})
    shutil.rmtree(folder / "other")
    log = {"selected_by": "dev macro_f1", "best": chosen, "epochs": epochs}
    results.write_json(folder / "epochs/log.json", log)
