"""The encoders of a split's features, and their raw inputs: texts, sounds, faces."""

from typing import Any

import numpy as np

from merc.data.batches.dataset import Split
from merc.data.records import manifest as manifests
from merc.data.records.stream_name import StreamName
from merc.encoders.base import factory
from merc.encoders.base.encoder import Encoder


def encoders_by_stream(corpus: str, split: Split) -> dict[str, Encoder]:
    """The encoder of each stream of the split's features, except imported streams, whose inputs are unknown."""
    encoders = {}
    for modality in split.modalities:
        selection = factory.select_encoder(modality, corpus)
        if selection.stream in split.features:
            encoder = selection.build()
            if encoder is not None and encoder.unit_names:
                encoders[selection.stream] = encoder
    return encoders


def read_inputs(
    split_name: str, corpus: str, split: Split, rows: np.ndarray, encoders: dict[str, Encoder]
) -> dict[str, list[Any]]:
    """By modality, the input of its encoder for each of the rows."""
    folder = manifests.split_folder(split_name, corpus)
    modalities = {StreamName.parse(stream).modality for stream in encoders}
    return {
        modality: factory.modality_package(modality).reader(factory.encoding_section(modality))(
            folder, split.manifest.iloc[rows]
        )
        for modality in sorted(modalities)
    }
