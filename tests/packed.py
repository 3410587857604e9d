"""Small synthetic splits on disk, as extract and encode leave them, for tests of what comes after."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from merc.data.records import manifest as manifests
from merc.data.records import packs
from merc.data.records.labels import MELD_EMOTIONS

SENTIMENT = {"joy": "positive", "surprise": "positive", "neutral": "neutral"}
WIDTHS = {"text": 12, "audio": 9, "vision": 7}
QUICK = {  # parameters under which every stage that trains takes a second
    "train__seeds": [3, 4], "train__epochs": 2, "pretrain__epochs": 2, "distill__epochs": 2,
    "distill__phase_epochs": 1, "train__min_batches": 1, "distill__min_batches": 1,
    "model__dim": 8, "model__fused": 8, "compute__device": "cpu",
}  # fmt: skip


def write_split(
    split: str,
    *,
    seed: int,
    dialogues: int = 12,
    corpus: str = "sample",
    missing: float = 0.1,
    encoder: str = "toy",
) -> pd.DataFrame:
    """A manifest and packs below the current folder; the emotion shows in every modality that is present."""
    random = np.random.default_rng(seed)
    manifest = _manifest(split, corpus, random.integers(1, 7, dialogues), random, missing)
    folder = manifests.split_folder(split, corpus)
    folder.mkdir(parents=True, exist_ok=True)
    manifests.write_manifest(folder / "manifest.parquet", manifest)
    for modality in manifests.MODALITIES:
        features = _features(manifest, modality, random)
        packs.write_pack(packs.pack_path(split, corpus, modality), pack(features, WIDTHS[modality]), manifest)
    return manifest


def all_steps(stream):
    """(steps, D) all steps of a stream."""
    return torch.cat(list(stream.blocks()))


def pack(features: list[np.ndarray | None], width: int, encoder: str = "toy", dtype=np.float16) -> packs.Pack:
    units = [None if one is None else np.zeros((len(one), 1), np.float32) for one in features]
    return packs.build_pack(
        features,
        units,
        np.zeros((1, width)),
        encoder=encoder,
        unit_names=("time",),
        step_seconds=None,
        dtype=dtype,
    )


def _manifest(split: str, corpus: str, lengths: np.ndarray, random, missing: float) -> pd.DataFrame:
    rows = [(str(dialogue), turn) for dialogue, length in enumerate(lengths) for turn in range(length)]
    table = pd.DataFrame(rows, columns=["dialogue", "turn"])
    table["corpus"], table["split"] = corpus, split
    table["utterance"] = [f"dia{dialogue}_utt{turn}" for dialogue, turn in rows]
    table["group"] = corpus + "/" + split + "/" + table["dialogue"]
    table["speaker"] = random.choice(["Ann", "Bob", "Cy"], len(table))
    table["text"] = "words"
    table["emotion"] = random.choice(np.array(MELD_EMOTIONS), len(table))
    table.loc[random.random(len(table)) < 0.05, "emotion"] = None
    table["sentiment"] = table["emotion"].map(lambda one: SENTIMENT.get(one, "negative"), na_action="ignore")
    for modality in manifests.MODALITIES:
        absent = random.random(len(table)) < missing
        table[f"{modality}_status"] = np.where(absent, manifests.MISSING, "ok")
        table[f"{modality}_reason"] = np.where(absent, "not there", "")
    for name in ("source", "intensity", "start", "end", "clip", "wav", "wav_start", "frame", "tracks", "words"):
        table[name] = None
    return table.astype({"start": float, "end": float, "wav_start": float})


def _features(manifest: pd.DataFrame, modality: str, random) -> list[np.ndarray | None]:
    centres = np.random.default_rng(len(modality)).normal(size=(len(MELD_EMOTIONS), WIDTHS[modality]))
    order = {label: index for index, label in enumerate(MELD_EMOTIONS)}
    present = manifests.is_present(manifest, modality)
    return [
        centres[order.get(emotion, 0)] + random.normal(size=(random.integers(1, 6), WIDTHS[modality]))
        if here
        else None
        for emotion, here in zip(manifest["emotion"], present, strict=True)
    ]


def copy_parameters(folder: Path, **changes: object) -> None:
    """params.yaml of the repository in `folder`, with dotted keys (written with two underscores) changed."""
    import yaml

    document = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text(encoding="utf-8"))
    for key, value in changes.items():
        *parents, last = key.split("__")
        node = document
        for name in parents:
            node = node[name]
        node[last] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
