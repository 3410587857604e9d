"""The trained sample model trusts a modality less, the more noise there is on it. Needs out/ from `make repro`."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml
from indexed import committed
from packed import all_steps

from merc.data.batches.streams import FeatureStream
from merc.runtime import params
from merc.training.core import loop, supervision
from models import checkpoint

ROOT = Path(__file__).resolve().parent.parent
MODALITIES = ("text", "audio", "vision")
LEVELS = (0.5, 1.0, 2.0)  # standard deviations of the training split

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ROOT / "out/distill/seed-1/model.safetensors").is_file(), reason="nothing is trained: make repro"
    ),
]


def networks(lock: str, stage: str) -> list:
    """The digests of a stage's outputs."""
    return yaml.safe_load(lock)["stages"][stage]["outs"]


@pytest.mark.parametrize("stage", ["train", "distill"])
def test_noise_on_a_modality_lowers_its_mean_gate_at_each_level(stage, monkeypatch):
    monkeypatch.chdir(ROOT)
    if networks(Path("dvc.lock").read_text(), stage) != networks(committed("dvc.lock"), stage):
        pytest.skip("the networks here are not the committed ones, of which alone this is promised")
    dev, seeds = supervision.read_data(list(MODALITIES)).read("dev"), params.read("train.seeds", list[int])
    for seed in seeds:
        network = checkpoint.load(Path(f"out/{stage}/seed-{seed}"))
        for modality in MODALITIES:
            means = [mean_gate(network, noisy(network, dev, modality, level), modality) for level in (0.0, *LEVELS)]
            assert all(after < before for before, after in pairwise(means)), (seed, modality, means)


def noisy(network, split, modality, level):
    """The split with white noise of this level on the modality's features."""
    generator, features = torch.Generator().manual_seed(1), dict(split.features)
    for name, stream in split.features.items():
        if name.startswith(f"{modality}/"):
            values = all_steps(stream)
            noise = level * network.spread(name) * torch.randn(values.shape, generator=generator)
            features[name] = FeatureStream.of(values + noise, stream.starts, stream.lengths)
    return replace(split, features=features)


def mean_gate(network, split, modality):
    """Over the utterances that have the modality, and the emotions."""
    gate = torch.cat([output["weights"]["gate"] for _, output in loop.iterate_outputs(network, split)])
    column = network.modalities.index(modality)
    return gate[split.present[:, column]][..., column].mean().item()
