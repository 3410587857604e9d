"""docs/sentences.md, as a new user follows it: a table of 100 labelled sentences becomes an exported text model."""

import importlib
import re
import shutil
from pathlib import Path

import drawn
import numpy as np
import pandas as pd
import pytest

from merc.__main__ import main
from merc.data.records import packs
from merc.data.records.manifest import MODALITIES, SPLITS
from merc.runtime import params
from merc.runtime.errors import UserError
from merc.runtime.results import read_json
from merc.serve import Predictor
from stages import encode, extract

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/sentences.md").read_text(encoding="utf-8")
LATER = ("lipsync", "finetune", "pretrain", "train", "distill", "evaluate", "explain", "export")
SAID = {
    "glad": ("I love this {}, it is wonderful!", "What a beautiful {}, thank you!"),
    "cross": ("This {} makes me furious.", "I hate that stupid {}, take it away."),
    "plain": ("The {} stands in the hall.", "There is a {} on the second floor."),
}
THINGS = [
    *("table", "lamp", "garden", "letter", "song", "coat", "bridge", "picture", "dinner", "story"),
    *("clock", "boat", "radio", "chair", "cup", "window", "river"),
]


def block(opening: str) -> str:
    """The fenced block of the page that begins with these words."""
    start = PAGE.index(f"\n{opening}") + 1
    return PAGE[start : PAGE.index("```", start)]


@pytest.fixture
def followed(tmp_path, monkeypatch) -> Path:
    """The steps 1 to 3, with the page's own header, label file and parameters."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "presets", "presets")
    pairs = [(say.format(thing), mood) for thing in THINGS for mood, says in SAID.items() for say in says]
    rows = "\n".join(f'"{text}",{mood}' for text, mood in pairs[:100])
    table, label_file = Path("data/raw/folder/utterances.csv"), Path("data/labels/mood.yaml")
    for path, content in ((table, block("text,mood").splitlines()[0] + "\n" + rows), (label_file, block("tasks:"))):
        path.parent.mkdir(parents=True)
        path.write_text(content, encoding="utf-8")
    words = block("python -m merc preset").split()
    assert words[:3] == ["python", "-m", "merc"] and main(words[3:]) == 0
    for line in block("data:").splitlines():
        if line.startswith("  "):
            key = line.strip().split(":")[0]
            params.FILE.write_text(re.sub(rf"(?m)^  {key}: .*$", line, params.FILE.read_text(), count=1))
    return tmp_path


def test_the_first_half_a_table_becomes_features(followed):
    extract.main("folder")
    for modality in MODALITIES:
        encode.main("folder", modality)
    rows = {split: pd.read_parquet(f"out/extract/{split}/folder/manifest.parquet") for split in SPLITS}
    assert {split: len(table) for split, table in rows.items()} == {"train": 70, "dev": 15, "test": 15}
    assert set(rows["train"]["mood"]) == set(SAID) and set(rows["train"]["audio_status"]) == {"missing"}
    for split in SPLITS:
        present = {one: packs.present(packs.pack_path(split, "folder", one)) for one in MODALITIES}
        assert present["text"].all() and not present["audio"].any() and not present["vision"].any()


def test_a_word_that_the_label_file_lacks_is_refused_with_its_line(followed):
    table = Path("data/raw/folder/utterances.csv")
    table.write_text(table.read_text().replace(",plain", ",plane", 1))
    line = 1 + next(number for number, row in enumerate(table.read_text().splitlines()) if row.endswith("plane"))
    with pytest.raises(UserError) as refused:
        extract.main("folder")
    assert str(refused.value).startswith(
        f"{table} line {line}: folder: mood = 'plane': is unknown to data.labels: data/labels/mood.yaml; there are "
    )


def test_a_corpus_that_has_nothing_of_what_the_network_reads_is_refused(followed):
    text = params.FILE.read_text()
    params.FILE.write_text(text.replace("modalities:\n    - text", "modalities:\n    - audio"))
    with pytest.raises(
        UserError, match=r"no utterance has audio, which model.modalities .*set model.modalities to \[text\]"
    ):
        extract.main("folder")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_second_half_it_is_trained_scored_and_exported(followed):
    test_the_first_half_a_table_becomes_features(followed)
    for modality in MODALITIES:
        importlib.import_module("stages.adapt").main(modality)
    for stage in LATER:
        importlib.import_module(f"stages.{stage}").main()
    scores = read_json(Path("metrics/evaluate.json"))
    assert scores["student"]["mood"]["macro_f1"] > 0.8
    assert main(["results"]) == 0
    predictor = Predictor.load(Path("out/export"))
    clip = drawn.write(followed / "clip.wav", sound=np.zeros(16000, np.float32))
    (row,) = predictor(clip, texts="I love this boat, it is wonderful!")
    assert max(row["mood"], key=row["mood"].get) == "glad" and row["missing"] == []
