"""On small corpora where a linear model is strong, the student is at least as good as it, within its interval."""

import packed
import pandas as pd
import pytest
import small_corpora
from small_corpora import CONVERSATIONS, MONOLOGUES

from merc.data.records import manifest as manifests
from merc.runtime import results
from stages import distill, evaluate, train

QUICK = {
    "pretrain__epochs": 0,
    "train__seeds": [1],
    "distill__epochs": 12,
    "evaluate__repeats": 1,
    "evaluate__rates": [0.5],
    "evaluate__uneven": [],
    "evaluate__corruptions": [],
    "evaluate__rounds": 200,
    "compute__device": "cpu",
}
CORPORA = {
    "monologues": (MONOLOGUES, {"train": 60, "dev": 12, "test": 20}, {}),
    # 45 dialogues with labels, some 5 % of MELD's
    "conversations": (CONVERSATIONS, {"train": 300, "dev": 60, "test": 80}, {"data__label_fraction": 0.15}),
}


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("name", CORPORA)
def test_the_student_is_as_good_as_the_floor(tmp_path, monkeypatch, name):
    corpus, dialogues, changes = CORPORA[name]
    monkeypatch.chdir(tmp_path)
    packed.copy_parameters(tmp_path, **(QUICK | changes))
    small_corpora.write_all(corpus, dialogues)
    results.write_disabled(tmp_path / "out/pretrain", "pretrain.epochs is 0")
    for stage in (train, distill, evaluate):
        stage.main()
    board = results.read_json(tmp_path / "metrics/evaluate.json")
    for task in ("emotion", "sentiment"):
        assert board["student"][task]["macro_f1_high"] >= board["floor"][task]["macro_f1"] > 0.4, task
    assert not [one for one in results.read_json(tmp_path / "out/evaluate/findings.json") if "floor" in one]


@pytest.mark.parametrize("name", CORPORA)
def test_what_is_drawn(tmp_path, monkeypatch, name):
    """The same each time; every class occurs; a dialogue's rows are contiguous."""
    corpus, _, _ = CORPORA[name]
    monkeypatch.chdir(tmp_path)
    first, again = (small_corpora.write(corpus, "train", 40, seed=1) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    assert set(first["emotion"]) == set(corpus.shares)
    assert len(set(manifests.read_manifests("train", ["sample"])["dialogue"])) == 40
