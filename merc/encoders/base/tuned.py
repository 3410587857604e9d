"""Tuned weights: the encoder weights that adapt or finetune wrote, which replace the original ones."""

from pathlib import Path

from merc.encoders.base.encoder import Encoder
from merc.runtime.errors import UserError
from merc.runtime.results import read_json

STAGES = ("finetune", "adapt")  # by precedence: finetune starts from the weights of adapt


def tuned_folder(modality: str, name: str) -> Path | None:
    """Folder of the latest tuned weights of an encoder; None if both stages are off or tuned another encoder."""
    paths = [Path("out") / stage / modality for stage in STAGES]
    return next((path for path in paths if _has_weights(path, name)), None)


def is_tuned(path: Path) -> bool:
    """Whether a folder holds the weights of a complete encoder, as adapt and finetune write them."""
    return "encoder" in read_json(path / "config.json")


def check_is_trained(encoder: Encoder, modality: str, weights: Path | None) -> None:
    """Raise a UserError if an encoder without pretrained weights has not been trained."""
    if encoder.untaught and weights is None:
        raise UserError(
            f"params.yaml: encode.{modality}: {encoder.name} has learnt nothing yet: name it in "
            f"encode.{modality}.encoder and set adapt.{modality}.epochs above 0, or choose another encoder"
        )


def _has_weights(path: Path, name: str) -> bool:
    return (path / "model.safetensors").is_file() and read_json(path / "config.json")["encoder"] == name
