"""A sound that was trimmed began at 0, the pictures beside it did not."""

import shutil
from pathlib import Path

import drawn
import extracted
import numpy as np
import pytest

from merc.data.records import encoder_inputs, face_tracks, manifest
from merc.encoders.audio.prosody import Prosody
from merc.encoders.base import packing
from merc.encoders.lipsync import clip_inputs
from stages import extract


def test_a_trimmed_wav_stays_on_the_clock_of_the_pictures(here):
    """A flash and a click at one moment, 0.6 s of silence before it: later stages still find them together."""
    trimmed = extracted.PARAMS.replace("trim: false", "trim: true").replace("max_seconds: 1.0", "max_seconds: 2.0")
    Path("params.yaml").write_text(trimmed.replace("fps: 0.0", "fps: 25.0"), encoding="utf-8")
    place, at = extracted.corpus(here / "data/raw/sample", count=1), 0.8
    pictures = drawn.flashes([number / 25 for number in range(40)], at)
    clip = drawn.write(here / "a.mp4", pictures=pictures, sound=drawn.click(1.6, 22050, at))
    shutil.copyfile(clip, place / "train_splits/dia0_utt0.mp4")
    extracted.truthless(here)
    extract.main("sample")
    row = extracted.table_of("train").iloc[0]
    folder = manifest.split_folder("train", "sample")
    (heard,) = encoder_inputs.audio_inputs(folder, extracted.table_of("train").iloc[:1])
    assert row["audio_status"] == "trimmed" and 0.5 < row["wav_start"] == heard.start < at
    assert len(heard.samples) < 0.6 * 16000
    assert heard.start + np.abs(heard.samples).argmax() / 16000 == pytest.approx(at, abs=0.03)
    (units,) = packing.units_on_clip_time(Prosody("prosody", 25.0), [heard])
    assert units[0, 0] == np.float32(row["wav_start"])
    track = face_tracks.Track(
        np.arange(40, dtype=np.int32), np.ones((40, 4), np.float32), np.zeros((40, 64, 64, 3), np.uint8)
    )
    track.crops[round(at * 25) :] = 255
    both = clip_inputs.align_clip([track], heard.samples, heard.start)
    shown = int((both.mouths[0].mean(axis=(1, 2)) > 128).argmax())
    loud = int(both.sound.mean(axis=1).argmax()) // clip_inputs.FRAMES_PER_PICTURE
    assert abs(shown - loud) <= 1 and shown == round((at - heard.start) * 25)
