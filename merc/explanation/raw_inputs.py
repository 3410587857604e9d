"""The encoders of a split's features, and their raw inputs: texts, sounds, faces."""

from typing import Any

import numpy as np

from merc.data.batches.dataset import Split
from merc.data.records import manifest as manifests
from merc.data.records.stream_name import StreamName
from merc.encoders.base import factory
from merc.encoders.base.encoder import Encoder


def behind(corpus: str, split: Split) -> dict[str, Encoder]:
    """stream -> encoder of the split's features; without imported features, whose inputs are unknown."""
    encoders = {}
    for modality in split.modalities:
        selection = factory.select_encoder(modality, corpus)
        if selection.stream in split.features:
            encoder = selection.build()
            if encoder is not None and encoder.unit_names:
                encoders[selection.stream] = encoder
    return encoders


def given(
    split_name: str, corpus: str, split: Split, rows: np.ndarray, encoders: dict[str, Encoder]
) -> dict[str, list[Any]]:
    """modality -> its encoder's input for each of the rows."""
    folder = manifests.split_folder(split_name, corpus)
    modalities = {StreamName.parse(stream).modality for stream in encoders}
    return {
        modality: factory.modality_package(modality).reader(factory.encoding_section(modality))(
            folder, split.manifest.iloc[rows]
        )
        for modality in sorted(modalities)
    }
