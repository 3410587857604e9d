"""Cutting where another face goes on speaking, by a scorer that knows how the drawn mouths move."""

from dataclasses import replace

import numpy as np
import pytest
import spoken
from exported import write_dialogue, write_model

from merc.data.records.encoder_inputs import SAMPLE_RATE
from merc.data.records.face_tracks import TRACK_FPS, Track
from merc.encoders.lipsync import clip_inputs
from merc.media import clip_reader
from merc.serve import Predictor, Stream
from merc.serve.predictor import speaker_changes
from merc.serve.stream import live_sources


def opening(clip: clip_inputs.LipSyncClip) -> np.ndarray:
    """Evidence from what is drawn: a mouth is as dark as the sound is loud."""
    loud = clip.sound.mean(axis=1).reshape(len(clip), -1).mean(axis=1)
    dark = [
        -np.where(seen, mouth.mean(axis=(1, 2)), 0.0) for mouth, seen in zip(clip.mouths, clip.seen, strict=True)
    ]
    return np.array([0.0 if np.ptp(one) < 1 else 12 * np.corrcoef(one, loud)[0, 1] for one in dark])


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Three clips without a pause between them, and when each begins."""
    folder = tmp_path_factory.mktemp("film")
    samples, pictures = spoken.conversation(folder, pause=0.0)
    lengths = [clip_reader.clip_duration(folder / f"dia0_utt{number}.mp4") for number in range(3)]
    return spoken.write(folder / "film.mkv", samples, pictures), np.cumsum([0.0, *lengths[:2]])


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    made = Predictor.load(write_model(tmp_path_factory.mktemp("model")))
    made.reader = replace(made.reader, scorer=opening)
    return made


@pytest.fixture(scope="module")
def batch(predictor, film):
    return predictor.read(film[0], cut=True)


def test_who_speaks_next_begins_a_new_utterance(batch, film):
    assert [utterance.start for utterance in batch] == pytest.approx(film[1].tolist(), abs=0.3)
    assert [utterance.name for utterance in batch] == ["film#1", "film#2", "film#3"]
    for utterance, other in zip(batch.utterances, batch.utterances[1:], strict=False):
        assert utterance.end == other.start
        assert len(utterance.samples) == pytest.approx(utterance.seconds * SAMPLE_RATE, abs=1)
        assert utterance.face is not None and utterance.face.frames[-1] <= utterance.seconds * TRACK_FPS


def test_without_lip_sync_speech_without_a_pause_is_one_utterance(predictor, film):
    deaf = Predictor.load(predictor.folder)
    assert len(deaf.read(film[0], cut=True)) == 1


def test_a_stream_cuts_as_the_batch_does(predictor, film, batch):
    stream, rows = Stream(predictor), []
    for item in live_sources.open_container(film[0], "film").flow():
        rows += stream.hear(item.samples) if isinstance(item, live_sources.AudioChunk) else (stream.see(item) or [])
    rows += stream.finish()
    assert len(rows) == len(batch)
    for number, row in enumerate(rows, start=1):
        other = predictor.answer(batch.prefix(number))[-1]
        assert (row["start"], row["end"]) == (other["start"], other["end"])
        assert row["emotion"] == pytest.approx(other["emotion"], abs=1e-5)


def test_a_clip_of_one_speaker_is_not_cut(predictor, tmp_path):
    write_dialogue(tmp_path, 2)
    for clip in tmp_path.glob("*.mp4"):
        assert len(predictor.read(clip, cut=True)) == 1


def _tracks(count: int, length: int) -> list[Track]:
    boxes, crops = np.zeros((length, 4), np.float32), np.zeros((length, 64, 64, 3), np.uint8)
    return [Track(np.arange(length, dtype=np.int32), boxes, crops) for _ in range(count)]


def _told(*runs: tuple[int, float, int]):
    """A scorer that says these (track, evidence, windows) one after another."""
    answers = [(track, evidence) for track, evidence, windows in runs for _ in range(windows)]

    def say(clip: clip_inputs.LipSyncClip) -> np.ndarray:
        track, evidence = answers.pop(0)
        return np.eye(3)[track] * evidence

    return say


PICTURES = speaker_changes.WINDOW + 19 * speaker_changes.HOP  # 20 windows


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([(0, 9.0, 10), (1, 9.0, 10)], 1),
        ([(0, 9.0, 20)], 0),
        ([(0, 3.0, 10), (1, 3.0, 10)], 0),  # nobody surely
        ([(0, 9.0, 10), (1, 9.0, 2), (0, 9.0, 8)], 0),  # an error of two windows
        ([(0, 9.0, 6), (2, 3.0, 4), (0, 9.0, 10)], 0),  # a pause of the same
        ([(0, 9.0, 6), (1, 9.0, 7), (2, 9.0, 7)], 2),
    ],
)
def test_a_turn_needs_evidence_for_a_while(runs, expected):
    samples = np.random.default_rng(0).normal(size=PICTURES * 640).astype(np.float32)
    assert len(speaker_changes.speaker_change_times(_tracks(3, PICTURES), samples, _told(*runs))) == expected


def test_the_cut_is_where_it_is_quietest():
    samples = np.random.default_rng(0).normal(size=PICTURES * 640).astype(np.float32)
    still = 2.45  # seconds; windows 9 and 10 are centred on 2.38 and 2.58
    samples[round((still - 0.06) * SAMPLE_RATE) : round((still + 0.06) * SAMPLE_RATE)] = 0.0
    (cut,) = speaker_changes.speaker_change_times(_tracks(3, PICTURES), samples, _told((0, 9.0, 10), (1, 9.0, 10)))
    assert cut == pytest.approx(still, abs=0.02)
