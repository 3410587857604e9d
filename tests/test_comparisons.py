"""Comparing two runs: only what can be paired is paired, and what cannot is refused in a line."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_evaluate import made_predictions, manifest

from merc.evaluation import predictions, significance
from merc.runtime.errors import UserError


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Ours in its place; theirs, weaker and with one seed in common, in a file beside."""
    monkeypatch.chdir(tmp_path)
    rows = manifest(30)
    predictions.write_predictions(predictions.PREDICTIONS_FILE, made_predictions(rows, skill=3.0, seeds=(1, 2)))
    theirs = made_predictions(rows, skill=0.5, seeds=(2, 3), seed=1)
    predictions.write_predictions(tmp_path / "theirs.parquet", theirs)
    return theirs


def test_another_run_is_compared_seed_by_seed(runs, capsys):
    significance.against("theirs.parquet")
    told = capsys.readouterr().out
    assert "our student beats their student by" in told
    ours = predictions.read_predictions()
    told = significance.compare(runs, ours, ("student", "student"), "emotion", 100)
    seed = {
        name: one.predicted("emotion", "student")[row, 0] for name, one, row in (("a", runs, 0), ("b", ours, 1))
    }
    gains = [significance.scores.scores(ours.actual("emotion"), seed[name], 7)["macro_f1"] for name in "ab"]
    assert told["difference"] == pytest.approx(gains[1] - gains[0])  # of seed 2 alone
    assert np.isnan(told["paired_t_p"])


def test_models_of_other_names_can_be_named(runs, capsys):
    significance.against("theirs.parquet", "teacher", "student")
    assert "student beats teacher by" in capsys.readouterr().out
    with pytest.raises(UserError, match="no model 'baseline'; choose one of teacher, student"):
        significance.against("theirs.parquet", "baseline", "student")


def test_what_cannot_be_paired_is_refused(runs, tmp_path):
    ours = predictions.read_predictions()
    others = {
        "different utterances": replace(runs, rows=runs.rows.assign(utterance="x")),
        "utterances or labels": replace(runs, rows=runs.rows.assign(emotion="fear")),
        "different ways": replace(runs, classes=runs.classes | {"emotion": runs.classes["emotion"][::-1]}),
        "share no training seed": runs.take_seeds({3}),
    }
    for words, other in others.items():
        with pytest.raises(UserError, match=words):
            significance.compare(other, ours, ("student", "student"), "emotion", 10)
    without = replace(runs, outputs={"emotion": runs.outputs["emotion"]})
    assert (
        "missing in one of the two"
        in significance.compare(without, ours, ("student", "student"), "sentiment", 10)["verdict"]
    )


def test_a_file_that_holds_no_predictions_is_named(runs, tmp_path):
    (tmp_path / "broken.parquet").write_bytes(b"half")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "table.parquet")
    for name, words in (
        ("broken", "cannot be read as parquet"),
        ("table", "no predictions file"),
        ("no", "not there"),
    ):
        with pytest.raises(UserError, match=words):
            significance.against(f"{name}.parquet")
    with pytest.raises(UserError, match="their model and ours"):
        significance.against("a", "b")
