"""Forced alignment: the likeliest of all monotone paths, told in words and seconds, or the reason why not."""

import itertools
import json
from pathlib import Path

import extracted
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from merc.data.records import manifest
from merc.media.alignment import ctc, spelling, word_times
from merc.media.sound import ClipSound
from merc.runtime.errors import UserError
from stages import extract

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ'"
ENGLISH = frozenset(LETTERS)
VOCABULARY = {token: column for column, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS])}


def speller(folder: Path) -> Path:
    """A wav2vec 2.0 model with random weights that writes letters, as its kind is published."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    sizes |= {"conv_dim": [8] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
    torch.manual_seed(0)
    model = Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=len(VOCABULARY), pad_token_id=0, **sizes))
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(VOCABULARY))
    (folder / "tokenizer_config.json").write_text(json.dumps({"word_delimiter_token": "|"}))
    scaling = {"do_normalize": True, "sampling_rate": 16000}
    (folder / "preprocessor_config.json").write_text(json.dumps(scaling))
    return folder


@pytest.fixture
def model(here) -> str:
    ctc.load_model.cache_clear()
    speller(here / "data/weights/align/tiny")
    yield "tiny"
    ctc.load_model.cache_clear()


def collapsed(path: tuple[int, ...]) -> list[int]:
    return [token for token, _ in itertools.groupby(path) if token]


@given(
    seed=st.integers(0, 10**6), tokens=st.lists(st.integers(1, 3), min_size=1, max_size=3), spare=st.integers(0, 2)
)
def test_the_path_is_the_likeliest_of_all_that_spell_the_text(seed, tokens, spare):
    repeats = sum(one == other for one, other in itertools.pairwise(tokens))
    frames = len(tokens) + repeats + spare
    scores = np.random.default_rng(seed).normal(size=(frames, 4)).astype(np.float32)
    emissions = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    paths = [path for path in itertools.product(range(4), repeat=frames) if collapsed(path) == tokens]
    best = max(paths, key=lambda path: sum(emissions[frame, token] for frame, token in enumerate(path)))
    runs, frame = [], 0
    for token, group in itertools.groupby(best):
        length = len(list(group))
        runs += [(frame, frame + length)] if token else []
        frame += length
    assert word_times.token_spans(emissions, tokens, blank=0) == runs


class Planted:
    """A model that hears these letters from frame to frame, and nothing between."""

    def __init__(self, loaded: ctc.CtcModel, heard: list[tuple[str, int, int]], frames: int) -> None:
        self.loaded = loaded
        self.planted = np.full((frames, len(VOCABULARY)), -20.0, np.float32)
        self.planted[:, 0] = -0.01
        for letter, first, end in heard:
            self.planted[first:end, 0], self.planted[first:end, VOCABULARY[letter]] = -20.0, -0.01

    def emissions(self, samples: np.ndarray) -> np.ndarray:
        return self.planted

    def __getattr__(self, name: str):
        return getattr(self.loaded, name)


def test_planted_words_are_found_where_they_were_planted(model, monkeypatch):
    two = [("T", 20, 22), ("W", 22, 23), ("O", 23, 25)]
    heard = Planted(ctc.load_model(model), [("I", 10, 12), ("|", 14, 15), *two, ("|", 28, 29), ("O", 30, 33)], 50)
    monkeypatch.setattr(word_times, "_model", lambda name: heard)
    sound = ClipSound(np.zeros(16000, np.int16), start=0.4)
    aligned = word_times.align_words("I — 2 ö!", sound, model)
    assert aligned["words"] == [
        {"word": "I", "start": 0.6, "end": 0.64},
        {"word": "—", "start": None, "end": None},
        {"word": "2", "start": 0.8, "end": 0.9},
        {"word": "ö!", "start": 1.0, "end": 1.06},
    ]
    assert aligned["reason"] == ""


@pytest.mark.parametrize(
    ("text", "seconds", "reason"),
    [
        ("", 1.0, ""),
        ("Fine.", None, "no sound to find the words in"),
        ("Fine.", 0.02, "0.02 s of sound are too short for 4 letters"),
        ("Good heavens", 0.2, "0.20 s of sound are too short for 12 letters"),
        ("… ?!", 1.0, "no word can be spelled in the model's letters"),
        ("привет", 1.0, "no word can be spelled in the model's letters"),
    ],
)
def test_what_cannot_be_aligned_has_a_reason(model, text, seconds, reason):
    samples = None if seconds is None else np.zeros(round(16000 * seconds), np.int16)
    assert word_times.align_words(text, ClipSound(samples), model) == {"words": None, "reason": reason}


@given(text=st.text(max_size=30), seconds=st.floats(0, 1.5))
def test_any_text_and_sound_give_times_in_order_or_a_reason(tmp_path_factory, text, seconds):
    place = tmp_path_factory.getbasetemp() / "any"
    if not place.is_dir():
        speller(place)
    loaded = _load(place)
    samples = np.random.default_rng(0).normal(0, 1000, round(16000 * seconds)).astype(np.int16)
    before, word_times._model = word_times._model, lambda name: loaded
    try:
        aligned = word_times.align_words(text, ClipSound(samples), "any")
    finally:
        word_times._model = before
    assert aligned["words"] is not None or aligned["reason"] or not text.split()
    if aligned["words"] is not None:
        assert [word["word"] for word in aligned["words"]] == text.split()
        times = [
            time for word in aligned["words"] if word["start"] is not None for time in (word["start"], word["end"])
        ]
        assert times == sorted(times) and (not times or 0 <= times[0] <= times[-1] <= seconds + 1e-3)


def _load(place: Path) -> ctc.CtcModel:
    folder = ctc.sources.model_folder
    ctc.sources.model_folder = lambda source, within: place
    try:
        return ctc.load_model(str(place))
    finally:
        ctc.sources.model_folder = folder


def test_emissions_and_letters_are_those_of_transformers(model):
    import torch
    from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    folder = Path("data/weights/align/tiny")
    samples = np.random.default_rng(1).normal(0, 3000, 12345).astype(np.int16)
    inputs = Wav2Vec2FeatureExtractor()(samples / 32768, sampling_rate=16000, return_tensors="pt").input_values
    with torch.inference_mode():
        wanted = Wav2Vec2ForCTC.from_pretrained(folder)(inputs).logits.log_softmax(-1)[0].numpy()
    loaded = ctc.load_model(model)
    assert np.abs(loaded.emissions(samples) - wanted).max() < 1e-4
    tokenizer = Wav2Vec2CTCTokenizer(folder / "vocab.json")
    spelled = [spelling.spell(word, loaded.letters) for word in ["don't", "go", "there"]]
    assert word_times._tokens(spelled, loaded)[0] == tokenizer("DON'T GO THERE").input_ids


def test_the_stage_writes_a_time_for_every_word_and_flags_what_has_none(here, model):
    Path("params.yaml").write_text(extracted.PARAMS.replace("align: none", f"align: {model}"), encoding="utf-8")
    place = extracted.corpus(here / "data/raw/sample", count=3)
    rows = [extracted.row(0, number, words) for number, words in enumerate(["Oh no.", "Far " * 40, "Yes."])]
    extracted.table(place / "train_sent_emo.csv", rows)
    (place / "train_splits/dia0_utt2.mp4").unlink()
    extracted.truthless(here)
    extract.main("sample")
    table = extracted.table_of("train")
    words = table.loc["dia0_utt0", "words"]
    assert [one["word"] for one in words] == ["Oh", "no."]
    length = soundfile.info(manifest.split_folder("train", "sample") / table.loc["dia0_utt0", "wav"]).duration
    assert 0 <= words[0]["start"] < words[0]["end"] <= words[1]["start"] < words[1]["end"] <= length
    assert list(table["text_status"]) == ["ok", "unaligned", "unaligned"]
    assert table.loc["dia0_utt1", "words"] is None and "too short for 159 letters" in table["text_reason"].iloc[1]
    assert table["text_reason"].iloc[2] == "no sound to find the words in"
    report = json.loads(Path("out/extract/report/sample.json").read_text())
    assert [one["item"] for one in report["items"] if one["medium"] == "text"] == ["dia0_utt1", "dia0_utt2"]


def _without_letters(folder: Path) -> None:
    (folder / "vocab.json").write_text(json.dumps({"<pad>": 0, "ing": 1}))


def _too_many(folder: Path) -> None:
    (folder / "vocab.json").write_text(json.dumps({"<pad>": 0, "A": 999}))


def _no_head(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    save_file(
        {k: v for k, v in tensors.items() if "lm_head" not in k}, folder / "model.safetensors", {"format": "pt"}
    )


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_without_letters, "has no letters"),
        (_too_many, "does not map letters to the model's 32 columns"),
        (_no_head, "2 weights are missing"),
        (lambda folder: (folder / "vocab.json").unlink(), "vocab.json: cannot be read"),
        (lambda folder: (folder / "vocab.json").write_text("[1]"), "vocab.json: holds no table"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"none"), "does not load"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "preprocessor_config.json: not there"),
    ],
)
def test_a_model_that_cannot_align_is_one_clear_line(here, model, spoil, words):
    spoil(Path("data/weights/align/tiny"))
    with pytest.raises(UserError, match=rf"^params.yaml: extract.align = 'tiny': .*{words}"):
        word_times.check_model("tiny")


@pytest.mark.parametrize("name", ["wav2vec2-base-960h", "owner/model@0123", "absent"])
def test_weights_out_of_reach_are_one_line_at_once(here, name):
    with pytest.raises(UserError, match=r"^params.yaml: extract.align = .*: not in data/weights/align/"):
        word_times.check_model(name)


@pytest.mark.parametrize(
    ("word", "heard"),
    [
        ("It\u2019s", ["IT'S"]),
        ("well-known", ["WELL", "KNOWN"]),
        ("Caf\u00e9!", ["CAFE"]),
        ("\u00c6on", ["AEON"]),
        ("R&B", ["R", "AND", "B"]),
        ("\u2014", []),
        ("\u043f\u0440\u0438\u0432\u0435\u0442", []),
        ("$5.50", ["FIVE", "POINT", "FIVE", "ZERO", "DOLLARS"]),
        ("1,000,000", ["ONE", "MILLION"]),
        ("1905", ["NINETEEN", "OH", "FIVE"]),
        ("2004", ["TWO", "THOUSAND", "FOUR"]),
        ("1990s", ["NINETEEN", "NINETIES"]),
        ("21st", ["TWENTY", "FIRST"]),
        ("20th", ["TWENTIETH"]),
        ("12th.", ["TWELFTH"]),
        ("3:30", ["THREE", "THIRTY"]),
        ("2pm", ["TWO", "PM"]),
        ("007", ["OH", "OH", "SEVEN"]),
        ("911", ["NINE", "HUNDRED", "ELEVEN"]),
    ],
)
def test_a_word_is_spelled_as_it_is_spoken(word, heard):
    assert spelling.spell(word, ENGLISH) == heard
    assert spelling.spell(word, frozenset(LETTERS.lower())) == [part.lower() for part in heard]


@given(st.text(max_size=40), st.sampled_from([ENGLISH, frozenset("abc"), frozenset("aB12'"), frozenset()]))
def test_nothing_is_spelled_but_what_the_model_knows(word, letters):
    assert all(part and set(part) <= letters for part in spelling.spell(word, letters))
