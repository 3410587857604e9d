"""What cannot be scored is refused in one line that names the place, the value and the remedy; no traceback."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scored import as_columns, draw_corpus
from test_evaluate import made_predictions

from merc.__main__ import main
from merc.data.records import manifest
from merc.evaluation import predictions
from merc.runtime import results


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A corpus, good predictions of it (one seed), and evaluate's."""
    folder = tmp_path_factory.mktemp("mistakes")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run = made_predictions(draw_corpus()["test"], seeds=(1,))
        as_columns(run, "student").drop(columns="condition").to_csv("good.csv", index=False)
        predictions.write_predictions(predictions.PREDICTIONS_FILE, run)
    return folder


@pytest.fixture
def good(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return pd.read_csv("good.csv")


def refused(capsys, *words, corpus="sample"):
    assert main(["score", *words, "--corpus", corpus]) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1 and told.err.startswith("merc: ") and not told.out
    return told.err


def changed(table, row, column, value):
    table = table.astype({column: object})
    table.loc[row, column] = value
    return table


def as_labels(table, row=None, value=None):
    labels = pd.DataFrame({"utterance": table["utterance"], "emotion": "joy"})
    return labels if row is None else changed(labels, row, "emotion", value)


MISTAKES = {
    "unknown ids": (
        lambda t: t.assign(utterance=t["utterance"].where(t.index > 3, "x" + t["utterance"])),
        ["4 ids are not in sample's test split", "xdia0_utt0", ", ...; did you mean dia"],
    ),
    "duplicates": (lambda t: pd.concat([t, t.iloc[[2]]]), ["line 4 and", "both answer", "seed 1, condition full"]),
    "missing": (lambda t: t.iloc[5:], ["utterances are missing", "--allow-missing"]),
    "sum": (lambda t: changed(t, 6, "emotion=joy", 1.5), ["line 8", "emotion probabilities sum to", "not to 1"]),
    "negative": (lambda t: changed(t, 6, "emotion=joy", -0.25), ["line 8: emotion=joy = -0.25"]),
    "empty": (lambda t: changed(t, 6, "emotion=joy", None), ["line 8: emotion=joy = nan"]),
    "word": (lambda t: changed(t, 6, "emotion=joy", "much"), ["Row #8", "'much'"]),
    "class": (lambda t: t.rename(columns=lambda n: n.replace("=joy", "=yoy")), ["=yoy is no class", "mean joy?"]),
    "classes": (lambda t: t.drop(columns="emotion=fear"), ["has no column emotion=fear"]),
    "both": (lambda t: t.assign(emotion="joy"), ["labels or probabilities, not both"]),
    "neither": (lambda t: t[["utterance", "seed"]], ["no column emotion or sentiment"]),
    "no ids": (lambda t: t.drop(columns="utterance"), ["has no column 'utterance', but 'seed'"]),
    "seed": (lambda t: t.assign(seed="one"), ["cannot be read", "'one'"]),
    "no seed": (lambda t: changed(t, 2, "seed", None), ["line 4: seed is empty"]),
    "split": (lambda t: t.assign(split="dev"), ["no row to score for split test"]),
    "model": (lambda t: t.assign(model=["a", "b"] * (len(t) // 2) + ["a"] * (len(t) % 2)), ["models a, b", "#a"]),
    "condition": (lambda t: t.assign(condition="only:txt"), ["'only:txt' is unknown; did you mean only:text"]),
    "no full": (lambda t: t.assign(condition="only:text"), ["seed 1 has no rows of condition full"]),
    "label": (lambda t: as_labels(t, 7, "hapiness"), ["line 9: emotion 'hapiness' is none of neutral, joy"]),
    "near label": (lambda t: as_labels(t, 7, "angry"), ["'angry' is none of", "did you mean anger?"]),
    "no label": (lambda t: as_labels(t, 7, ""), ["line 9: emotion '' is none of"]),
    "dialogue": (lambda t: t.assign(dialogue="zz"), ["ids are not in", "zz dia"]),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_the_file_is_one_line(good, capsys, name):
    change, words = MISTAKES[name]
    change(good).to_csv("bad.csv", index=False)
    told = refused(capsys, "bad.csv")
    for word in words:
        assert word in told


def test_a_seed_that_lacks_a_condition(good, capsys):
    both = [good.assign(seed=s, condition=c) for s, c in ((1, "full"), (2, "full"), (1, "rate:0.5/1"))]
    pd.concat(both).to_csv("bad.csv", index=False)
    assert "seed 2 has no rows of condition rate:0.5/1" in refused(capsys, "bad.csv")


def test_files_and_options_that_cannot_be_read(good, capsys):
    assert "nowhere.csv: not there" in refused(capsys, "nowhere.csv")
    Path("half.parquet").write_bytes(b"PAR1 half")
    assert "half.parquet: cannot be read" in refused(capsys, "half.parquet")
    Path("bytes.csv").write_bytes(b"utterance,\xff\xfe\n")
    assert "bytes.csv: cannot be read" in refused(capsys, "bytes.csv")
    Path("ragged.csv").write_text("utterance,emotion\na,joy\nb\n")
    assert "ragged.csv: cannot be read" in refused(capsys, "ragged.csv")
    Path("header.csv").write_text("utterance,emotion\n")
    assert "no row to score" in refused(capsys, "header.csv")
    Path("nothing.csv").touch()
    assert "has no column 'utterance', but nothing" in refused(capsys, "nothing.csv")
    assert "there is no such protocol; did you mean meld?" in refused(capsys, "good.csv", corpus="melt")
    assert "data/raw/meld: not there" in refused(capsys, "good.csv", corpus="meld")
    assert "invalid choice: 'tset'" in refused(capsys, "good.csv", "--split", "tset")
    assert "has no column 'model'" in refused(capsys, "good.csv#student")
    file = str(predictions.PREDICTIONS_FILE)
    assert "holds the models" in refused(capsys, file)
    assert "no row to score for corpus sample, model painter" in refused(capsys, f"{file}#painter")
    assert "labels are" in refused(capsys, f"{file}#student", "--labels", "iemocap4")
    assert "share no training seed" in refused(capsys, "good.csv", "--baseline", _other_seed(good))
    assert "dev itself is scored" in _dev_of_dev(capsys)


@pytest.mark.parametrize("words", [("score", "good.csv"), ("masks",)])
def test_a_place_where_no_file_can_be_is_refused_before_the_work(good, capsys, monkeypatch, words):
    reader = "merc.studies.scoring.command" if words[0] == "score" else "merc.studies.scoring.masks"
    monkeypatch.setattr(f"{reader}.read_reference", None)  # not reached
    Path("folder.csv").mkdir(exist_ok=True)
    for option in ("--out", "--log")[: len(words)]:
        for path, said in [
            ("good.csv/x.csv", "good.csv is a file"),
            ("folder.csv", "is a folder; name a file in it"),
        ]:
            assert main([*words, "--corpus", "sample", option, path]) == 2
            told = capsys.readouterr().err
            assert told.startswith(f"merc: {option} {path}: ") and said in told, told
            assert told.count("\n") == 1


def _other_seed(good):
    good.assign(seed=9).to_csv("nine.csv", index=False)
    return "nine.csv"


def _dev_of_dev(capsys):
    rows = manifest.read_manifests("dev", ["sample"])
    as_labels(rows).to_csv("dev.csv", index=False)
    return refused(capsys, "dev.csv", "--split", "dev", "--dev", "dev.csv")


def test_a_broken_result_file_is_named(good, capsys):
    assert main(["leaderboard", "empty", "--out", "page"]) == 2
    assert "holds no *.json" in capsys.readouterr().err
    assert main(["score", "good.csv", "--corpus", "sample", "--out", "board/r.json"]) == 0
    whole = results.read_json(Path("board/r.json"))
    capsys.readouterr()
    for change, words in (
        ({"merc": None}, "merc: Input should be a valid string"),
        ({"reference": whole["reference"] | {"digest": "12"}}, "reference.digest"),
        ({"format": "merc-result-9"}, "format"),
        ({"extra": 1}, "extra: Extra inputs are not permitted"),
    ):
        results.write_json(Path("board/r.json"), whole | change)
        assert main(["leaderboard", "board", "--out", "page"]) == 2
        told = capsys.readouterr().err
        assert (
            told.startswith("merc: board/r.json: is no result file: ") and words in told and told.count("\n") == 1
        )
    Path("board/r.json").write_text("{half")
    assert main(["leaderboard", "board", "--out", "page"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_probabilities_of_three_decimals_are_enough(good, capsys):
    columns = [name for name in good if "=" in name]
    good.assign(**{name: good[name].round(3) for name in columns}).to_csv("short.csv", index=False)
    assert main(["score", "short.csv", "--corpus", "sample"]) == 0
    assert np.abs(good[columns].sum(axis=1) - 2).max() < 1e-4
