"""Speech recognition by a tiny Whisper with random weights: loaded by the real code, equal to transformers' own."""

from pathlib import Path

import corpora_files
import extracted
import numpy as np
import pytest
import tiny
import torch
from test_corpora import SHARED, listed
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

from merc.encoders.pretrained import sources, transcription, whisper_model
from merc.media import clip_reader, speech_recognition
from merc.runtime.errors import UserError
from stages import extract

# pieces of tiny.tokenizer() that stand for the tokens of Whisper
START, LANGUAGES, TASK, BEFORE_TIMES = 1, {"<|en|>": 40, "<|de|>": 41}, 42, 150
TIMES = {"no_timestamps_token_id": BEFORE_TIMES, "max_initial_timestamp_index": 0}
SEVERAL = {**TIMES, "is_multilingual": True, "lang_to_id": LANGUAGES, "task_to_id": {"transcribe": TASK}}
CATALOGUED = [name for name in transcription.CATALOGUED if (sources.place(name) / "model.safetensors").is_file()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("whisper")
    tiny.whisper(place, std=0.4, encoder_layers=1, decoder_layers=1)
    return place


@pytest.fixture(scope="module")
def several(tmp_path_factory) -> Path:
    """One of several languages that knows times."""
    place = tmp_path_factory.mktemp("several")
    tiny.whisper(place, std=0.4, encoder_layers=1, decoder_layers=1, generation=SEVERAL)
    return place


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, 3 * 16000).astype(np.float32)


def test_what_is_written_down_is_what_the_model_says(folder, samples):
    heard = WhisperFeatureExtractor.from_pretrained(folder)(samples, sampling_rate=16000, return_tensors="pt")
    model = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    with torch.no_grad():  # greedily, token by token
        said = torch.tensor([[1]])
        for _ in range(23):
            said = torch.cat(
                [said, model(heard.input_features, decoder_input_ids=said).logits[:, -1:].argmax(-1)], 1
            )
            if said[0, -1] == 2:
                break
    own = transcription.load_transcriber(str(folder))(samples)
    assert own == transcription.without_loop(tiny.tokenizer().decode(said[0], skip_special_tokens=True).strip())
    assert own


def test_the_encoder_on_30_seconds_is_that_of_transformers_and_shorter_on_less(folder, samples):
    model = whisper_model.load(folder)
    heard = model.features(samples, sampling_rate=16000, return_tensors="pt").input_features
    with torch.inference_mode():
        assert torch.allclose(model.encode(samples), model.model.model.encoder(heard).last_hidden_state, atol=1e-5)
        assert model.encode(samples, 5.0).shape == (1, 250, 16)


def test_a_text_has_no_times_in_it_and_ends_with_the_sound(several, samples):
    model = whisper_model.load(several)
    with torch.inference_mode():
        for seconds in (0.5, 3.0):
            text, score = transcription._decode(model, model.encode(samples, 5.0), "en", seconds)
            assert score < 0
            tokens = model.tokenizer(text, add_special_tokens=False).input_ids
            assert len(tokens) <= transcription.MIN_TOKENS + 10 * seconds


def test_what_repeats_itself_is_heard_again_in_30_seconds(several, samples, monkeypatch):
    lengths = []
    loop = "kids are talking by the door. " * 6

    def decode(model, hidden, language, seconds):
        lengths.append(hidden.shape[1])
        return loop.strip(), -0.1

    monkeypatch.setattr(transcription, "_decode", decode)
    assert transcription.load_transcriber(str(several))(samples) == "kids are talking by the door."
    assert lengths == [50 * round(3 + whisper_model.MARGIN_SECONDS), 1500]


def test_what_is_no_whisper_is_refused(tmp_path):
    with pytest.raises(UserError, match="is no Whisper"):
        transcription.load_transcriber(str(tmp_path))
    with pytest.raises(UserError, match="owner/name@revision"):
        transcription.load_transcriber("whisper-small")


def test_the_weights_that_are_there_are_taken_and_none_is_fetched(here, monkeypatch):
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert transcription.default_transcriber() is None
    for name in reversed(transcription.CATALOGUED):
        (sources.place(name)).mkdir(parents=True)
        (sources.place(name) / "model.safetensors").touch()
        assert transcription.default_transcriber("de") == transcription.Transcriber(name, sources.place(name), "de")
    assert transcription.chosen_transcriber(None, "", is_off=True) is None
    with pytest.raises(UserError, match="choose one of them"):
        transcription.chosen_transcriber("whisper-base", "", is_off=True)


def test_rows_of_an_own_corpus_without_text_are_written_down_on_request(here, monkeypatch):
    params = extracted.PARAMS.replace("sample: {}", "folder: {asr: whisper-base}")
    Path("params.yaml").write_text(params.replace("corpora: [sample]", "corpora: [folder]"), encoding="utf-8")
    corpora_files.own(here / "data/raw/folder")
    assert [one.asr for one in listed("folder", here / "data/raw/folder", asr="whisper-base").utterances] == [
        "", "", "whisper-base", ""
    ]  # fmt: skip
    with pytest.raises(UserError, match="merc weights get whisper-base"):
        extract.main("folder")
    monkeypatch.setattr(transcription, "load_transcriber", lambda name, language: lambda samples: "Well, well.")
    monkeypatch.setattr("merc.media.voice_activity.detect_by_webrtc", lambda samples: samples == samples)
    monkeypatch.setattr("merc.runtime.workers.run", lambda jobs, work, **_: [work(job) for job in jobs])
    extract.main("folder")
    (row,) = extracted.table_of("dev", "folder").to_dict("records")
    assert row["text"] == "Well, well."
    assert (row["text_status"], row["text_reason"]) == ("recognised", "written down by whisper-base, not given")


@pytest.mark.real
@pytest.mark.skipif(not (SHARED / "clips").is_dir(), reason="../shared/data/clips is absent")
@pytest.mark.parametrize("name", CATALOGUED)
def test_real_speech_is_written_down(name):
    """At least half of the words of GRID's clips, and nine of ten of RAVDESS'."""
    clips = {path: grid_sentence(path.stem) for path in sorted((SHARED / "clips").glob("*.mpg"))}
    assert _right(name, clips) >= 0.5
    said = ("kids are talking by the door", "dogs are sitting by the door")
    spoken = [sorted((SHARED / f"ravdess/Actor_{actor:02}").glob("*.opus"))[actor] for actor in (1, 7, 14, 20)]
    assert _right(name, {path: said[int(path.stem.split("-")[4]) - 1] for path in spoken}) >= 0.9


DIGITS = {"z": "zero", "1": "one", "2": "two", "3": "three", "4": "four", "5": "five", "6": "six", "7": "seven"}
DIGITS |= {"8": "eight", "9": "nine"}
GRID = (
    {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    {"b": "blue", "g": "green", "r": "red", "w": "white"},
    {"a": "at", "b": "by", "i": "in", "w": "with"},
    {},
    DIGITS,
    {"a": "again", "n": "now", "p": "please", "s": "soon"},
)


def grid_sentence(name: str) -> str:
    """bbaf2n -> bin blue at f two now."""
    return " ".join(words.get(letter, letter) for words, letter in zip(GRID, name, strict=True))


def _right(name: str, clips: dict[Path, str]) -> float:
    """Share of the words that are written down, in order."""
    from difflib import SequenceMatcher

    right = total = 0
    for path, sentence in clips.items():
        sound, _ = clip_reader.read_clip(path, clip_reader.Limits(0.2, 15.0), ticks=False)
        text = speech_recognition.words_in(sound.samples, transcription.load_transcriber(name).for_recording())
        spaced = "".join(f" {DIGITS[sign]} " if sign in "123456789" else sign for sign in text.lower())
        words = "".join(letter if letter.isalnum() else " " for letter in spaced).split()
        blocks = SequenceMatcher(None, sentence.split(), words, autojunk=False).get_matching_blocks()
        right, total = right + sum(block.size for block in blocks), total + len(sentence.split())
    return right / total
