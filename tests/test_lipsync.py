"""Lip-sync: learns without labels who speaks, is not fooled by who moves most, and costs nothing when off."""

import shutil
import subprocess
import sys
from pathlib import Path

import loops
import numpy as np
import pytest
import torch
import yaml
from scenes import conversation, extracted, face, loudness, sound

from merc.data.records.encoder_inputs import AudioInput
from merc.encoders.lipsync import candidates, clip_inputs, synchrony
from merc.runtime.results import read_json
from merc.training.lipsync import lipsync_training
from models.lipsync import Synchrony, TowersConfig
from stages.lipsync import main

ROOT = Path(__file__).resolve().parent.parent
TOWERS = TowersConfig(height=32, width=48, bands=40, frames_per_picture=4, dim=32)


def clips(seeds: range) -> list[clip_inputs.LipSyncClip]:
    return [clip_inputs.align_clip(*conversation(seed)[:2]) for seed in seeds]


@pytest.fixture(scope="module")
def trained() -> Synchrony:
    torch.manual_seed(1)
    network = Synchrony(TOWERS)
    train, dev = clips(range(100, 132)), clips(range(200, 204))
    history = loops.synchronise(network, train, dev, epochs=6, lr=0.005, batch=8)
    assert min(history) < history[0]
    return network


def test_it_finds_who_speaks_where_the_other_one_moves_more(trained):
    scenes = [
        (clip_inputs.align_clip(tracks, samples), speaks)
        for tracks, samples, speaks in map(conversation, range(40))
    ]
    found = [int(synchrony.synchrony_evidence(trained, clip)[:, 0].argmax()) == speaks for clip, speaks in scenes]
    fooled = [candidates.most_moving_track(clip) == speaks for clip, speaks in scenes]
    assert np.mean(found) >= 0.9
    assert np.mean(fooled) <= 0.2


def test_it_finds_the_offset(trained):
    random = np.random.default_rng(3)
    level = loudness(random, 60)
    samples = sound(random, level)
    late = np.roll(level, 9)  # the mouth lags by nine pictures
    curves = [
        synchrony.synchrony_evidence(trained, clip_inputs.align_clip([face(random, one, 10.0)], samples))[0]
        for one in (level, late)
    ]
    assert [candidates.is_synchronous(curve) for curve in curves] == [True, False]


def test_a_still_mouth_has_no_evidence_and_a_short_track_little(trained):
    random = np.random.default_rng(4)
    level = loudness(random, 40)
    samples = sound(random, level)
    still, whole = face(random, np.zeros(40), 10.0), face(random, level, 10.0)
    brief = face(random, level[10:16], 10.0, first=10)
    found = synchrony.synchrony_evidence(trained, clip_inputs.align_clip([still, whole, brief], samples))
    assert np.abs(found[0]).max() < 1e-4
    assert found[1, 0] > 2 * found[2, 0]


def test_a_clips_evidence_does_not_depend_on_its_batch_mates(trained):
    both = [one for one in clips(range(2)) if len(one) == 40]
    batch = synchrony.collate_clips(both, torch.device("cpu"))
    together = trained(*batch).detach().numpy()
    alone = np.concatenate([synchrony.synchrony_evidence(trained, clip) for clip in both])
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_the_loss_is_the_probability_of_any_track_in_step():
    evidence = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    far = [0, 2, 3, 4, 5, 6]
    first = evidence[:2, far].exp().sum().log() - evidence[:2, 0].exp().sum().log()
    second = evidence[2, far].exp().sum().log() - evidence[2, 0]
    expected = (first + second) / 2
    assert lipsync_training.synchronisation_loss(evidence, torch.tensor([0, 0, 1])).item() == pytest.approx(
        expected.item(), abs=1e-6
    )


@pytest.mark.parametrize("size", [24, 64, 100])
def test_mouth_regions_of_any_crop_size(size):
    crops = np.zeros((2, size, size, 3), np.uint8)
    crops[:, size // 2 :] = 90
    crops[1, size // 2 :, : size // 2] = 30
    region = clip_inputs.mouth_regions(crops)
    assert region.shape == (2, 32, 48)
    assert (region[0] == 90).all()
    assert (region[1, :, :23] == 30).all()
    assert (region[1, :, 25:] == 90).all()


def test_tracks_lie_on_the_clock_of_the_sound():
    random = np.random.default_rng(5)
    track = face(random, np.linspace(0, 1, 10), 10.0, first=5)
    clip = clip_inputs.align_clip([track], sound(random, np.ones(12)))
    assert len(clip) == 12
    assert clip.seen[0].tolist() == [False] * 5 + [True] * 7
    assert (clip.mouths[0, :5] == clip.mouths[0, 5]).all()
    assert clip.sound.shape == (48, clip_inputs.BANDS)


def first(clip: clip_inputs.LipSyncClip) -> np.ndarray:
    """A scorer that always hears the first track."""
    return np.arange(len(clip.mouths), 0, -1)


def test_without_sound_or_network_the_largest_face_speaks():
    random = np.random.default_rng(6)
    small, large = face(random, np.zeros(20), 0.0), face(random, np.zeros(40), 0.0)
    long, brief = (
        AudioInput(np.zeros(640 * pictures, np.float32)) for pictures in (40, candidates.MIN_PICTURES - 1)
    )
    assert synchrony.choose_speaker([], long, first) is None
    assert synchrony.choose_speaker([small, large], long, first) == 0
    assert synchrony.choose_speaker([small, large], None, first) == 1
    assert synchrony.choose_speaker([small, large], long, None) == 1
    assert synchrony.choose_speaker([small, large], brief, first) == 1
    assert synchrony.choose_speaker([large, large], None, None) == 0


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A current directory with parameters whose lipsync section can be changed."""
    monkeypatch.chdir(tmp_path)

    def set_up(**changes) -> None:
        document = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        document["lipsync"] |= {"epochs": 2, "batch": 4, **changes}
        document["compute"]["workers"] = 1
        Path("params.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")

    return set_up


def test_the_stage_writes_towers_that_encode_can_use_twice_the_same(project):
    project()
    extracted("train", "sample", 8, seed=0)
    extracted("dev", "sample", 4, seed=50)
    main()
    first = {path: path.read_bytes() for path in sorted(Path("out/lipsync").rglob("*.*"))}
    metrics = read_json(Path("metrics/lipsync.json"))
    assert list(metrics) == list(candidates.METRIC_NAMES)
    assert all(0 <= value <= 1 for value in metrics.values())
    log = loops.logged("lipsync")
    assert {"train/loss", "train/synchronisation", "dev/loss", "dev/score"} <= set(log)
    assert log["dev/score"] == [-loss for loss in log["dev/loss"]] and len(log["dev/loss"]) == 2
    main()
    assert {path: path.read_bytes() for path in sorted(Path("out/lipsync").rglob("*.*"))} == first
    tracks, samples, _ = conversation(7)
    scorer = synchrony.load_scorer(Path("out/lipsync/vision"))
    assert synchrony.choose_speaker(tracks, AudioInput(samples), scorer) == int(
        scorer(clip_inputs.align_clip(tracks, samples)).argmax()
    )
    assert synchrony.load_scorer(Path("out/lipsync/text")) is None
    assert sorted(path.name for path in Path("out/lipsync/audio").iterdir()) == ["config.json", "model.safetensors"]


def test_without_truth_only_what_needs_none_is_measured(project):
    project(epochs=1)
    extracted("train", "sample", 4, seed=0, known=False)
    extracted("dev", "sample", 4, seed=50, known=False)
    main()
    metrics = read_json(Path("metrics/lipsync.json"))
    assert metrics["active_speaker_accuracy"] is None
    assert metrics["mouth_that_moves_most"] is None
    assert metrics["offset_accuracy"] is not None


def test_without_tracks_it_says_so(project):
    project()
    extracted("train", "sample", 0, seed=0)
    extracted("dev", "sample", 0, seed=0)
    main()
    assert read_json(Path("out/lipsync/vision/off.json"))["off"].startswith("no clip of train")
    assert set(read_json(Path("metrics/lipsync.json")).values()) == {None}


def test_off_it_leaves_markers_and_never_imports_torch(project):
    project(epochs=0)
    shutil.rmtree("out", ignore_errors=True)
    code = "import sys; from stages.lipsync import main; main(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(ROOT)})
    for modality in ("text", "audio", "vision"):
        assert [path.name for path in Path("out/lipsync", modality).iterdir()] == ["off.json"]
    assert read_json(Path("metrics/lipsync.json")) == dict.fromkeys(candidates.METRIC_NAMES)
