"""The linear probe on features of an encoder: the floor's logistic regression; dev chooses its strength."""

import numpy as np
import torch

from merc.data.batches.dataset import Split, build_split
from merc.data.batches.streams import FeatureStream
from merc.data.records.stream_name import StreamName
from merc.evaluation import floor
from merc.evaluation.missing_modalities import FULL
from merc.evaluation.prediction_arrays import join_rows
from merc.runtime.errors import UserError
from merc.studies.run_model.models import Answer
from merc.studies.scoring.reference import Reference

STEPS = 2  # of an utterance: merc/studies/run_model/models.py
SEED = 1


def predict(ref: Reference, modality: str, features: dict[str, list[Answer]]) -> dict[str, np.ndarray]:
    """{task: (N, C) probabilities, calibrated on dev, or (N, 1) numbers} of ref's split; `features` by split."""
    splits = {name: _split(ref, name, modality, vectors) for name, vectors in features.items()}
    fitted = floor.fit_seeds(splits["train"], splits["dev"], 1.0, [SEED])[SEED]
    shown = splits[ref.split]
    masks = {FULL: np.ones((len(shown), 1), dtype=bool)}
    found = join_rows(floor.predict(fitted, shown, masks))
    return {task: parts["probability" if "probability" in parts else "value"][0] for task, parts in found.items()}


def _split(ref: Reference, name: str, modality: str, vectors: list[Answer]) -> Split:
    widths = {len(vector) // STEPS for vector in vectors if vector is not None}
    if len(widths) != 1:
        found = " and ".join(map(str, sorted(widths))) or "no"
        raise UserError(f"{ref.protocol.corpus}, {name}: features of {found} numbers; all must have the same")
    lengths = torch.tensor([0 if vector is None else STEPS for vector in vectors])
    present = np.array([vector for vector in vectors if vector is not None], np.float32)
    values = torch.from_numpy(present.reshape(-1, widths.pop()))
    stream = FeatureStream.of(values, lengths.cumsum(0) - lengths, lengths)
    return build_split(ref.manifests[name], {str(StreamName(modality, "probed")): stream}, [modality], ref.space)
