"""Lip-sync on real faces: one GRID clip is left out; the drawn sample and the other four are learnt from."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

from merc import faces, facetracks, lipsync, media, mouths, synchrony
from merc.lipsync import LipSync
from merc.mouths import Clip
from models.lipsync import Synchrony, TowersConfig
from stages.lipsync import DIM

ROOT = Path(__file__).resolve().parent.parent
GRID = ROOT.parent / "shared/data/clips"
SAMPLE = ROOT / "out/extract"
FAR = 5  # pictures of shift that are surely out of step
NEEDED = 4  # clips of five whose true offset must win
TOWERS = TowersConfig(height=mouths.HEIGHT, width=mouths.WIDTH, bands=mouths.BANDS, frames_per_picture=4, dim=DIM)

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(not list(GRID.glob("*.mpg")), reason=f"no clips in {GRID}"),
    pytest.mark.skipif(
        not (SAMPLE / "train/sample").is_dir(), reason="the sample is not extracted: dvc repro extract"
    ),
]


def grid() -> list[Clip]:
    """The clips as extract and lipsync read them."""
    found = []
    for path in sorted(GRID.glob("*.mpg")):
        sound, pictures = media.read(path, media.Limits(0.2, 15.0), ticks=True)
        tracks = facetracks.follow(pictures, faces.DETECTORS["haar"], 64)
        found.append(mouths.clip(tracks, sound.samples.astype(np.float32) / 32768))
    return found


def true_offset_wins(network: Synchrony, clip: Clip) -> bool:
    """Whether sound and mouth in step, give or take a picture, score above the mean of far shifts."""
    curve = synchrony.evidence(network, clip)[0]
    shifts = np.arange(len(curve))
    distance = np.minimum(shifts, len(curve) - shifts)
    return curve[distance <= lipsync.TOLERANCE].mean() > curve[distance >= FAR].mean()


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> Synchrony:
    """What the drawn sample teaches; no GRID clip is in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        train, dev = ([one.clip for one in lipsync.read(split, ["sample"])] for split in ("train", "dev"))
    torch.set_num_threads(1)
    torch.manual_seed(1)
    network = Synchrony(TOWERS)
    synchrony.fit(network, train, dev, LipSync(epochs=4, lr=0.001, batch=32, clips=3000, seed=1))
    return network


@pytest.mark.timeout(1800)
def test_the_true_offset_of_a_clip_that_it_never_saw_scores_above_far_ones(taught):
    clips, config = grid(), LipSync(epochs=10, lr=0.0003, batch=16, clips=3000, seed=1)
    won = []
    for left in range(len(clips)):
        others = [clip for number, clip in enumerate(clips) if number != left]
        network = deepcopy(taught)
        synchrony.fit(network, others * 8, [], config)
        won.append(true_offset_wins(network, clips[left]))
    assert sum(won) >= NEEDED, won


@pytest.mark.timeout(1800)
def test_an_untrained_network_does_not_find_it():
    torch.manual_seed(1)
    curves = [synchrony.evidence(Synchrony(TOWERS), clip)[0] for clip in grid()]
    assert not all(lipsync.in_step(curve) for curve in curves)
