"""Encoders by name, source and digest: what a model that was exported needs, and how to be sure to get it."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from merc import encoders
from merc.encoders import tuned
from merc.encoders.encoder import Encoder
from merc.problem import Problem


def needs(modality: str, streams: Iterable[str]) -> dict[str, Any] | None:
    """The encoder behind a network's stream of this modality; None if it has none.

    `weights`: where adapt, finetune or lipsync left them, null if they are the original ones, which `sha256` names;
    an encoder without weights has neither.
    """
    config = encoders.section(modality)
    names = [stream.split("/", 1)[1] for stream in sorted(streams) if stream.startswith(f"{modality}/")]
    if not names:
        return None
    name = config.encoder if config.encoder in names else names[0]
    card = encoders.module(modality).ENCODERS.get(name)
    place = tuned.folder(modality, name) or (card and card.home)
    encoder = encoders.build(modality, name, config, weights=place)
    return {
        "encoder": name,
        "source": card.source if card else _source(name),
        "licence": card.licence if card else "see its source",
        "settings": config.model_dump(exclude={"encoder", "by_corpus"}),
        "weights": None if place is None else place.as_posix(),
        "sha256": digest(encoder) if encoder is not None and encoder.state_dict() else None,
    }


def restore(modality: str, about: dict[str, Any], folder: Path) -> Encoder | None:
    """The encoder that `needs` told of, with the weights that lie in an exported folder, and with no others."""
    weights = about["weights"] and folder / about["weights"]
    built = encoders.build(modality, about["encoder"], encoders.configured(modality, about), weights=weights)
    if built is not None and about["sha256"] and digest(built) != about["sha256"]:
        raise Problem(
            f"{modality}: the weights of {about['encoder']} are not those that the model was trained with "
            f"({about['source']}, SHA-256 {about['sha256'][:12]}...); bring those"
        )
    return built


def _source(name: str) -> str:
    if name.startswith(encoders.IMPORTED):
        return "features that others computed; absent wherever they are not at hand"
    return name


def digest(encoder: Encoder) -> str:
    """SHA-256 of an encoder's weights: names, types, shapes, values."""
    total = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        array = tensor.detach().cpu().contiguous().numpy()
        total.update(f"{name} {array.dtype} {array.shape}".encode())
        total.update(array.tobytes())
    return total.hexdigest()
