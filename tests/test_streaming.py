"""Streaming: the batch's answers on every prefix, memory that does not grow, and words for what is not there."""

import io

import numpy as np
import pytest
import spoken
from exported import write_model

from merc.data.records.encoder_inputs import SAMPLE_RATE
from merc.media import clip_reader
from merc.media.extraction import processing
from merc.runtime.errors import UserError
from merc.serve import Predictor, Stream
from merc.serve.predictor import segmentation
from merc.serve.predictor.dialogue import Dialogue
from merc.serve.stream import live_sources, timed_pictures


@pytest.fixture(scope="module")
def predictor(tmp_path_factory) -> Predictor:
    return Predictor.load(write_model(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return spoken.conversation(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def film(raw, tmp_path_factory):
    return spoken.write(tmp_path_factory.mktemp("film") / "film.mkv", *raw)


@pytest.fixture(scope="module")
def batch(predictor, film) -> Dialogue:
    return predictor.read(film, cut=True)


def streamed(predictor, items, **how):
    stream, rows = Stream(predictor, **how), []
    for item in items:
        if isinstance(item, live_sources.AudioChunk):
            rows += stream.hear(item.samples)
        else:
            stream.see(item)
    return rows + stream.finish()


def assert_same(row, other):
    for task in ("emotion", "sentiment", "gates"):
        assert row[task] == pytest.approx(other[task], abs=1e-5)
    for name in ("start", "end", "text", "prediction_set", "missing", "abstains"):
        assert row[name] == other[name]


def test_every_utterance_is_answered_as_the_batch_answers_its_prefix(predictor, film, batch):
    rows = streamed(predictor, live_sources.open_container(film, "film").flow())
    assert len(rows) == len(batch) == 3
    for number, row in enumerate(rows, start=1):
        assert_same(row, predictor.answer(batch.prefix(number))[-1])
        assert row["missing"] == ["text"]
        assert row["utterance"] == f"stream#{number}"


def test_also_when_the_recording_itself_ends_there(predictor, film, raw, tmp_path):
    samples, pictures = raw
    rows = streamed(predictor, live_sources.open_container(film, "film").flow())
    for row, span in zip(rows, segmentation.segment(samples), strict=True):
        seen = pictures[: int(np.ceil(span.end / 640))]
        prefix = spoken.write(tmp_path / f"{span.end}.mkv", samples[: span.end], seen)
        assert_same(row, predictor(prefix, cut=True)[-1])


def test_pictures_of_spans_that_touch_are_those_of_a_file(film):
    """Who speaks for longer than an utterance may be is cut without a gap."""
    spans = [(0.0, 1.01), (1.01, 2.03), (2.5, 3.0)]
    seen = [
        item
        for item in live_sources.open_container(film, "film").flow()
        if isinstance(item, timed_pictures.TimedPicture)
    ]
    for (begin, end), whole in zip(spans, clip_reader.read_pictures(film, spans), strict=True):
        passing = timed_pictures.utterance_pictures(seen, begin, end, 1 / 25)
        assert (passing.first, len(passing.ticks)) == (whole.first, len(whole.ticks))
        assert np.array_equal(np.stack(passing.ticks), np.stack(whole.ticks))


def test_words_that_are_written_down_on_the_way_change_the_answer(predictor, film, batch):
    def asr(samples):
        return f"there are {len(samples)} samples and I am so happy"

    transcribed = predictor.read(film, cut=True, asr=asr)
    rows = streamed(predictor, live_sources.open_container(film, "film").flow(), asr=asr)
    for number, row in enumerate(rows, start=1):
        assert_same(row, predictor.answer(transcribed.prefix(number))[-1])
    assert rows[-1]["text"].endswith("so happy")
    assert rows[-1]["emotion"] != pytest.approx(predictor.answer(batch)[-1]["emotion"], abs=1e-3)


def test_sound_alone_in_chunks_of_any_size(predictor, raw):
    samples = raw[0]
    whole = streamed(predictor, [live_sources.AudioChunk(samples, 0.0)])
    for size in (777, 16000):
        parts = [live_sources.AudioChunk(samples[at : at + size], 0.0) for at in range(0, len(samples), size)]
        for row, other in zip(streamed(predictor, parts), whole, strict=True):
            assert_same(row, other)
    assert whole[0]["missing"] == ["text", "vision"]
    floats = Stream(predictor)
    rows = [*floats.hear(samples.astype(np.float32) / 32768), *floats.finish()]
    assert_same(rows[-1], whole[-1])


def test_memory_does_not_grow(predictor, raw, monkeypatch):
    monkeypatch.setattr("merc.serve.stream.stream.WINDOW_SIZE", 4)
    monkeypatch.setattr(processing, "track_faces", lambda *_: [])  # faces take time, not memory
    samples, pictures = raw
    stream, sizes = Stream(predictor), []
    for round_ in range(6):
        begin = round_ * len(samples) / SAMPLE_RATE
        for index in range(len(pictures)):
            if index % 5 == 0:
                stream.see(pictures[index], begin + index / 25)
            stream.hear(samples[index * 640 : (index + 1) * 640])
        kept = sum(utterance.features["audio"].values.nbytes for utterance in stream.utterances)
        sizes.append((len(stream.sound), len(stream.shots), len(stream.utterances), kept))
        assert all(
            utterance.samples is None and not utterance.frame and not utterance.tracks
            for utterance in stream.utterances
        )
    assert stream.count == 18
    assert len(stream.utterances) == 4
    assert max(size for size, *_ in sizes[1:]) <= 3 * SAMPLE_RATE
    assert max(shots for _, shots, *_ in sizes[1:]) <= 3 * 5
    assert max(kept for *_, kept in sizes) <= 2 * sizes[1][-1]


def test_silence_leaves_nothing_behind(predictor):
    stream = Stream(predictor)
    for _ in range(300):
        assert stream.hear(np.zeros(SAMPLE_RATE, np.int16)) == []
    assert len(stream.sound) < SAMPLE_RATE
    assert stream.finish() == []


def test_latency_is_the_pause_and_the_work(predictor, raw):
    pause = (segmentation.PAUSE_FRAMES - segmentation.SPEECH_MARGIN) * segmentation.FRAME_SAMPLES / SAMPLE_RATE
    stream = Stream(predictor)
    rows = stream.hear(raw[0])
    assert all(pause <= row["latency"] < pause + 5 for row in rows)


def test_what_is_no_sound_or_picture_is_refused(predictor):
    stream = Stream(predictor)
    for wrong in (np.zeros((2, 100), np.int16), np.zeros(100, np.int32), np.array(["a"])):
        with pytest.raises(UserError, match="16 kHz mono"):
            stream.hear(wrong)
    with pytest.raises(UserError, match="RGB"):
        stream.see(np.zeros((4, 4), np.uint8), 0.0)
    with pytest.raises(UserError, match="pass `seconds`"):
        stream.see(np.zeros((4, 4, 3), np.uint8))


def test_a_pipe_is_told_apart_from_its_first_bytes(film, raw):
    content = film.read_bytes()
    source = live_sources.open_standard_input(io.BytesIO(content))
    wrapped = np.concatenate([item.samples for item in source.flow() if isinstance(item, live_sources.AudioChunk)])
    plain = np.concatenate(
        [item.samples for item in live_sources.open_standard_input(io.BytesIO(raw[0].tobytes())).flow()]
    )
    assert np.array_equal(wrapped, raw[0])
    assert np.array_equal(plain, raw[0])
    with pytest.raises(UserError, match="empty"):
        live_sources.open_standard_input(io.BytesIO(b""))
    with pytest.raises(UserError, match="cannot be opened"):
        live_sources.open_standard_input(io.BytesIO(b"RIFF" + bytes(2000)))
