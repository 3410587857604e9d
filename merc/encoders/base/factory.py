"""Construction of encoders by name, and the encoder that params.yaml selects for a modality and corpus."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from safetensors.torch import load_file

from merc.data.records.stream_name import StreamName
from merc.encoders.base import tuned
from merc.encoders.base.encoder import Encoder
from merc.encoders.base.registry import EncoderCard, EncodingSection, Reader
from merc.encoders.pretrained import sources
from merc.runtime import params
from merc.runtime.errors import UserError

IMPORTED_PREFIX = "imported/"  # name prefix of precomputed features: files under data/features/<corpus>


def modality_package(modality: str) -> ModuleType:
    """The package of a modality, with its ENCODERS."""
    return import_module(f"merc.encoders.{modality}")


def encoding_section(modality: str) -> EncodingSection:
    """Section encode.<modality> of params.yaml."""
    kind = getattr(modality_package(modality), f"{modality.capitalize()}Encoding")
    return params.read(f"encode.{modality}", kind)


def exported_section(modality: str, needed: dict[str, Any]) -> EncodingSection:
    """Section encode.<modality> as stored in an exported model (merc/export/needed_encoders.py)."""
    kind = getattr(modality_package(modality), f"{modality.capitalize()}Encoding")
    return kind.model_validate({"encoder": needed["encoder"], "by_corpus": {}, **needed["settings"]})


def chosen_encoder(config: EncodingSection, corpus: str) -> str:
    """Name of the encoder of a corpus."""
    return config.by_corpus.get(corpus, config.encoder)


def build(modality: str, name: str, config: EncodingSection, *, weights: Path | None = None) -> Encoder | None:
    """Build an encoder by name; `weights` is a folder written by adapt, finetune or lipsync.

    None for `none` and for imported features. A name outside the registry is a folder under data/weights, or a
    hub id with its revision: owner/name@revision.
    """
    registry = modality_package(modality)
    if name.startswith(IMPORTED_PREFIX):
        return None
    if name in registry.ENCODERS:
        encoder = _registered(registry.ENCODERS[name], name, config, weights)
    elif "/" in name or (sources.WEIGHTS_FOLDER / name).is_dir():
        encoder = registry.pretrained(name, config, name)
    else:
        raise UserError(f"{params.FILE}: encode.{modality}: no encoder {name!r}; {_choices(registry.ENCODERS)}")
    if encoder is not None and weights is not None and tuned.is_tuned(weights):
        encoder.load_state_dict(load_file(weights / "model.safetensors"))
    return encoder and encoder.eval()


@dataclass(frozen=True)
class EncoderSelection:
    """An encoder by name with its settings and weights, not yet built."""

    modality: str
    name: str
    config: EncodingSection  # encode.<modality>
    weights: Path | None  # folder of the weights that adapt or finetune wrote; None: the original weights

    @property
    def stream(self) -> str:
        """Name of its features in the network: <modality>/<name>."""
        return str(StreamName(self.modality, self.name))

    def build(self) -> Encoder | None:
        """The encoder; None for `none` and for imported features."""
        return build(self.modality, self.name, self.config, weights=self.weights)

    def reader(self) -> Reader:
        """Reader of the encoder's raw inputs."""
        return modality_package(self.modality).reader(self.config)


def select_encoder(modality: str, corpus: str) -> EncoderSelection:
    """The encoder that params.yaml selects for a modality of a corpus, with its latest tuned weights."""
    config = encoding_section(modality)
    name = chosen_encoder(config, corpus)
    return EncoderSelection(modality, name, config, tuned.tuned_folder(modality, name))


def _registered(card: EncoderCard, name: str, config: EncodingSection, weights: Path | None) -> Encoder | None:
    """Build a registered encoder; one trained by a stage (lipsync) loads `weights` if that stage wrote them."""
    if card.home is None:
        return card.make(name, config)
    return card.make(name, config, card.home if weights is None or tuned.is_tuned(weights) else weights)


def _choices(names: Iterable[str]) -> str:
    unregistered = (
        f"{IMPORTED_PREFIX}<name>, a folder under {sources.WEIGHTS_FOLDER}, or owner/name@revision of the hub"
    )
    return f"choose one of {', '.join(names)}, {unregistered}"
