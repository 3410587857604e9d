"""Registry entries of named encoders: constructor, source, licence, width."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from merc.encoders.base.encoder import Encoder
from merc.encoders.pretrained.cards import WEIGHTS
from merc.runtime.params import StrictModel

if TYPE_CHECKING:
    import pandas as pd

Reader = Callable[[Path, "pd.DataFrame"], list]  # (folder of extract, rows of its manifest) -> raw inputs


class EncodingSection(StrictModel):
    """Section encode.<modality> of params.yaml: the settings of every modality; a subclass adds its own."""

    encoder: str
    by_corpus: dict[str, str]


@dataclass(frozen=True)
class EncoderCard:
    """One row of docs/encoders.md: a named encoder."""

    make: Callable[..., Encoder | None]  # (name, section of params.yaml[, home]) -> encoder
    source: str  # a hub id with its revision, a file, or the module of this repository that implements it
    licence: str
    width: int | None  # of a feature vector
    description: str
    home: Path | None = None  # folder to which a stage of this pipeline writes its weights


def catalogued(make: Callable[..., Encoder], name: str, width: int, description: str) -> EncoderCard:
    """An encoder whose weights stand in the catalogue of weights, under the name of the encoder."""
    card = WEIGHTS[name]
    return EncoderCard(make, card.source, card.licence, width, description)


NO_ENCODER = EncoderCard(lambda name, config: None, "", "", None, "the modality is absent everywhere")
