"""python -m merc explain CLIP: a page of reasons for recordings, and one line for a mistake."""

import json
import shutil
from pathlib import Path

import pytest
from exported import write_dialogue, write_model

from merc.__main__ import main
from merc.serve.predictor.predictor import Predictor

PAGES = Path("out/runs/explain")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """out/export, and clips/ of three utterances; what is said in the second stands beside it."""
    here = tmp_path_factory.mktemp("clip")
    write_model(here / "out/export")
    (here / "clips").mkdir()
    said = write_dialogue(here / "clips")
    (here / "clips/dia0_utt1.txt").write_text(said[1], encoding="utf-8")
    return here


@pytest.fixture(autouse=True)
def at_work(place, monkeypatch):
    monkeypatch.chdir(place)
    shutil.rmtree(PAGES, ignore_errors=True)


def test_a_clip_is_explained_down_to_words_sound_and_picture(capsys):
    assert main(["explain", "clips/dia0_utt1.mp4"]) == 0
    shown = capsys.readouterr().out
    (found,) = json.loads((PAGES / "dia0_utt1.json").read_text()).values()
    (row,) = Predictor.load("out/export")("clips/dia0_utt1.mp4")
    assert found["emotion"] == max(row["emotion"], key=row["emotion"].get)
    assert sum(found["modalities"].values()) == pytest.approx(
        found["log_odds"] - found["log_odds_of_nothing"], abs=1e-4
    )
    said = Path("clips/dia0_utt1.txt").read_text(encoding="utf-8")
    assert [word for word, _ in found["words"]] == said.split()
    assert found["token_gap"] < 1e-4
    page = (PAGES / "dia0_utt1.html").read_text(encoding="utf-8")
    for title in ("Modalities", "Sound", "Picture", "Tokens"):
        assert title in page
    assert "dia0_utt1.html" in shown


def test_a_folder_is_a_dialogue_and_one_of_it_can_be_chosen():
    assert main(["explain", "clips", "--utterance", "dia0_utt2"]) == 0
    found = json.loads((PAGES / "clips.json").read_text())
    assert list(found) == ["dia0_utt2"]
    assert len(found["dia0_utt2"]["influence"]) == 3  # the whole dialogue is seen
    assert found["dia0_utt2"]["modalities"]["text"] is None  # nobody told what is said
    assert found["dia0_utt2"]["words"] == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["clips/none.mp4"], "none.mp4"),
        (["clips", "--utterance", "dia0_utt7"], "dia0_utt7"),
        (["clips/dia0_utt1.mp4", "--model", "nowhere"], "nowhere"),
        (["clips/dia0_utt1.mp4", "--sound"], "--sound"),
        (["--text", "so"], "CLIP"),
        (["sample", "3"], "usage"),
        ([], "usage"),
    ],
)
def test_a_mistake_is_one_line(words, told, capsys):
    assert main(["explain", *words]) == 2
    shown = capsys.readouterr()
    assert told in shown.err
    assert shown.err.startswith("merc: ")
    assert len(shown.err.strip().splitlines()) == 1
    assert not PAGES.exists()
