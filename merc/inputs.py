"""What the encoders behind a split's features are, and what they are given of its rows: texts, sounds, faces."""

from typing import Any

import numpy as np

from merc import encoders
from merc import manifest as manifests
from merc.batches import Split
from merc.encoders import tuned
from merc.encoders.encoder import Encoder


def behind(corpus: str, seen: Split) -> dict[str, Encoder]:
    """By stream; an imported encoder, whose inputs nobody knows, is left out."""
    found = {}
    for modality in seen.modalities:
        config = encoders.section(modality)
        name = encoders.chosen(config, corpus)
        if f"{modality}/{name}" in seen.features:
            coder = encoders.build(modality, name, config, weights=tuned.folder(modality, name))
            if coder is not None and coder.unit_names:
                found[f"{modality}/{name}"] = coder
    return found


def given(
    split: str, corpus: str, seen: Split, rows: np.ndarray, coders: dict[str, Encoder]
) -> dict[str, list[Any]]:
    """By modality that has an encoder: what it is given of each of the rows."""
    folder, modalities = manifests.folder(split, corpus), {stream.split("/")[0] for stream in coders}
    return {
        modality: encoders.module(modality).reader(encoders.section(modality))(folder, seen.manifest.iloc[rows])
        for modality in sorted(modalities)
    }
