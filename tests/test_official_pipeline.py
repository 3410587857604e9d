"""Corpora in their official forms, and RAVDESS by a label file: every stage by one `dvc exp run`."""

import json
import shutil
import subprocess
from pathlib import Path

import corpora_files
import drawn
import numpy as np
import pytest
from clones import clone, commit, run

from merc.data.records.manifest import SPLITS

REAL = Path(__file__).parents[2] / "shared/data/ravdess"
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


# corpus and label space -> who draws it, what selects, the scores that must be there
CASES = {
    ("mosi", "mosi"): (
        mosi,
        "sentiment.mae",
        {"sentiment": ("mae", "pearson", "ccc", "acc2", "acc2_nonzero", "acc2_nonzero_f1", "acc5", "acc7")},
    ),
    ("mosi", "mosi2"): (mosi, "sentiment.macro_f1", {"sentiment": ("accuracy", "weighted_f1", "macro_f1")}),
    ("mosei", "mosei"): (
        mosei,
        "emotions.macro_f1",
        {"sentiment": ("mae", "acc5"), "emotions": ("accuracy", "subset_accuracy", "weighted_f1", "macro_f1")},
    ),
    ("emorynlp", "emorynlp"): (emorynlp, "emotion.weighted_f1", {"emotion": ("weighted_f1", "macro_f1")}),
}
SHORT = (
    *("train.epochs=8", "distill.epochs=6", "distill.phase_epochs=4"),
    *("evaluate.rounds=100", "explain.utterances=4"),
)
# and what they need: every stage but `sample`, which draws another corpus
STAGES = ("evaluate", "explain", "export")


def experiment(folder: Path, corpus: str, space: str, select: str, *overrides: str) -> None:
    """All stages in one `dvc exp run`, whose words alone say what is learnt from."""
    words = ["dvc", "exp", "run", *STAGES]
    named = (
        f"data.corpora=[{corpus}]",
        f"+data.share.{corpus}=1.0",
        f"data.labels={space}",
        f"train.select={select}",
    )
    for override in (*named, f"train.select={select}", *SHORT, *overrides):
        words += ["-S", override]
    done = run(folder, *words, seconds=1500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def check_result(folder: Path, expected: dict[str, tuple[str, ...]]) -> None:
    """Scores of student, teacher and floor, the report, and a prediction by the exported folder."""
    metrics = json.loads((folder / "metrics/evaluate.json").read_text(encoding="utf-8"))
    for model in ("student", "teacher", "floor"):
        for task, names in expected.items():
            assert not [name for name in names if metrics[model][task][name] is None], (model, task)
    report = (folder / "out/evaluate/report/index.html").read_text(encoding="utf-8")
    assert "logistic regression" in report or "ridge" in report
    printed = run(folder, "merc", "results")
    assert printed.returncode == 0 and "student" in printed.stdout
    drawn.write(folder / "clip.wav", sound=drawn.tone(1.0, 16000))
    said = run(folder, "merc", "predict", "clip.wav", "--text", SAID[2.0], "--json")
    assert said.returncode == 0, said.stderr
    for task in expected:
        assert task in said.stdout
    code = ("merc", "models", "stages", "dvc.yaml", "presets")
    changed = subprocess.run(["git", "status", "--short", *code], cwd=folder, capture_output=True, check=True)
    assert not changed.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_corpus_in_its_official_form_is_one_experiment(tmp_path, case):
    draw, select, expected = CASES[case]
    folder = clone(tmp_path / "merc")
    assert run(folder, "merc", "preset", "sentences").returncode == 0  # text alone, each sentence by itself
    commit(folder)
    draw(folder / "data/raw" / case[0])
    experiment(folder, *case, select, f"+data.{case[0]}={{}}")
    check_result(folder, expected)


EIGHT = """
tasks:
  emotion:
    classes: [neutral, calm, happy, sad, angry, fearful, disgusted, surprised]
"""
OF_RAVDESS = (  # sound alone
    "+data.ravdess={channel: speech, fold: 0, test_actors: [4], dev_actors: [3]}",
    *("model.modalities=[audio]", "model.context=none", "encode.text.encoder=none", "encode.vision.encoder=none"),
    *("train.seeds=[1]", "pretrain.epochs=0", "lipsync.epochs=0", "extract.faces.detector=none"),
    *("evaluate.repeats=2", "evaluate.corruptions=[]"),
)


def ravdess_is_one_experiment(folder: Path) -> None:
    (folder / "data/labels/eight.yaml").write_text(EIGHT, encoding="utf-8")
    commit(folder)
    experiment(folder, "ravdess", "eight", "emotion.uar", *OF_RAVDESS)
    check_result(folder, {"emotion": ("uar", "macro_f1")})
    classes = json.loads((folder / "out/export/config.json").read_text(encoding="utf-8"))
    assert "disgusted" in json.dumps(classes)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_drawn_ravdess_by_a_label_file_is_one_experiment(tmp_path):
    folder = clone(tmp_path / "merc")
    corpora_files.ravdess(folder / "data/raw/ravdess", actors=range(1, 5))
    ravdess_is_one_experiment(folder)


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data/ravdess is absent")
@pytest.mark.timeout(1800)
def test_ravdess_by_a_label_file_is_one_experiment(tmp_path):
    folder = clone(tmp_path / "merc")
    for actor in range(1, 5):
        shutil.copytree(REAL / f"Actor_{actor:02}", folder / f"data/raw/ravdess/Actor_{actor:02}")
    ravdess_is_one_experiment(folder)
