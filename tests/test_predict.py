"""The predictor: reads as `extract` and `encode` do, answers as the network does, copes with what is missing."""

import functools
import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import drawn
import numpy as np
import pandas as pd
import pytest
import torch
from exported import EXTRACTION, LABELS, SETTINGS, write_dialogue, write_model
from pretend_device import pretend

from merc.data.records import manifest
from merc.data.records.listing import Listing, Utterance
from merc.encoders.base import factory
from merc.encoders.base.encoder import extract_features
from merc.export import bundle
from merc.media.extraction import extraction, extraction_config
from merc.runtime import results
from merc.runtime.errors import UserError
from merc.serve import Predictor
from merc.serve.predictor import inference, recording_files, threads
from merc.serve.predictor import predictor as predictor_module
from merc.serve.predictor.dialogue import Dialogue, EncodedFeatures
from merc.serve.predictor.dialogue import RecordedUtterance as Read
from merc.training.core import calibration, speaker_offsets
from models import checkpoint

NAMED = ("utterance", "start", "end", "speaker", "text", "text_source", "emotion", "sentiment", "gates")
KEYS = [*NAMED, "prediction_set", "typicality", "missing", "abstains"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def predictor(folder) -> Predictor:
    return Predictor.load(folder)


@pytest.fixture(scope="module")
def dialogue(tmp_path_factory) -> Path:
    """A folder of three clips, with their words in a table beside them."""
    place = tmp_path_factory.mktemp("clips") / "dialogue"
    said = write_dialogue(place)
    rows = {
        "file": [f"dia0_utt{number}.mp4" for number in range(3)],
        "text": said,
        "speaker": ["Ann", "Bob", "Ann"],
    }
    pd.DataFrame(rows).to_csv(place / "words.csv", index=False)
    return place


@pytest.fixture(scope="module")
def read(predictor, dialogue) -> Dialogue:
    return predictor.read(dialogue)


def test_one_row_per_clip_with_all_that_is_promised(predictor, dialogue, read):
    rows = predictor(dialogue)
    assert [row["utterance"] for row in rows] == ["dia0_utt0", "dia0_utt1", "dia0_utt2"]
    for row, utterance in zip(rows, read, strict=True):
        assert list(row) == KEYS
        assert list(row["emotion"]) == list(LABELS["emotion"])
        assert list(row["sentiment"]) == list(LABELS["sentiment"])
        assert sum(row["emotion"].values()) == pytest.approx(1)
        assert sum(row["sentiment"].values()) == pytest.approx(1)
        assert sum(row["gates"].values()) == pytest.approx(1, abs=1e-5)
        assert row["missing"] == []
        assert row["start"] == 0 < row["end"] == pytest.approx(utterance.seconds, abs=1e-3)
        assert max(row["emotion"], key=row["emotion"].get) == row["prediction_set"][0]
    assert [row["speaker"] for row in rows] == ["Ann", "Bob", "Ann"]
    assert json.loads(json.dumps(rows)) == rows


def test_features_are_those_of_extract_and_encode(predictor, dialogue, read, tmp_path, monkeypatch):
    """The same clips through the stages' own functions, files and all."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("compute:\n  workers: 1\n")
    unsaid = {"emotion": None, "sentiment": None, "start": None, "end": None}
    listed = [
        Utterance(
            "dev",
            "0",
            utterance.name,
            "g",
            utterance.speaker,
            utterance.text,
            media=utterance.source,
            clip=utterance.name,
            **unsaid,
        )
        for utterance in read
    ]
    settings = extraction_config.ExtractionConfig.model_validate(EXTRACTION)
    outcomes = [
        extraction.extract_utterance(extraction.ExtractionJob(utterance, settings, tmp_path))
        for utterance in listed
    ]
    rows = extraction.manifest_rows("sample", Listing(listed), outcomes)
    for modality, encoder in predictor.encoders.items():
        section = getattr(factory.modality_package(modality), f"{modality.capitalize()}Encoding")
        config = section.model_validate({"encoder": encoder.name, "by_corpus": {}, **SETTINGS[modality]})
        raw = factory.modality_package(modality).reader(config)(tmp_path / "dev", rows)
        for utterance, values, units in zip(read, extract_features(encoder, raw), encoder.units(raw), strict=True):
            assert np.array_equal(utterance.features[modality].values, values.astype(np.float16).astype(np.float32))
            assert np.array_equal(utterance.features[modality].units, units)
    assert (rows["audio_status"] != manifest.MISSING).all()


def test_beside_a_gpu_it_answers_on_the_cpu(folder, predictor, read):
    """params.yaml, which names a device, is not looked at."""
    with pretend() as gpu:
        assert Predictor.load(folder).answer(read) == predictor.answer(read)
    assert not gpu.kernels


def test_answers_are_the_networks(predictor, folder, read):
    """Against a batch built by hand, calibrated and cut to sets by the definitions."""
    network = checkpoint.load(folder)
    values = {s: [torch.tensor(one.features[s.split("/")[0]].values) for one in read] for s in network.streams}
    batch = {
        "values": {s: torch.nn.utils.rnn.pad_sequence(own, batch_first=True) for s, own in values.items()},
        "rows": {s: torch.arange(3) for s in values},
        "steps": {s: torch.tensor([len(one) for one in own]) for s, own in values.items()},
        "present": torch.ones(3, 3, dtype=torch.bool),
        "place": torch.tensor([[0, 0], [0, 1], [0, 2]]),
        "speaker": torch.tensor([0, 1, 0]),
    }
    batch["speaker_offsets"] = {s: torch.zeros(3, network.streams[s]) for s in values}
    for stream, own in values.items():  # of variances that are equal, of speakers who are Ann, Bob and Ann
        first, second, third = (one.mean(0) for one in own)
        batch["speaker_offsets"][stream][:] = torch.stack([(first + third) / 3, second / 2, (first + third) / 3])
    with torch.no_grad():
        output = network(batch)
    known = results.read_json(folder / "calibration.json")["emotion"]
    chances = torch.softmax(output["emotion"].double() / known["temperature"], 1).numpy()
    for number, row in enumerate(predictor.answer(read)):
        assert list(row["emotion"].values()) == pytest.approx(chances[number].tolist(), abs=1e-5)
        members = {label for label, chance in row["emotion"].items() if chance >= known["threshold"]}
        assert set(row["prediction_set"]) == members or members == set()
        gate = output["weights"]["gate"][number, chances[number].argmax()]
        assert list(row["gates"].values()) == pytest.approx(gate.tolist(), abs=1e-5)
        assert row["abstains"] == (2 * len(row["prediction_set"]) > len(LABELS["emotion"]))


def test_what_is_hidden_is_missing_and_has_no_weight(predictor, read):
    shown, hidden = predictor.answer(read), predictor.answer(read, hide=["audio"])
    assert all(row["missing"] == ["audio"] and row["gates"]["audio"] == 0 for row in hidden)
    assert any(one["emotion"] != other["emotion"] for one, other in zip(shown, hidden, strict=True))
    nothing = predictor.answer(read, hide=["text", "audio", "vision"])
    assert all(row["abstains"] and set(row["gates"].values()) == {0.0} for row in nothing)
    assert predictor.answer(read) == shown
    with pytest.raises(UserError, match="smell"):
        predictor.answer(read, hide=["smell"])


def test_a_clip_whose_sound_is_taken_away_is_answered_and_says_so(predictor, tmp_path):
    pictures = drawn.flashes([index / 25 for index in range(30)], 0.5)
    clip = drawn.write(tmp_path / "mute.mp4", pictures=pictures)
    (row,) = predictor(clip, texts="What a lovely day!")
    assert row["missing"] == ["audio"]
    assert row["gates"]["audio"] == 0
    assert row["text"] == "What a lovely day!"
    one = predictor.read(clip).utterances[0]
    assert one.missing["audio"] == "no audio stream"
    assert set(one.missing) == {"audio", "text"}
    assert any("no face" in note for note in one.notes)


def test_hours_that_a_header_promises_and_nobody_recorded_are_no_utterances(predictor, tmp_path, monkeypatch):
    pictures = drawn.flashes([index / 25 for index in range(45)], 0.5)
    clip = drawn.write(tmp_path / "flipped.mp4", pictures=pictures, sound=np.zeros(40000, np.float32))
    monkeypatch.setattr("merc.media.clip_reader.read_if_short", lambda *arguments: (5970.0, None))
    (one,) = predictor.read(clip)
    assert one.name == "flipped#1" and "vision" not in one.missing


def test_sound_alone_is_enough(predictor, tmp_path):
    clip = drawn.write(tmp_path / "sound.mp4", sound=drawn.tone(1.0, 22050))
    (row,) = predictor(clip)
    assert row["missing"] == ["text", "vision"]


def test_a_recording_of_17_seconds_is_read_to_its_end_and_one_of_25_is_read_as_far_as_its_row_says(
    predictor, tmp_path
):
    clips = {
        seconds: drawn.write(tmp_path / f"{seconds}.m4a", sound=drawn.tone(seconds, 22050)) for seconds in (17, 25)
    }
    (one,) = predictor.read(clips[17])
    assert one.end == pytest.approx(17, abs=0.1) == len(one.samples) / 16000 and not one.notes
    (one,) = predictor.read(clips[25], cut=False)
    assert one.end == 20 == len(one.samples) / 16000 and one.notes == ["audio: cut to 20 s of 25.0"]


def test_silence_is_said_to_be_silence(predictor, tmp_path):
    pictures = drawn.flashes([index / 25 for index in range(25)], 0.5)
    clip = drawn.write(tmp_path / "still.mp4", pictures=pictures, sound=np.zeros(22050, np.float32))
    (one,) = predictor.read(clip)
    assert "silent" in one.missing["audio"] and "audio" not in one.features


def test_files_that_hold_nothing_are_mistakes_alone_and_rows_among_others(predictor, dialogue, tmp_path):
    place = tmp_path / "some"
    place.mkdir()
    shutil.copy(dialogue / "dia0_utt0.mp4", place / "a.mp4")
    (place / "b.mp4").write_bytes(b"")
    (place / "c.mp4").write_bytes(b"no video at all" * 100)
    rows = predictor(place)
    assert [row["missing"] for row in rows] == [["text"], ["text", "audio", "vision"], ["text", "audio", "vision"]]
    assert [row["abstains"] for row in rows][1:] == [True, True]
    with pytest.raises(UserError, match=r"b\.mp4: the file is empty"):
        predictor(place / "b.mp4")
    with pytest.raises(UserError, match=r"c\.mp4: cannot be opened"):
        predictor(place / "c.mp4")
    with pytest.raises(UserError, match="no such file"):
        predictor(place / "d.mp4")
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="holds no clip"):
        predictor(tmp_path / "none")


@pytest.mark.parametrize(
    "name", ["-rf.mp4", "a b\tc.mp4", "file:x.mp4", "%d.mp4", "né日本\U0001f600.mp4", "concat:a|b.mp4"]
)
def test_hostile_names_are_names(predictor, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    clip = drawn.write(tmp_path / "plain.mp4", sound=drawn.tone(0.5, 22050))
    (row,) = predictor(clip.rename(tmp_path / name).name)
    assert row["utterance"] == Path(name).stem


def test_fewer_frames_are_spread_evenly_over_the_face(predictor, dialogue):
    from merc.serve.predictor import recording_reader

    clip = dialogue / "dia0_utt1.mp4"
    every, some = predictor.read(clip), predictor.read(clip, frames=4)
    whole, few = (
        recording_reader.vision_encoder_input(every.utterances[0]),
        recording_reader.vision_encoder_input(some.utterances[0]),
    )
    assert len(few.times) == 4
    assert few.times[[0, -1]].tolist() == whole.times[[0, -1]].tolist()
    assert np.ptp(np.diff(few.times)) <= 0.041
    assert len(some.utterances[0].features["vision"].values) <= 4
    with pytest.raises(UserError, match="frames = 0"):
        predictor.read(clip, frames=0)


def test_a_changed_or_newer_folder_is_refused_by_name(folder, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    (copy / "calibration.json").write_text("{}")
    with pytest.raises(UserError, match=r"calibration\.json: was changed"):
        Predictor.load(copy)
    shutil.copy(folder / "calibration.json", copy)
    known = results.read_json(copy / "hashes.json")
    results.write_json(copy / "hashes.json", known | {"format": bundle.FORMAT + 1})
    with pytest.raises(UserError, match="newer"):
        Predictor.load(copy)
    for nonsense in ('{"format": "x", "files": {}}', '{"format": 1, "files": []}', "[]", "{"):
        (copy / "hashes.json").write_text(nonsense)
        with pytest.raises(UserError, match=r"model"):
            Predictor.load(copy)
    with pytest.raises(UserError, match="engine 'magic'"):
        Predictor.load(folder, engine="magic")


def test_an_encoder_with_other_weights_is_refused(folder, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    needed = results.read_json(copy / "encoders.json")
    needed["text"]["sha256"] = "0" * 64
    results.write_json(copy / "encoders.json", needed)
    bundle.write_hashes(copy)
    with pytest.raises(UserError, match="minilm are not those"):
        Predictor.load(copy)


def test_params_are_not_looked_at(folder, dialogue, tmp_path, monkeypatch, predictor):
    monkeypatch.chdir(tmp_path)
    assert Predictor.load(folder)(dialogue / "dia0_utt0.mp4") == predictor(dialogue / "dia0_utt0.mp4")


def test_users_do_not_mix(predictor, dialogue):
    clips = sorted(dialogue.glob("*.mp4"))
    alone = [predictor(clip) for clip in clips]
    together: list = [None] * 9

    def ask(number: int) -> None:
        together[number] = predictor(clips[number % 3])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [alone[number % 3] for number in range(9)]


def _facts(utterance: Read) -> list:
    """What was read and computed of an utterance."""
    numbers = [
        (name, encoded.values.tobytes(), encoded.units.tobytes())
        for name, encoded in sorted(utterance.features.items())
    ]
    sound = None if utterance.samples is None else utterance.samples.tobytes()
    about = (utterance.end, utterance.text, utterance.speaker_track, utterance.missing, utterance.notes)
    return [sound, utterance.frame, utterance.tracks, about, numbers, sorted(utterance.typicality.items())]


def test_a_single_clip_is_read_by_several_threads_as_by_one(predictor, dialogue, tmp_path, monkeypatch):
    (tmp_path / "late.mp4").write_bytes((dialogue / "dia0_utt1.mp4").read_bytes()[:-2000])  # damaged
    drawn.write(tmp_path / "silent.mp4", pictures=drawn.flashes([index / 25 for index in range(40)], 1.0))
    drawn.write(tmp_path / "sound.mp4", sound=drawn.tone(1.0, 22050), rate=22050)
    clips = [*sorted(dialogue.glob("*.mp4")), *sorted(tmp_path.glob("*.mp4"))]
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    monkeypatch.setattr(threads, "helpers_for", functools.cache(threads.helpers_for.__wrapped__))
    monkeypatch.setattr(predictor_module, "helpers_for", threads.helpers_for)
    found = {}
    for number in (1, 4):
        monkeypatch.setattr(predictor, "max_threads", number)
        assert threads.helpers_for(number).count == min(number, 3) - 1
        read = [predictor.read(clip, texts="Well, then.") for clip in clips]
        found[number] = [[_facts(one) for one in each] + predictor.answer(each) for each in read]
    assert found[1] == found[4]
    among = predictor.read(clips[:3], texts=["Well, then."] * 3)
    for one, alone in zip(among, found[4], strict=False):
        assert (
            _facts(one)[:3] == alone[0][:3] and _facts(one)[4][0] == alone[0][4][0]
        )  # and the features of its sound


def test_the_sound_of_a_single_clip_is_encoded_beside_its_pictures_and_of_many_with_the_others(
    predictor, dialogue, monkeypatch
):
    encoded, encode = [], Predictor._encode_modality

    def note(self, modality, utterances, inputs):
        encoded.append((modality, len(utterances)))
        encode(self, modality, utterances, inputs)

    begun, begin = [], threads.Helpers.begin
    monkeypatch.setattr(threads.Helpers, "begin", lambda self, work: begun.append(work) or begin(self, work))
    monkeypatch.setattr(Predictor, "_encode_modality", note)
    clips = sorted(dialogue.glob("*.mp4"))
    for given, num_begun in ((clips[:1], 1), (clips, 0)):
        encoded.clear()
        begun.clear()
        predictor.read(given)
        assert len(begun) == num_begun
        assert sorted(encoded) == [(modality, len(given)) for modality in ("audio", "text", "vision")]


def _made_up(count: int, seed: int = 0) -> Dialogue:
    random = np.random.default_rng(seed)
    widths = {"text": 384, "audio": 109, "vision": 320}
    return Dialogue([
        Read(str(number), None, 0.0, 1.0, speaker="AB"[number % 2], features={
            m: EncodedFeatures(random.normal(size=(4, width)).astype(np.float32), np.zeros((4, 2), np.float32))
            for m, width in widths.items() if random.random() < 0.8
        })
        for number in range(count)
    ])  # fmt: skip


def test_long_dialogues_are_answered_in_windows(predictor):
    whole = _made_up(3 * inference.WINDOW_SIZE + 7)
    rows = predictor.answer(whole)
    assert [row["utterance"] for row in rows] == [utterance.name for utterance in whole]
    edges = list(inference.context_windows(whole.starts))
    assert max(last - first for first, last, _, _ in edges) <= inference.WINDOW_SIZE
    assert [index for _, _, begin, end in edges for index in range(begin, end)] == list(range(len(whole)))
    for first, last, begin, end in edges:
        assert begin - first == inference.CONTEXT_MARGIN or first == 0
        assert last - end == inference.CONTEXT_MARGIN or last == len(whole)


def test_dialogues_hear_nothing_of_each_other_but_what_is_usual_of_a_speaker(predictor):
    one, other = _made_up(3, 1), _made_up(4, 2)
    apart = predictor.answer(one) + predictor.answer(other)
    for part in other:
        part.dialogue = "other"
    shared = predictor.answer(Dialogue([*one, *other]))  # of people with the same names
    for part in other:
        part.speaker += " of the other"
    both = predictor.answer(Dialogue([*one, *other]))
    answers = [np.array([[*row["emotion"].values()] for row in rows]) for rows in (apart, both, shared)]
    assert answers[1] == pytest.approx(answers[0], abs=1e-5)
    assert not np.allclose(answers[2], answers[0], atol=1e-3)


def test_what_is_usual_of_a_speaker_is_subtracted(predictor, folder):
    """Adding the same to all that a speaker does changes little, where it would change much."""
    read = _made_up(40, 1)
    fitted = speaker_offsets.load(folder / speaker_offsets.FILE)
    assert fitted.keys() == set(predictor.streams.values()) and predictor.speakers.keys() == fitted.keys()

    def moved(chosen: Callable[[int], bool]) -> Dialogue:
        parts = [
            replace(one, features={m: encoded._replace(values=encoded.values + 20.0 * chosen(number))
                                   for m, encoded in one.features.items()})
            for number, one in enumerate(read)
        ]  # fmt: skip
        return Dialogue(parts)

    def answers(dialogue: Dialogue) -> np.ndarray:
        return np.array([[*row["emotion"].values()] for row in predictor.answer(dialogue)])

    shifted = moved(lambda number: number % 2 == 0)
    as_read, of_speaker = answers(read), answers(shifted)
    with patch.object(predictor, "speakers", {}):
        bare = np.abs(answers(read) - answers(shifted)).mean()
    assert np.abs(of_speaker - as_read).mean() < 0.3 * bare


def test_no_utterance_gives_no_row(predictor):
    assert predictor.answer(Dialogue([])) == []


@pytest.mark.parametrize("changes", [{"fusion": "concat"}, {"modalities": ["audio"], "stem": {"audio": "linear"}}])
def test_other_networks_predict_too(dialogue, tmp_path, changes):
    other = Predictor.load(write_model(tmp_path / "model", **changes))
    rows = other(dialogue)
    assert len(rows) == 3
    assert all(row["gates"] == {} or set(row["gates"]) == set(other.modalities) for row in rows)
    assert all(row["missing"] == [] for row in rows)


def test_names_are_in_natural_order_and_unique(tmp_path):
    for name in ("clip10.mp4", "clip2.mp4", "Clip1.MP4", ".clip0.mp4", "clip2.wav", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    recordings = recording_files.recordings(tmp_path)
    assert [recording.path.name for recording in recordings] == [
        "Clip1.MP4",
        "clip2.mp4",
        "clip2.wav",
        "clip10.mp4",
    ]
    assert [recording.name for recording in recordings] == ["Clip1", "clip2.mp4", "clip2.wav", "clip10"]
    twice = recording_files.recordings([tmp_path / "clip10.mp4", tmp_path / "clip10.mp4"])
    assert len({recording.name for recording in twice}) == 2


def test_melds_names_tell_dialogues_apart(tmp_path):
    for name in ("dia1_utt0.mp4", "dia0_utt10.mp4", "dia0_utt9.mp4"):
        (tmp_path / name).write_bytes(b"x")
    recordings = recording_files.recordings(tmp_path)
    assert [recording.name for recording in recordings] == ["dia0_utt9", "dia0_utt10", "dia1_utt0"]
    assert [recording.dialogue for recording in recordings] == ["0/0", "0/0", "0/1"]


def test_calibration_means_the_same_here_and_in_evaluate(predictor, read):
    row = predictor.answer(read)[0]
    chances = np.array([list(row["emotion"].values())])
    members = calibration.label_sets(chances, predictor.calibration["emotion"])[0]
    expected = [label for label, member in zip(LABELS["emotion"], members, strict=True) if member]
    assert sorted(row["prediction_set"]) == sorted(expected)
