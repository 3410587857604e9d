"""Small corpora with other labels than emotion and sentiment, as extract and encode leave them."""

from pathlib import Path

import numpy as np
import packed

from merc.data.records import labels, packs, truth
from merc.data.records import manifest as manifests

ENCODER = "imported/toy"  # nothing encodes media here
EMOTIONS = ("happy", "sad", "angry", "fearful", "disgusted", "surprised")
SPACES = {  # a label file each, and what selects an epoch
    # CMU-MOSI: a number, and its sign; nobody is labelled 0 with a sign
    "mosi": (
        """tasks:
  polarity: {classes: [negative, positive], column: sentiment, drop: {all: [neutral]},
             colours: {positive: "#33aa55"}}
  sentiment: {kind: regression, range: [-3, 3], column: sentiment_score}
""",
        "polarity.macro_f1",
    ),
    # CMU-MOSEI: any of six emotions, and a number
    "mosei": (
        f"""tasks:
  emotions: {{kind: multilabel, classes: [{", ".join(EMOTIONS)}], colours: {{sad: "#3366cc"}}}}
  sentiment: {{kind: regression, range: [-3, 3], column: sentiment_score}}
""",
        "emotions.macro_f1",
    ),
    "valence": ("tasks: {valence: {kind: regression, range: [1, 5]}}\n", "valence.ccc"),
    # annotators' votes, and a class that nobody in train has
    "votes": (
        "tasks: {mood: {classes: [calm, glad, low, rare], votes: mood_votes}}\n",
        "mood.macro_f1",
    ),
}
LEARNS = {"train__epochs": 20, "distill__epochs": 12, "train__lr": 0.01, "distill__lr": 0.01, "pretrain__epochs": 0,
          "train__patience": 20, "train__average": 0.0, "distill__average": 0.0}  # fmt: skip
QUICK = packed.QUICK | LEARNS | {"train__seeds": [3], "model__dim": 16, "model__fused": 16, "evaluate__rounds": 20}


def write(folder: Path, name: str, dialogues: int = 24, **changes: object) -> None:
    """params.yaml, the label file and train, dev and test of this space, below the current folder."""
    text, select = SPACES[name]
    labels.OWN_FOLDER.mkdir(parents=True, exist_ok=True)
    (labels.OWN_FOLDER / f"like_{name}.yaml").write_text(text, encoding="utf-8")
    values = QUICK | {"data__labels": f"like_{name}", "train__select": select, "evaluate__repeats": 1}
    values |= {"evaluate__rates": [0.5], "evaluate__uneven": [], "compute__workers": 1, "explain__utterances": 12}
    values |= {f"encode__{modality}__encoder": ENCODER for modality in manifests.MODALITIES}
    values["evaluate__corruptions"] = ["blank:vision"]
    packed.copy_parameters(folder, **(values | changes))
    for number, split in enumerate(manifests.SPLITS):
        write_split(name, split, number, dialogues)


def write_split(name: str, split: str, seed: int, dialogues: int) -> None:
    """One split, whose features tell the label: a valence and one of three classes, through noise."""
    random = np.random.default_rng(seed)
    rows = packed._manifest(split, "sample", random.integers(2, 7, dialogues), random, 0.1)
    valence, kind = random.uniform(-1, 1, len(rows)), random.integers(0, 3, len(rows))
    rows["emotion"], rows["sentiment"] = None, None
    for column, values in COLUMNS[name](valence, kind, split).items():
        rows[column] = values
    unlabelled = random.random(len(rows)) < 0.1
    for column in COLUMNS[name](valence, kind, split):
        rows[column] = rows[column].astype(object).where(~unlabelled, None)
    folder = manifests.split_folder(split, "sample")
    folder.mkdir(parents=True, exist_ok=True)
    manifests.write_manifest(folder / "manifest.parquet", rows)
    truth.write_truth(folder / "truth.parquet", [])
    for modality, width in packed.WIDTHS.items():
        told = np.concatenate([valence[:, None], 2 * np.eye(3)[kind], np.zeros((len(rows), width - 4))], 1)
        features = [
            one + 0.3 * random.normal(size=(random.integers(1, 6), width)) if here else None
            for one, here in zip(told, manifests.is_present(rows, modality), strict=True)
        ]
        units = [None if one is None else np.zeros((len(one), 0), np.float32) for one in features]
        pack = packs.build_pack(
            features, units, np.zeros((1, width)), encoder=ENCODER, unit_names=(), step_seconds=None
        )
        packs.write_pack(packs.pack_path(split, "sample", modality), pack, rows)


def _mosi(valence: np.ndarray, kind: np.ndarray, split: str) -> dict[str, list]:
    score = np.round(3 * valence * 5) / 5
    return {"sentiment": [_SIGNS[int(np.sign(one))] for one in score], "sentiment_score": score.tolist()}


_SIGNS = {-1: "negative", 0: "neutral", 1: "positive"}


def _mosei(valence: np.ndarray, kind: np.ndarray, split: str) -> dict[str, list]:
    sets = [
        (EMOTIONS[number], *(("surprised",) if one > 0.5 else ())) if abs(one) > 0.2 else ()
        for one, number in zip(valence, kind, strict=True)
    ]
    return {"emotions": sets, "sentiment_score": (3 * valence).tolist()}


def _valence(valence: np.ndarray, kind: np.ndarray, split: str) -> dict[str, list]:
    return {"valence": (3 + 2 * valence).tolist()}


def _votes(valence: np.ndarray, kind: np.ndarray, split: str) -> dict[str, list]:
    names = np.array(["calm", "glad", "low"])
    votes = [{names[number]: 3.0, names[(number + 1) % 3]: 1.0} for number in kind]
    words = names[kind].astype(object)
    if split == "test":
        words[:2], votes[:2] = "rare", [{"rare": 4.0}] * 2
    return {"mood": words.tolist(), "mood_votes": votes}


COLUMNS = {"mosi": _mosi, "mosei": _mosei, "valence": _valence, "votes": _votes}
