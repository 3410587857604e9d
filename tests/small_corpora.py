"""Two small corpora drawn as packs, on which a linear model of pooled features is strong.

MONOLOGUES is like CMU-MOSI: speakers of some 30 utterances each, positive or negative; words tell by their mean
over some 15 noisy steps, sound and picture hardly do, and know the speaker better than the label. CONVERSATIONS is
like MELD: many short dialogues of several speakers, seven unbalanced classes.
"""

from typing import NamedTuple

import numpy as np
import packed
import pandas as pd

from merc.data.records import manifest as manifests
from merc.data.records import packs

WIDTHS = {"text": 384, "audio": 74, "vision": 35}
SHARES = {
    "neutral": 0.47,
    "joy": 0.17,
    "surprise": 0.12,
    "anger": 0.12,
    "sadness": 0.07,
    "disgust": 0.03,
    "fear": 0.02,
}
SENTIMENT = {"joy": "positive", "surprise": "positive", "neutral": "neutral"}

MISLEADING = 0.15  # share of utterances whose features are those of a label drawn anew


class Corpus(NamedTuple):
    """How a corpus is drawn."""

    shares: dict[str, float]  # of the emotions
    turns: tuple[int, int]  # of a dialogue, from, to
    speakers: int  # of a dialogue
    own: float  # how far a dialogue's labels differ from the corpus's shares
    signal: dict[str, float]  # by modality: how far labels are apart, in standard deviations of an utterance
    person: dict[str, float]  # by modality: standard deviation between speakers, in those of an utterance


PERSON = {"text": 0.3, "audio": 1.0, "vision": 1.0}
MONOLOGUES = Corpus(
    {"joy": 0.5, "sadness": 0.5}, (20, 40), 1, 0.4, {"text": 1.7, "audio": 0.25, "vision": 0.25}, PERSON
)
CONVERSATIONS = Corpus(SHARES, (4, 15), 3, 0.3, {"text": 2.6, "audio": 0.8, "vision": 0.4}, PERSON)


def write(corpus: Corpus, split: str, dialogues: int, seed: int) -> pd.DataFrame:
    """A manifest and packs of a split of the corpus `sample` below the current folder."""
    random = np.random.default_rng([seed, dialogues])
    table = _manifest(corpus, split, dialogues, random)
    folder = manifests.split_folder(split, "sample")
    folder.mkdir(parents=True, exist_ok=True)
    manifests.write_manifest(folder / "manifest.parquet", table)
    for modality, width in WIDTHS.items():
        features = _features(corpus, table, modality, width, random)
        packs.write_pack(packs.pack_path(split, "sample", modality), packed.pack(features, width), table)
    return table


def _manifest(corpus: Corpus, split: str, dialogues: int, random: np.random.Generator) -> pd.DataFrame:
    rows, names = [], list(corpus.shares)
    for dialogue in range(dialogues):
        logits = np.log([*corpus.shares.values()]) + corpus.own * random.normal(size=len(names))
        shares = np.exp(logits) / np.exp(logits).sum()
        for turn in range(random.integers(*corpus.turns, endpoint=True)):
            speaker = f"{split} {dialogue} {random.integers(corpus.speakers)}"
            rows.append((str(dialogue), turn, speaker, names[random.choice(len(names), p=shares)]))
    table = pd.DataFrame(rows, columns=["dialogue", "turn", "speaker", "emotion"])
    table["corpus"], table["split"], table["text"] = "sample", split, "words"
    table["utterance"] = "dia" + table["dialogue"] + "_utt" + table["turn"].astype(str)
    table["group"] = f"sample/{split}/" + table["dialogue"]
    table["sentiment"] = table["emotion"].map(lambda one: SENTIMENT.get(one, "negative"))
    for modality in manifests.MODALITIES:
        table[f"{modality}_status"], table[f"{modality}_reason"] = "ok", ""
    for name in ("source", "intensity", "start", "end", "clip", "wav", "wav_start", "frame", "tracks", "words"):
        table[name] = None
    return table.astype({"start": float, "end": float, "wav_start": float})


def _features(corpus: Corpus, table: pd.DataFrame, modality: str, width: int, random: np.random.Generator) -> list:
    """Steps around an utterance's own vector: its label's, its speaker's and its own part, spread over directions
    whose variance falls off as that of real embeddings does.
    """
    fixed = np.random.default_rng([7, width])
    scale = np.arange(1, width + 1) ** -0.5
    rotation = np.linalg.qr(fixed.normal(size=(width, width)))[0]
    centres = fixed.normal(size=(len(corpus.shares), width)) / np.sqrt(width)
    label = np.array([list(corpus.shares).index(name) for name in table["emotion"]])
    other = random.choice(len(corpus.shares), len(table), p=[*corpus.shares.values()])
    label = np.where(random.random(len(table)) < MISLEADING, other, label)
    speakers, _ = pd.factorize(table["speaker"])
    person = corpus.person[modality] * random.normal(size=(speakers.max() + 1, width))
    own = random.normal(size=(len(table), width)) + person[speakers]
    vectors = ((own + corpus.signal[modality] * 2.0 * centres[label]) * scale) @ rotation
    steps = random.integers(5, 25, len(table)) if modality == "text" else random.integers(3, 9, len(table))
    noise = 2.0 * scale.mean()
    return [
        vector + noise * random.normal(size=(count, width)) for vector, count in zip(vectors, steps, strict=True)
    ]


def write_all(corpus: Corpus, dialogues: dict[str, int], seed: int = 0) -> None:
    """Every split, by its number of dialogues."""
    for number, (split, count) in enumerate(dialogues.items()):
        write(corpus, split, count, 10 * seed + number)
