"""The names of features that signal processing measures, against sounds and pictures that show what they say."""

import numpy as np
import pytest
import torch

from merc.data.records.encoder_inputs import SAMPLE_RATE
from merc.encoders.audio import prosody
from merc.encoders.base.encoder import extract_features
from merc.encoders.vision import hog
from merc.explanation.methods.shap_values import MEASURED


def heard(hertz: float, seconds: float = 1.0) -> dict[str, float]:
    """Features by name of a harmonic tone, in the middle of it."""
    encoder = prosody.Prosody("prosody", 10.0)
    time = torch.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    samples = sum(0.2 / k * torch.sin(2 * torch.pi * k * hertz * time) for k in (1, 2, 3))
    with torch.inference_mode():
        values, steps = encoder({"samples": samples[None], "lengths": torch.tensor([len(time)])})
    assert len(prosody.feature_names()) == encoder.dim == values.shape[2]
    return dict(zip(prosody.feature_names(), values[0, int(steps[0]) // 2].tolist(), strict=True))


def test_the_names_of_prosody():
    low, high, long = heard(150), heard(300), heard(150, 2.0)
    for name in ("pitch, mean", "pitch, mean of a step"):
        assert low[name] == pytest.approx(0, abs=0.1) and high[name] == pytest.approx(1, abs=0.1)
    assert low["voicing, mean"] > 0.9 and low["pitch, trend"] == pytest.approx(0, abs=0.1)
    assert long["duration"] - low["duration"] == pytest.approx(np.log(2), abs=0.05)
    bands = [low[f"mel band {band}, mean of a step"] for band in range(1, prosody.BANDS + 1)]
    assert int(np.argmax(bands)) < 6
    assert low["energy, mean"] == pytest.approx(low["energy, mean of a step"], abs=0.3)


def slanted(across: float, down: float) -> torch.Tensor:
    """A crop whose brightness rises in this direction, in its upper left quarter alone."""
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    grey = torch.sin((across * columns + down * rows) / 3)
    grey[32:] = 0
    grey[:, 32:] = 0
    return grey.expand(1, 3, 64, 64) / 2 + 0.5


@pytest.mark.parametrize(
    ("direction", "edge"), [((1, 0), "upright"), ((0, 1), "level"), ((1, 1), "rising"), ((1, -1), "falling")]
)
def test_the_names_of_hog(direction, edge):
    encoder = hog.Hog("hog", 5.0)
    values = dict(zip(hog.feature_names(), encoder.describe(slanted(*direction))[0].tolist(), strict=True))
    assert len(values) == encoder.dim
    in_cell = {name: values[f"hog cell 2,2 {name}"] for name in hog.EDGES}
    assert max(in_cell, key=in_cell.__getitem__) == edge
    assert values[f"hog cell 7,7 {edge}"] < 0.1 * in_cell[edge]


def test_every_named_stream_is_one_of_the_sample():
    assert set(MEASURED) == {"audio/prosody", "vision/hog"}
    assert len(extract_features(prosody.Prosody("prosody", 10.0), [prosody.Prosody.silent_input])[0][0]) == 109
