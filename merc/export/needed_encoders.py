"""Describes the encoders that an exported model needs by name, source and SHA-256, and restores them."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from merc.encoders.base import factory, tuned
from merc.encoders.base.encoder import Encoder
from merc.export.bundle import REMEDY
from merc.runtime.errors import UserError


def describe_encoder(modality: str, streams: Iterable[str]) -> dict[str, Any] | None:
    """Description of the encoder of a network's stream of this modality; None if there is no such stream.

    `weights` is the folder with weights of adapt, finetune or lipsync, null for the original weights; `sha256`
    identifies the weights; both are null for an encoder without weights.
    """
    config = factory.encoding_section(modality)
    names = [stream.split("/", 1)[1] for stream in sorted(streams) if stream.startswith(f"{modality}/")]
    if not names:
        return None
    name = config.encoder if config.encoder in names else names[0]
    card = factory.modality_package(modality).ENCODERS.get(name)
    is_imported = name.startswith(factory.IMPORTED_PREFIX)
    source = "features that others computed; absent wherever they are not at hand" if is_imported else name
    weights = tuned.tuned_folder(modality, name) or (card and card.home)
    encoder = factory.build(modality, name, config, weights=weights)
    return {
        "encoder": name,
        "source": card.source if card else source,
        "licence": card.licence if card else "see its source",
        "settings": config.model_dump(exclude={"encoder", "by_corpus"}),
        "weights": None if weights is None else weights.as_posix(),
        "sha256": weights_sha256(encoder) if encoder is not None and encoder.state_dict() else None,
    }


def restore_encoder(modality: str, description: dict[str, Any], folder: Path) -> Encoder | None:
    """Build a described encoder with weights of the exported folder, and verify their SHA-256."""
    name, sha256 = description["encoder"], description["sha256"]
    weights = description["weights"] and folder / description["weights"]
    try:
        encoder = factory.build(modality, name, factory.exported_section(modality, description), weights=weights)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        place, reason = weights or folder / "encoders.json", " ".join(str(error).split())[:160]
        raise UserError(f"{place}: gives no encoder {name} for {modality} ({reason}); {REMEDY}") from None
    if encoder is not None and sha256 and weights_sha256(encoder) != sha256:
        raise UserError(
            f"{modality}: the weights of {name} are not those that the model was trained with "
            f"({description['source']}, SHA-256 {sha256[:12]}...); bring those"
        )
    return encoder


def weights_sha256(encoder: Encoder) -> str:
    """SHA-256 of an encoder's weights: names, types, shapes and values."""
    sha256 = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        array = tensor.detach().cpu().contiguous().numpy()
        sha256.update(f"{name} {array.dtype} {array.shape}".encode())
        sha256.update(array.tobytes())
    return sha256.hexdigest()
