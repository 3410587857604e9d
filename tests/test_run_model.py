"""Other systems' models on a corpus: each in one command, resumed where it was killed, scored by `merc score`."""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scored
import soundfile
import tiny
import transformers

from merc.__main__ import main
from merc.data.records import manifest as manifests
from merc.data.records.labels import MELD_EMOTIONS
from merc.runtime.errors import UserError
from merc.studies.run_model import label_names
from merc.studies.run_model.command import command
from merc.studies.run_model.progress import Answers

EMOTIONS = [f"emotion={label}" for label in MELD_EMOTIONS]
FUNCTION = """
CLASSES = ("neutral", "joy", "surprise", "anger", "sadness", "disgust", "fear")
calls = []

def answer(text, wav, frames):
    calls.append((text, wav, frames))
    if len(calls) == FAIL_AT:
        raise RuntimeError("a cable was pulled")
    return {"JOY": 0.25, "ANGER": 0.25, "rage": 0.5, "love": 7.0}

def numbers(text, wav, frames):
    return [3, 1, 0, 0, 0, 0, 0]

def wrong(text, wav, frames):
    return [0.5, 0.5]

def negative(text, wav, frames):
    return [-1.0, 2.0, 0, 0, 0, 0, 0]

class Letters:
    def encode(self, texts):
        return [[text.count(letter) for letter in "abcdefgh"] for text in texts]

def ragged():
    return Flat()

class Flat:
    def encode(self, texts):
        return [0.0 for text in texts]
"""
names = (f"own_model_{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A corpus of three splits; the text tells the emotion by its letters, and every wav is a tone of its own."""
    folder = tmp_path_factory.mktemp("corpus")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for split, table in scored.draw_corpus().items():
            place = manifests.split_folder(split, "sample")
            (place / "audio").mkdir()
            table["text"] = [f"so {str(emotion)[0]}{str(emotion)[-1]} it is" for emotion in table["emotion"]]
            table["wav"] = [f"audio/{name}.wav" for name in table["utterance"]]
            for number, name in enumerate(table["wav"]):
                tone = np.sin(np.arange(3200) * (0.05 + 0.001 * number))
                soundfile.write(place / name, 0.3 * tone, 16000, subtype="PCM_16")
            manifests.write_manifest(place / "manifest.parquet", table)
    return folder


@pytest.fixture
def here(drawn, tmp_path, monkeypatch):
    """A folder that sees the corpus."""
    for name in ("out", "data"):
        if (drawn / name).is_dir():
            (tmp_path / name).symlink_to(drawn / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def own_module(folder: Path, fail_at: int = -1) -> str:
    name = next(names)
    (folder / f"{name}.py").write_text(FUNCTION.replace("FAIL_AT", str(fail_at)))
    return name


def run(*words: str) -> pd.DataFrame:
    command(*words, "--corpus", "sample", "--out", "mine.csv")
    assert not Path("mine.csv.part").exists()
    return pd.read_csv("mine.csv")


def refusal(*words: str) -> str:
    with pytest.raises(UserError) as refused:
        command(*words, "--corpus", "sample", "--out", "mine.csv")
    message = str(refused.value)
    assert "\n" not in message and not Path("mine.csv").exists()
    return message


def test_a_text_classifier_of_transformers(here, capsys):
    labels = dict(enumerate(("Joy", "ANGER", "neutral", "love")))
    tiny.language(
        transformers.BertForSequenceClassification, transformers.BertConfig, here / "tiny", id2label=labels,
        label2id={name: number for number, name in labels.items()},
    )  # fmt: skip
    assert "'love' is none of neutral" in refusal("--pipeline", "tiny")
    table = run("--pipeline", "tiny", "--map", "love=joy")
    assert list(table)[4:] == EMOTIONS
    assert np.allclose(table[EMOTIONS].sum(axis=1), 1, atol=1e-4)
    pipe = transformers.pipeline("text-classification", model="tiny", top_k=None)
    manifest = manifests.read_manifests("test", ["sample"])
    there = (manifest["text_status"] != manifests.MISSING).to_numpy()
    expected = {entry["label"]: entry["score"] for entry in pipe([manifest["text"][there].iloc[0]])[0]}
    first = table[there].iloc[0]
    assert first["emotion=anger"] == pytest.approx(expected["ANGER"], abs=1e-5)
    assert first["emotion=joy"] == pytest.approx(expected["Joy"] + expected["love"], abs=1e-5)
    shares = manifests.read_manifests("train", ["sample"])["emotion"].value_counts(normalize=True)
    assert table[~there].iloc[0]["emotion=fear"] == pytest.approx(shares["fear"], abs=1e-5)
    assert f"{(~there).sum()} utterances lack what the model reads" in capsys.readouterr().err
    scores = scored.score("mine.csv")
    assert scores["tasks"]["emotion"]["kind"] == "probabilities"
    assert "nowhere" in refusal_of_a_folder()


def refusal_of_a_folder() -> str:
    Path("mine.csv").unlink()
    return refusal("--pipeline", "./nowhere")


def test_a_sound_classifier_of_transformers(here):
    labels = dict(enumerate(MELD_EMOTIONS))
    tiny.speech(
        transformers.Wav2Vec2ForSequenceClassification, transformers.Wav2Vec2Config, here / "tiny", id2label=labels,
        label2id={name: number for number, name in labels.items()}, num_labels=7,
    )  # fmt: skip
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(here / "tiny")
    table = run("--pipeline", "tiny", "--kind", "audio")
    assert np.allclose(table[EMOTIONS].sum(axis=1), 1, atol=1e-4)
    assert table[EMOTIONS].nunique().max() > 10  # the tones differ


def test_a_function_goes_on_where_it_was_stopped(here):
    broken = own_module(here, fail_at=20)
    words = ("--map", "rage=anger", "love=", "--needs", "text", "audio")
    message = refusal("--function", f"{broken}:answer", *words)
    assert "a cable was pulled" in message and "run it again" in message
    kept = Path("mine.csv.part").read_text().splitlines()
    assert len(kept) == 17  # the settings, and the batch of 16 that was whole
    with Path("mine.csv.part").open("a") as file:
        file.write('["test", 16, [0.1, 0')  # what a killed process leaves
    assert "begun with other settings" in refusal("--function", f"{own_module(here)}:answer", *words)
    calls = sys.modules[broken].calls
    before = len(calls)
    table = run("--function", f"{broken}:answer", *words)
    assert len(calls) - before == len(table) - 16
    assert (table["emotion=joy"] == 0.25).all() and (table["emotion=anger"] == 0.75).all()
    text, wav, frames = calls[0]
    assert isinstance(text, str) and wav.dtype == np.float32 and len(wav) == 3200 and frames is None
    assert scored.score("mine.csv")["predictions"]["missing"] == 0


def test_a_function_may_give_numbers_in_the_order_of_the_classes(here):
    module = own_module(here)
    table = run("--function", f"{module}:numbers", "--needs", "text")
    assert (table["emotion=neutral"] == 0.75).all() and (table["emotion=joy"] == 0.25).all()
    Path("mine.csv").unlink()
    assert "gives 2 numbers, and there are 7 classes" in refusal("--function", f"{module}:wrong", "--needs", "text")
    Path("mine.csv.part").unlink()
    assert "are no probabilities" in refusal("--function", f"{module}:negative", "--needs", "text")
    Path("mine.csv.part").unlink()
    assert "write module:name" in refusal("--function", f"{module}:nothing")
    assert "write module:name" in refusal("--function", "no_such_module_here:x")


def test_an_encoder_of_texts_gets_a_probe_that_dev_tunes(here):
    module = own_module(here)
    table = run("--encoder", f"{module}:Letters")
    assert {*EMOTIONS, "sentiment=positive"} <= set(table)
    measured = scored.score("mine.csv")["tasks"]["emotion"]
    assert measured["scores"]["macro_f1"]["value"] > measured["majority"]["macro_f1"] + 0.2
    Path("mine.csv").unlink()
    assert "finite (texts, numbers)" in refusal("--encoder", f"{module}:ragged")


def test_an_encoder_of_merc_gets_a_probe(here):
    assert {*EMOTIONS, "sentiment=positive"} <= set(run("--encoder", "audio/prosody"))
    Path("mine.csv").unlink()
    assert "write <modality>/<name>" in refusal("--encoder", "prosody")
    assert "no encoder 'prosodie'" in refusal("--encoder", "audio/prosodie")
    assert "computes nothing" in refusal("--encoder", "audio/none")


def test_majority_and_random(here):
    table = run("--baseline", "majority")
    shares = manifests.read_manifests("train", ["sample"])["emotion"].value_counts(normalize=True)
    assert table["emotion=joy"].tolist() == pytest.approx([shares["joy"]] * len(table), abs=1e-6)
    measured = scored.score("mine.csv")["tasks"]["emotion"]
    assert measured["scores"]["macro_f1"]["value"] == measured["majority"]["macro_f1"]
    Path("mine.csv").unlink()
    drawn = run("--baseline", "random")
    assert drawn[EMOTIONS].to_numpy().std() > 0.05
    Path("mine.csv").unlink()
    assert not run("--baseline", "random", "--seed", "2").equals(drawn)


def test_mistakes_are_one_line(here, capsys):
    for words, told in (
        (["--baseline", "majority", "--corpus", "sample", "--out", "a.json"], "name a .csv file"),
        (["--baseline", "majority", "--corpus", "sample", "--out", "no/a.csv"], "there is no folder"),
        (["--baseline", "majority", "--corpus", "samples", "--out", "a.csv"], "did you mean sample"),
        (["--corpus", "sample", "--out", "a.csv"], "required"),
    ):
        assert main(["run-model", *words]) == 2
        told_lines = capsys.readouterr().err.strip().splitlines()
        assert told in told_lines[-1], told_lines
    Path("a.csv").write_text("mine")
    assert main(["run-model", "--baseline", "majority", "--corpus", "sample", "--out", "a.csv"]) == 2
    assert "is there already" in capsys.readouterr().err and Path("a.csv").read_text() == "mine"


def test_names_are_ours_in_any_case_or_as_mapped():
    mapped = label_names.read_map(["happiness=joy", "love="], MELD_EMOTIONS)
    assert mapped == {"happiness": "joy", "love": None}
    with pytest.raises(UserError, match="did you mean joy"):
        label_names.read_map(["happiness=joyy"], MELD_EMOTIONS)
    names = label_names.LabelNames(MELD_EMOTIONS, mapped)
    made = names.probabilities({"happiness": 0.2, "Joy": 0.2, "love": 0.5, "fear": 0.1}, "x")
    assert made == pytest.approx([0, 0.8, 0, 0, 0, 0, 0.2])
    with pytest.raises(UserError, match=r"'angry' is none of .* did you mean anger"):
        names.class_of("angry")
    with pytest.raises(UserError, match="no probabilities"):
        names.probabilities({"love": 1.0}, "x")


def test_a_half_written_line_is_cut_off(tmp_path):
    kept = Answers(tmp_path / "a.csv", {"x": 1})
    kept.add("test", 0, [[0.5, 0.5], None])
    kept.path.write_text(kept.path.read_text() + '["test", 2, [0.')
    again = Answers(tmp_path / "a.csv", {"x": 1})
    assert again.of("test", 2) == [[0.5, 0.5], None] and ("test", 2) not in again
    assert json.loads(kept.path.read_text().splitlines()[0]) == {"x": 1}
