"""The floor of a corpus, fitted here from the packs of features that the stage `encode` wrote, if it has run."""

from collections.abc import Sequence

import numpy as np

from merc.data.records import packs
from merc.data.records.manifest import MODALITIES, SPLITS
from merc.evaluation.missing_modalities import FULL
from merc.evaluation.predictions import BlockKey, Predictions
from merc.studies.scoring.reference import Reference


def missing_pack(reference: Reference) -> str:
    """Why there can be no floor, or nothing."""
    corpus = reference.protocol.corpus
    if not reference.knows_media:
        return f"no floor: {reference.source} has no features; `dvc repro encode` makes them of the corpus's media"
    for split in SPLITS:
        paths = [packs.pack_path(split, corpus, modality) for modality in MODALITIES]
        if absent := [path for path in paths if not path.is_file()]:
            return f"no floor: {absent[0]} is not there; `dvc repro encode` writes it"
    return ""


def fit(reference: Reference, seeds: Sequence[int]) -> Predictions:
    """Its predictions with all modalities, the same for every seed; as evaluate fits it on all labels."""
    # imported late: they import torch, which nothing else here needs
    from merc.data.batches.dataset import read_split
    from merc.evaluation import floor
    from merc.evaluation.inference import collect_predictions
    from merc.evaluation.prediction_arrays import join_blocks, join_rows

    corpora, space = [reference.protocol.corpus], reference.space
    train, dev, test = (read_split(name, corpora, MODALITIES, space) for name in ("train", "dev", reference.split))
    fitted = floor.fit_seeds(train, dev, 1.0, list(seeds))
    full = {FULL: np.ones((len(test), len(MODALITIES)), dtype=bool)}
    blocks = [join_rows(floor.predict(fitted[seed], test, full)) for seed in seeds]
    keys = [BlockKey(floor.NAME, seed, FULL) for seed in seeds]
    return collect_predictions(test.manifest, space, keys, join_blocks(blocks))
