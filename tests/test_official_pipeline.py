"""CMU-MOSI, CMU-MOSEI and EmoryNLP without recordings, in their official forms, through every stage."""

import importlib
import json
import shutil
from pathlib import Path

import corpora_files
import numpy as np
import pytest
import yaml

from merc.__main__ import main
from merc.data.records.manifest import MODALITIES, SPLITS
from merc.runtime.results import read_json

ROOT = Path(__file__).resolve().parent.parent
LATER = ("lipsync", "finetune", "pretrain", "train", "distill", "evaluate", "explain", "export")
COUNTS = {"train": 12, "valid": 4, "test": 4}  # videos, or scenes
SAID = {2.0: "I love this film, it is wonderful", -2.0: "This is a terrible and boring film", 0.0: "The film runs"}


def mosi(folder: Path) -> None:
    rows = []
    for mode, count in COUNTS.items():
        for video in range(count):
            for number, (score, said) in enumerate(SAID.items(), start=1):
                values = (
                    f"{mode}{video}",
                    number,
                    f"{said}, {video}",
                    score + video % 3 / 10,
                    "",
                    "",
                    "",
                    "",
                    mode,
                )
                rows.append(dict(zip(corpora_files.MOSI_COLUMNS, map(str, values), strict=True)))
    corpora_files.table(folder / "label.csv", rows)


def mosei(folder: Path) -> None:
    labels = np.array([[score, score > 0, score < 0, 2 * (score < 0), 0, 0, 0] for score in SAID], np.float32)
    times = np.array([[2.0 * index, 2.0 * index + 1.5] for index in range(len(SAID))])
    words = [(word, begin + 0.1 * index) for said, (begin, _) in zip(SAID.values(), times, strict=True)
             for index, word in enumerate(said.split())]  # fmt: skip
    spoken = np.array([[word.encode()] for word, _ in words])
    intervals = np.array([[begin, begin + 0.1] for _, begin in words])
    folds = {mode: [f"{mode}{number}" for number in range(count)] for mode, count in COUNTS.items()}
    videos = [video for names in folds.values() for video in names]
    corpora_files.sequence(folder / "CMU_MOSEI_Labels.csd", "All Labels", dict.fromkeys(videos, (labels, times)))
    name = "CMU_MOSEI_TimestampedWords.csd"
    corpora_files.sequence(folder / name, "words", dict.fromkeys(videos, (spoken, intervals)))
    (folder / "splits.json").write_text(json.dumps(folds))


def emorynlp(folder: Path) -> None:
    for split, (mode, count) in zip(SPLITS, COUNTS.items(), strict=True):
        rows = [
            {"Utterance": said, "Speaker": str([who]), "Emotion": emotion, "Scene_ID": str(scene),
             "Utterance_ID": str(number), "Season": "1", "Episode": str(list(COUNTS).index(mode) + 1)}
            for scene in range(1, count + 1)
            for number, (who, emotion, said) in enumerate(corpora_files.EMORY, start=1)
        ]  # fmt: skip
        corpora_files.table(folder / f"emorynlp_{split}_final.csv", rows)


# corpus -> who draws it, its label space, what selects, the scores that must be there
CASES = {
    "mosi": (mosi, "mosi", "sentiment.mae", {"sentiment": ("mae", "pearson", "acc2_nonzero", "acc7")}),
    "mosi2": (mosi, "mosi2", "sentiment.macro_f1", {"sentiment": ("accuracy", "weighted_f1")}),
    "mosei": (mosei, "mosei", "emotions.macro_f1", {"sentiment": ("mae", "acc5"), "emotions": ("macro_f1",)}),
    "emorynlp": (emorynlp, "emorynlp", "emotion.weighted_f1", {"emotion": ("weighted_f1", "macro_f1")}),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES)
def test_a_corpus_in_its_official_form_runs_through_every_stage(tmp_path, monkeypatch, case):
    draw, space, select, expected = CASES[case]
    corpus = draw.__name__
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "presets", "presets")
    main(["preset", "sentences"])
    values = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    values["data"] |= {"corpora": [corpus], "labels": space, "share": {corpus: 1.0}, corpus: {}}
    values["train"] |= {"select": select, "epochs": 8}
    values["distill"] |= {"epochs": 6, "phase_epochs": 4}
    values["evaluate"] |= {"rounds": 100}
    values["explain"] |= {"utterances": 4}
    Path("params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    folder = Path("data/raw") / corpus
    folder.mkdir(parents=True)
    draw(folder)
    importlib.import_module("stages.extract").main(corpus)
    for modality in MODALITIES:
        importlib.import_module("stages.adapt").main(modality)
        importlib.import_module("stages.encode").main(corpus, modality)
    for stage in LATER:
        importlib.import_module(f"stages.{stage}").main()
    student = read_json(Path("metrics/evaluate.json"))["student"]
    assert {
        task: [name for name in names if student[task][name] is not None] for task, names in expected.items()
    } == {task: list(names) for task, names in expected.items()}
    assert (tmp_path / "out/export/card.md").is_file()
