"""Encoders: what turns words, sounds and faces into features; whoever encodes, anywhere, uses these."""

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from merc import params
from merc.encoders import sources, tuned
from merc.encoders.card import Card
from merc.encoders.encoder import Encoder
from merc.params import Strict
from merc.problem import Problem

IMPORTED = "imported/"  # of a name: features that others computed, files under data/features/<corpus>


def module(modality: str) -> ModuleType:
    """The module that holds a modality's ENCODERS."""
    return import_module(f"merc.encoders.{modality}")


def section(modality: str) -> Strict:
    """encode.<modality> of params.yaml."""
    kind = getattr(module(modality), f"{modality.capitalize()}Encoding")
    return params.read(f"encode.{modality}", kind)


def configured(modality: str, about: dict[str, Any]) -> Strict:
    """The same section, as an exported model tells it (merc/encoders/naming.py)."""
    kind = getattr(module(modality), f"{modality.capitalize()}Encoding")
    return kind.model_validate({"encoder": about["encoder"], "by_corpus": {}, **about["settings"]})


def chosen(config: Strict, corpus: str) -> str:
    """The name of the encoder that this corpus gets."""
    return config.by_corpus.get(corpus, config.encoder)


def build(modality: str, name: str, config: Strict, *, weights: Path | None = None) -> Encoder | None:
    """The named encoder, with the weights that a folder of adapt, finetune or lipsync holds.

    None for `none` and for imported features. A name that is in no table is a folder under data/weights, or a
    hub id with its revision: owner/name@revision.
    """
    tables = module(modality)
    if name.startswith(IMPORTED):
        return None
    if name in tables.ENCODERS:
        encoder = _of_the_table(tables.ENCODERS[name], name, config, weights)
    elif "/" in name or (sources.WEIGHTS / name).is_dir():
        encoder = tables.pretrained(name, config, name)
    else:
        raise Problem(f"{params.FILE}: encode.{modality}: no encoder {name!r}; {_choices(tables.ENCODERS)}")
    if encoder is not None and weights is not None and tuned.is_tuned(weights):
        tuned.load(encoder, weights)
    return encoder and encoder.eval()


def _of_the_table(card: Card, name: str, config: Strict, weights: Path | None) -> Encoder | None:
    """What a stage of ours taught comes from `weights` if they are that stage's, as in an exported folder."""
    if card.home is None:
        return card.make(name, config)
    return card.make(name, config, card.home if weights is None or tuned.is_tuned(weights) else weights)


def _choices(names: Iterable[str]) -> str:
    others = f"{IMPORTED}<name>, a folder under {sources.WEIGHTS}, or owner/name@revision of the hub"
    return f"choose one of {', '.join(names)}, {others}"
