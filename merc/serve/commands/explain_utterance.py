"""python -m merc explain CORPUS DIALOGUE UTTERANCE: the first seed's student on an utterance of a corpus."""

from pathlib import Path

import numpy as np

from merc.data.batches.dataset import Split, read_split
from merc.data.records import labels
from merc.explanation import one_utterance
from merc.explanation.gallery import selection
from merc.explanation.gallery.page import GalleryEntry
from merc.explanation.methods import token_shap
from merc.runtime import params
from merc.runtime.device import select_device
from merc.runtime.errors import UserError
from merc.training.core import speaker_offsets, typicality
from models import checkpoint

STUDENTS = Path("out/distill")


def explain_corpus_utterance(split: str, corpus: str, dialogue: str, utterance: str) -> GalleryEntry:
    """Explain an utterance, given by its id or its turn, with its dialogue as context."""
    seeds = params.read("train.seeds", list[int])
    network = checkpoint.load(STUDENTS / f"seed-{seeds[0]}", str(select_device()))
    space = labels.label_space(params.read("data.labels", str))
    dataset = (
        read_split(split, [corpus], network.modalities, space)
        .with_streams(list(network.streams))
        .to(select_device())
    )
    dataset = speaker_offsets.with_offsets(dataset, speaker_offsets.load(STUDENTS / speaker_offsets.FILE))
    row = _find(dataset, corpus, dialogue, utterance, split)
    picks = [(row, dataset.manifest["utterance"].iloc[row])]
    ((name, rows, index, raw, batch, encoders),) = selection.inputs_of(split, dataset, picks)
    arguments = (network, batch, index, raw, encoders)
    explanation = one_utterance.explain(*arguments) | token_shap.explain(*arguments)
    judged = typicality.of_split(typicality.load(STUDENTS / typicality.FILE), dataset)[row]
    explanation["typicality"] = {
        modality: float(value) for modality, value in zip(dataset.modalities, judged, strict=True) if value > 0
    }
    return GalleryEntry(name, rows, index, raw, explanation)


def _find(dataset: Split, corpus: str, dialogue: str, utterance: str, split: str) -> int:
    """Row number of the utterance."""
    rows = np.flatnonzero(dataset.manifest["dialogue"] == dialogue)
    if not len(rows):
        some = ", ".join(dataset.manifest["dialogue"].drop_duplicates()[:8])
        raise UserError(f"{corpus}/{split}: no dialogue {dialogue!r}; there are {some} ...")
    table = dataset.manifest.iloc[rows]
    matches = np.flatnonzero((table["utterance"] == utterance) | (table["turn"].astype(str) == utterance))
    if not len(matches):
        names = ", ".join(table["utterance"])
        raise UserError(f"{corpus}/{split}: dialogue {dialogue} has no utterance {utterance!r}; it has {names}")
    return int(rows[matches[0]])
