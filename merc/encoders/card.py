"""What is known of a named encoder: how it is made, where it comes from, what its licence allows."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from merc.encoders.encoder import Encoder

Reader = Callable[[Path, pd.DataFrame], list]  # extract's folder, its manifest's rows -> raw inputs


@dataclass(frozen=True)
class Card:
    """One row of docs/encoders.md."""

    make: Callable[
        ..., Encoder | None
    ]  # of the encoder's name and its section of params.yaml; of `home` if it has one
    source: str  # a hub id with its revision, a file, or where in this repository it is written
    licence: str
    width: int | None
    about: str
    seeds: str = ""  # the presets of the field's line-ups that use it
    home: Path | None = None  # where a stage of ours leaves its weights
    downloads: bool = False  # its weights come from elsewhere, once


def hub(
    pretrained: Callable[..., Encoder], source: str, licence: str, width: int, about: str, seeds: str = ""
) -> Card:
    """A model of the Hugging Face hub, which `pretrained` makes of its files; `source` is owner/name@revision."""
    return Card(partial(pretrained, source=source), source, licence, width, about, seeds, downloads=True)


def none() -> Card:
    """The encoder that nobody is."""
    return Card(lambda name, config: None, "", "", None, "the modality is absent everywhere")
