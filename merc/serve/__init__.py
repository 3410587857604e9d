"""Prediction with an exported model: in Python, on the command line, as a stream, on a web page.

from merc.serve import Predictor
rows = Predictor.load("out/export")("clip.mp4")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from merc.serve.predictor.predictor import Predictor
    from merc.serve.stream.stream import Stream

__all__ = ["Predictor", "Stream"]
PUBLIC = {"Predictor": "merc.serve.predictor.predictor", "Stream": "merc.serve.stream.stream"}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that a mistake on the command line need not wait for torch."""
    if name not in PUBLIC:
        raise AttributeError(f"merc.serve has no {name}")
    return getattr(import_module(PUBLIC[name]), name)
