"""eGeMAPS: 88 functionals of a voice (Eyben et al. 2016), by openSMILE, whose licence is for research only."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from merc.encoders.encoder import Encoder
from merc.encoders.raw import RATE, Sound
from merc.problem import Problem

SHORTEST = 1600  # samples: in less openSMILE finds nothing to describe


class Egemaps(Encoder):
    """One step an utterance. openSMILE is no network: no gradient passes it."""

    unit_names = ("start", "end")
    step_seconds = None
    differentiable = None
    budget = 30 * RATE
    stored = np.float32  # some functionals are slopes without a limit
    silence = Sound(np.zeros(RATE, np.float32))
    dim = 88

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def prepare(self, raw: Sequence[Sound]) -> dict[str, Tensor]:
        """functionals (N, 1, 88)."""
        return {"functionals": torch.from_numpy(np.stack([_functionals(sound) for sound in raw])).unsqueeze(1)}

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        values = tensors["functionals"]
        return values, torch.ones(len(values), dtype=torch.int64, device=values.device)

    def units(self, raw: Sequence[Sound]) -> list[np.ndarray]:
        return [np.array([[0, len(sound.samples) / sound.rate]], np.float32) for sound in raw]

    def size(self, raw: Sound) -> int:
        return max(SHORTEST, len(raw.samples))


def _functionals(sound: Sound) -> np.ndarray:
    """(88,) float32; a functional without a value (the pitch of a voice that is never voiced) is 0."""
    samples = np.asarray(sound.samples, np.float32)
    found = _smile().process_signal(np.pad(samples, (0, max(0, SHORTEST - len(samples)))), sound.rate)
    limit = float(np.finfo(np.float32).max)
    values = np.nan_to_num(found.to_numpy(np.float64)[0], posinf=limit, neginf=-limit)
    return np.clip(values, -limit, limit).astype(np.float32)


@cache
def _smile() -> Any:
    """One a process: it is a C library with a state of its own."""
    try:
        import opensmile
    except ImportError:
        raise Problem("encode.audio.encoder = 'egemaps' needs a package: pip install opensmile") from None
    sets, levels = opensmile.FeatureSet, opensmile.FeatureLevel
    return opensmile.Smile(feature_set=sets.eGeMAPSv02, feature_level=levels.Functionals, num_workers=1)
