"""What adapt and finetune made of an encoder: weights that take the place of the original ones."""

from pathlib import Path

from safetensors.torch import load_file

from merc.encoders.encoder import Encoder
from merc.problem import Problem
from merc.results import read_json

STAGES = ("finetune", "adapt")  # the first that is on wins: it started from the other


def folder(modality: str, name: str) -> Path | None:
    """Where the newest weights of the named encoder are; None if both stages are off or tuned another encoder."""
    places = [Path("out") / stage / modality for stage in STAGES]
    return next((place for place in places if _holds(place, name)), None)


def is_tuned(place: Path) -> bool:
    """Whether a folder's weights are those of a whole encoder, as adapt and finetune leave them."""
    return "encoder" in read_json(place / "config.json")


def check(encoder: Encoder, modality: str, weights: Path | None) -> None:
    """Refuse what has nothing pretrained and was taught nothing."""
    if encoder.untaught and weights is None:
        raise Problem(
            f"params.yaml: encode.{modality}: {encoder.name} has learnt nothing yet: name it in "
            f"encode.{modality}.encoder and set adapt.{modality}.epochs above 0, or choose another encoder"
        )


def load(encoder: Encoder, place: Path) -> None:
    """Put the weights of a folder in place of the encoder's own."""
    encoder.load_state_dict(load_file(place / "model.safetensors"))


def _holds(place: Path, name: str) -> bool:
    return (place / "model.safetensors").is_file() and read_json(place / "config.json")["encoder"] == name
