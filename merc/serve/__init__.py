"""From an exported folder to answers: in Python, on the command line, as a stream, on a page.

from merc.serve import Predictor
rows = Predictor.load("out/export")("clip.mp4")
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """The Predictor, when it is asked for: a mistake on the command line need not wait for torch."""
    if name != "Predictor":
        raise AttributeError(f"merc.serve has no {name}")
    from merc.serve.predictor import Predictor

    return Predictor
