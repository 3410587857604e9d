"""Damage does what its name says, the same on every run, and a misspelt name is refused."""

from pathlib import Path

import finished
import numpy as np
import pytest
import yaml
from packed import all_steps

from merc.data.batches import dataset
from merc.data.records import labels
from merc.data.records.manifest import MODALITIES
from merc.evaluation import corruptions


@pytest.fixture
def split(tmp_path, monkeypatch):
    """A made-up test split, in whose folder the test runs."""
    params = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text(encoding="utf-8"))
    finished.write(tmp_path, params | {"compute": {"workers": 1, "device": "cpu", "engine": "local"}}, seeds=(1,))
    monkeypatch.chdir(tmp_path)
    return dataset.read_split("test", ["sample"], MODALITIES, labels.label_space("meld"))


def test_damage_is_what_its_name_says(split):
    whole = split.features["vision/hog"]
    mixed = corruptions.corrupt(split, "shuffle:vision", 1).features["vision/hog"]
    assert all_steps(whole).sort(0).values.equal(all_steps(mixed).sort(0).values)
    assert not all_steps(whole).equal(all_steps(mixed))
    words = all_steps(split.features["text/minilm"])
    dropped = all_steps(corruptions.corrupt(split, "drop:text/0.3", 1).features["text/minilm"])
    assert (dropped == 0).all(1).float().mean() == pytest.approx(0.3, abs=0.07)
    assert words[(dropped != 0).all(1)].equal(dropped[(dropped != 0).all(1)])
    sound = split.features["audio/prosody"]
    noisy = corruptions.corrupt(split, "noise:audio/10dB", 1).features["audio/prosody"]
    assert (noisy.lengths > 0).equal(sound.lengths > 0)


def test_noise_has_the_ratio_asked_for():
    generator = np.random.default_rng(0)
    samples = (0.1 * np.sin(np.arange(16000) / 20)).astype(np.float32)
    noise = corruptions._add_noise(samples, 10, generator) - samples
    assert 10 * np.log10(np.square(samples).mean() / np.square(noise).mean()) == pytest.approx(10, abs=0.2)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fog:audio/1", "write one like noise:audio/10dB, blank:vision"),
        ("noise:text/10dB", "write one like noise:audio/10dB, blank:vision"),
        ("blank:smell", "write one like noise:audio/10dB, blank:vision"),
        *((f"drop:text/{it}", "from 0 to 1") for it in ("often", "3", "-1", "nan", "0.3dB", "")),
        *((f"noise:audio/{it}", "from -100dB to 100dB") for it in ("nandB", "infdB", "-400dB", "10", "")),
        ("blank:vision/xyz", "write blank:vision, without"),
        ("shuffle:audio/", "write shuffle:audio, without"),
    ],
)
def test_an_unknown_corruption_is_named(name, said):
    with pytest.raises(ValueError, match=said):
        corruptions.parse_corruption(name, 1)


def test_chance_follows_from_ids_and_strengths_share_it(split):
    one, again = (
        all_steps(corruptions.corrupt(split, "drop:text/0.2", 1).features["text/minilm"]) for _ in range(2)
    )
    more = all_steps(corruptions.corrupt(split, "drop:text/0.5", 1).features["text/minilm"])
    assert one.equal(again)
    assert not ((one == 0).all(1) & ~(more == 0).all(1)).any()


def test_a_modality_that_nobody_encodes_is_left_out(split):
    assert corruptions.corrupt(split.with_streams(["text/minilm"]), "blank:vision", 1) is None
