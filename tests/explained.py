"""A synthetic test split with units and truth on disk, and a student for it, for tests of explain and export."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
import typical
from packed import copy_parameters

from merc.data.records import manifest as manifests
from merc.data.records import packs, truth
from merc.data.records.labels import MELD_EMOTIONS, MELD_SENTIMENTS
from merc.explanation import counterfactual, explainer
from models import checkpoint
from models.network import Network, NetworkConfig

WIDTHS = {"text": 12, "audio": 9, "vision": 7}
LABELS = {"emotion": MELD_EMOTIONS, "sentiment": MELD_SENTIMENTS}
SILENT = 5  # the row without sound


def write_world(
    folder: Path, *, split: str = "test", dialogues: int = 3, turns: int = 4, widths=WIDTHS
) -> pd.DataFrame:
    """manifest.parquet, truth.parquet and packs of a split below `folder`; one utterance has no sound."""
    manifest = _manifest(split, dialogues, turns)
    place = folder / manifests.split_folder(split, "sample")
    place.mkdir(parents=True)
    manifests.write_manifest(place / "manifest.parquet", manifest)
    truth.write_truth(place / "truth.parquet", [_truth(row) for row in manifest.itertuples()])
    random = np.random.default_rng(len(split))
    for modality in manifests.MODALITIES:
        made = [UNITS[modality](row) for row in manifest.itertuples()]
        made = [None if modality == "audio" and row == SILENT else one for row, one in enumerate(made)]
        shown = _centres(modality, widths)[[MELD_EMOTIONS.index(emotion) for emotion in manifest["emotion"]]]
        values = [
            None if one is None else 0.5 * centre + random.normal(size=(len(one[0]), widths[modality]))
            for one, centre in zip(made, shown, strict=True)
        ]
        names = ("char_start", "char_end") if modality == "text" else ("start", "end")
        pack = packs.build_pack(
            values,
            [None if one is None else one[0] for one in made],
            random.normal(size=(2, widths[modality])),
            encoder="toy",
            unit_names=names,
            step_seconds=None if modality == "text" else 0.1,
        )
        packs.write_pack(folder / packs.pack_path(split, "sample", modality), pack, manifest)
    return manifest


def write_student(
    folder: Path, *, seed: int = 1, widths=WIDTHS, scale: float = 1.0, stage: str = "distill", **changes
) -> Network:
    """An untrained network as the student of a seed, or the teacher of stage `train`."""
    torch.manual_seed(seed)
    about = {
        "modalities": list(manifests.MODALITIES),
        "dim": 16,
        "fused": 16,
        "stem": {"text": "mlp", "audio": "conv1d", "vision": "linear"},
        "fusion": "esag",
        "context": "gru",
        "heads": "independent",
        "causal": False,
        "dropout": 0.3,
        "roles": 2,
        "belief_weight": 0.3,
    }
    config = NetworkConfig.model_validate(about | changes)
    network = Network(config, {f"{m}/toy": widths[m] for m in config.modalities}, LABELS).eval()
    with torch.no_grad():
        for parameter in network.heads.parameters():
            parameter.mul_(scale)
    checkpoint.save(folder / "out" / stage / f"seed-{seed}", network)
    typical.write(folder / "out" / stage, network.streams)
    return network


def write_params(folder: Path, **changes) -> None:
    copy_parameters(folder, train__seeds=[1, 2], compute__workers=1, compute__device="cpu", **changes)


def _manifest(split: str, dialogues: int, turns: int) -> pd.DataFrame:
    size = dialogues * turns
    number, random = np.arange(size), np.random.default_rng(10 + len(split))
    table = pd.DataFrame({"dialogue": (number // turns).astype(str), "turn": number % turns})
    table["corpus"], table["split"], table["speaker"] = "sample", split, np.where(number % 2, "Ann", "Bob")
    table["utterance"] = [f"dia{row.dialogue}_utt{row.turn}" for row in table.itertuples()]
    table["group"] = "sample/" + split + "/" + table["dialogue"]
    table["text"] = [" ".join(["so", "wonderful", "today", "again"][: 2 + row % 3]) for row in number]
    table["emotion"], table["sentiment"] = random.choice(np.array(MELD_EMOTIONS), size), "neutral"
    for modality in manifests.MODALITIES:
        table[f"{modality}_status"], table[f"{modality}_reason"] = "ok", ""
    table.loc[SILENT, ["audio_status", "audio_reason"]] = [manifests.MISSING, "no sound"]
    for name in ("source", "intensity", "start", "end", "clip", "wav", "wav_start", "frame", "tracks", "words"):
        table[name] = None
    return table.astype({"start": float, "end": float, "wav_start": float})


def _truth(row) -> dict:
    informative = [["text"], ["audio"], ["vision"], ["text", "audio"]][row.Index % 4]
    words = [{"start": 3, "end": 12}] if "text" in informative else []
    return {"utterance": row.utterance, "informative": informative, "words": words, "faces": 1, "speaker_face": 0}


def _centres(modality: str, widths: dict[str, int]) -> np.ndarray:
    """(C, D) what each emotion looks like in a modality."""
    return np.random.default_rng(len(modality)).normal(size=(len(MELD_EMOTIONS), widths[modality]))


def _pieces(row) -> tuple[np.ndarray, None]:
    """CLS, then one piece a word, but two for `wonderful`."""
    spans = {"so": [(0, 2)], "wonderful": [(3, 9), (9, 12)], "today": [(13, 18)], "again": [(19, 24)]}
    return np.array([(0, 0), *[one for word in row.text.split() for one in spans[word]]], np.float32), None


def _seconds(steps: int) -> tuple[np.ndarray, None]:
    starts = np.arange(steps, dtype=np.float32) / 10
    return np.stack([starts, starts + 0.1], 1), None


def case_of(network, world):
    """The case of a network's own predictions, for all rows of a world's split."""
    split, own = world.split, world.units
    probe = counterfactual.Probe(network, split.batch(range(split.dialogues)))
    emotion = probe.logits(probe.rows).argmax(1)
    texts = split.manifest["text"].to_numpy()
    return explainer.case_of(probe, emotion, own, np.arange(len(split)), texts)


UNITS = {
    "text": _pieces,
    "audio": lambda row: _seconds(7 + row.Index % 24),
    "vision": lambda row: _seconds(1 + row.Index % 3),
}
