"""eGeMAPS: 88 acoustic functionals (Eyben et al. 2016), computed by openSMILE (licence: research only)."""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from merc.data.records.encoder_inputs import SAMPLE_RATE, AudioInput
from merc.encoders.base.encoder import Encoder
from merc.runtime.errors import UserError

MIN_SAMPLES = 1600  # samples: openSMILE returns nothing for shorter sounds


class Egemaps(Encoder):
    """One step per utterance. openSMILE is not differentiable."""

    unit_names = ("start", "end")
    step_seconds = None
    differentiable = None
    budget = 30 * SAMPLE_RATE
    stored = np.float32  # some functionals are unbounded slopes
    silent_input = AudioInput(np.zeros(SAMPLE_RATE, np.float32))
    dim = 88

    def __init__(self, name: str) -> None:
        super().__init__()
        if find_spec("opensmile") is None:
            raise UserError(
                f"params.yaml: encode.audio.encoder = {name!r} needs openSMILE, by its licence for research only: "
                "pip install -r requirements-research.txt"
            )
        self.name = name

    def prepare(self, raw: Sequence[AudioInput]) -> dict[str, Tensor]:
        """`functionals` (N, 1, 88)."""
        return {"functionals": torch.from_numpy(np.stack([_functionals(sound) for sound in raw])).unsqueeze(1)}

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        values = tensors["functionals"]
        return values, torch.ones(len(values), dtype=torch.int64, device=values.device)

    def units(self, raw: Sequence[AudioInput]) -> list[np.ndarray]:
        return [np.array([[0, len(sound.samples) / sound.rate]], np.float32) for sound in raw]

    def size(self, raw: AudioInput) -> int:
        return max(MIN_SAMPLES, len(raw.samples))


def _functionals(sound: AudioInput) -> np.ndarray:
    """(88,) float32; an undefined functional (the pitch of a sound without voiced frames) is 0."""
    samples = np.asarray(sound.samples, np.float32)
    functionals = _smile().process_signal(np.pad(samples, (0, max(0, MIN_SAMPLES - len(samples)))), sound.rate)
    limit = float(np.finfo(np.float32).max)
    values = np.nan_to_num(functionals.to_numpy(np.float64)[0], posinf=limit, neginf=-limit)
    return np.clip(values, -limit, limit).astype(np.float32)


@cache
def _smile() -> Any:
    """The openSMILE extractor, one per process: the C library is stateful."""
    import opensmile

    sets, levels = opensmile.FeatureSet, opensmile.FeatureLevel
    return opensmile.Smile(feature_set=sets.eGeMAPSv02, feature_level=levels.Functionals, num_workers=1)
