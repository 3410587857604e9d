"""Shared by audio/lipsync_audio.py and vision/lipsync_mouth.py, encoders from towers of the lip-sync network."""

from pathlib import Path

from merc.runtime.errors import UserError
from merc.runtime.results import read_json
from models import lipsync

CONTEXT_PICTURES = (
    lipsync.WINDOW_FRAMES // 2
)  # pictures of context on either side of an embedding; the ends are padded by repetition


def embedding_width(modality: str, name: str, folder: Path) -> int:
    """Width of an embedding; raises a UserError if the lip-sync stage is off or has not run."""
    if (folder / "off.json").is_file():
        reason = read_json(folder / "off.json")["off"]
        raise UserError(
            f"params.yaml: encode.{modality}.encoder = {name!r}: lip-sync is off ({reason}); "
            f"set lipsync.epochs, or choose another encoder"
        )
    if not (folder / "model.safetensors").is_file():
        raise UserError(f"{folder}: not there; run `dvc repro lipsync`")
    return read_json(folder / "config.json")["dim"]
