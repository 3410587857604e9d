"""Lip-sync on real faces: one GRID clip is left out; the drawn sample and the other four are learnt from."""

from copy import deepcopy
from pathlib import Path

import loops
import numpy as np
import pytest
import torch

from merc.encoders.lipsync import candidates, clip_inputs, synchrony
from merc.encoders.lipsync.clip_inputs import LipSyncClip
from merc.media import clip_reader
from merc.media.faces import detectors, tracking
from models.lipsync import Synchrony, TowersConfig
from stages.lipsync import DIM

ROOT = Path(__file__).resolve().parent.parent
GRID = ROOT.parent / "shared/data/clips"
SAMPLE = ROOT / "out/extract"
FAR = 5  # pictures of shift that are surely out of step
NEEDED = 4  # clips of five whose true offset must win
TOWERS = TowersConfig(
    height=clip_inputs.HEIGHT, width=clip_inputs.WIDTH, bands=clip_inputs.BANDS, frames_per_picture=4, dim=DIM
)

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(not list(GRID.glob("*.mpg")), reason=f"no clips in {GRID}"),
    pytest.mark.skipif(
        not (SAMPLE / "train/sample").is_dir(), reason="the sample is not extracted: dvc repro extract"
    ),
]


def grid() -> list[LipSyncClip]:
    """The clips as extract and lipsync read them."""
    found = []
    for path in sorted(GRID.glob("*.mpg")):
        sound, pictures = clip_reader.read_clip(path, clip_reader.Limits(0.2, 15.0), ticks=True)
        tracks = tracking.track_faces(pictures, detectors.DETECTORS["haar"], 64)
        found.append(clip_inputs.align_clip(tracks, sound.samples.astype(np.float32) / 32768))
    return found


def true_offset_wins(network: Synchrony, clip: LipSyncClip) -> bool:
    """Whether sound and mouth in step, give or take a picture, score above the mean of far shifts."""
    curve = synchrony.synchrony_evidence(network, clip)[0]
    shifts = np.arange(len(curve))
    distance = np.minimum(shifts, len(curve) - shifts)
    return curve[distance <= candidates.MAX_SYNCHRONOUS_SHIFT].mean() > curve[distance >= FAR].mean()


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> Synchrony:
    """What the drawn sample teaches; no GRID clip is in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        train, dev = (
            [one.clip for one in candidates.read_candidates(split, ["sample"])] for split in ("train", "dev")
        )
    torch.set_num_threads(1)
    torch.manual_seed(1)
    network = Synchrony(TOWERS)
    loops.synchronise(network, train, dev, epochs=4, lr=0.001, batch=32)
    return network


@pytest.mark.timeout(1800)
def test_the_true_offset_of_a_clip_that_it_never_saw_scores_above_far_ones(taught):
    clips, won = grid(), []
    for left in range(len(clips)):
        others = [clip for number, clip in enumerate(clips) if number != left]
        network = deepcopy(taught)
        loops.synchronise(network, others * 8, [], epochs=10, lr=0.0003, batch=16)
        won.append(true_offset_wins(network, clips[left]))
    assert sum(won) >= NEEDED, won


@pytest.mark.timeout(1800)
def test_an_untrained_network_does_not_find_it():
    torch.manual_seed(1)
    curves = [synchrony.synchrony_evidence(Synchrony(TOWERS), clip)[0] for clip in grid()]
    assert not all(candidates.is_synchronous(curve) for curve in curves)
