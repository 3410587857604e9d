"""Several corpora at once: each has its own scores, and what one of them lacks is null for it alone."""

from pathlib import Path

import finished
import numpy as np
import pytest
import yaml
from sklearn.metrics import f1_score

from merc.evaluation import predictions
from merc.runtime import results
from stages import evaluate

ACTED = "ravdess"  # actors who say one sentence each: no sentiment, no picture, a group an actor


def acted(split, size, number):
    """Utterances that are a dialogue each."""
    rows = finished.manifest(split, 12, 1, number).assign(corpus=ACTED, sentiment=None)
    rows["group"] = [f"{ACTED}/{split}/actor {n // 3}" for n in range(12)]
    rows["vision_status"], rows["vision_reason"] = "missing", "sound alone"
    return rows[:size]


@pytest.fixture(scope="module", params=[12, 0], ids=["two corpora", "one without a test split"])
def evaluated(request, tmp_path_factory):
    """The stage run on the sample and on a corpus without sentiment; (folder, its test utterances)."""
    folder = tmp_path_factory.mktemp("evaluated")
    params = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text(encoding="utf-8"))
    params["evaluate"] |= {"rates": [0.5], "repeats": 1, "rounds": 30, "corruptions": ["noise:audio/0dB"]}
    params["data"] |= {"corpora": ["sample", ACTED], "share": {"sample": 1.0, ACTED: 0.0}}
    finished.write(folder, params | {"compute": {"workers": 1, "device": "cpu", "engine": "local"}}, dialogues=3)
    for number, split in enumerate(("train", "dev", "test")):
        rows = acted(split, request.param if split == "test" else 6, number)
        finished.corpus(folder, rows, split, ACTED, number)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        evaluate.main()
    return folder, request.param


def test_each_corpus_has_its_own_scores(evaluated):
    folder, size = evaluated
    by_corpus = results.read_json(folder / "out/evaluate/corpora.json")
    run = predictions.read_predictions(folder / predictions.PREDICTIONS_FILE)
    assert list(by_corpus) == ["sample", ACTED][: 2 if size else 1]
    for corpus in by_corpus:
        is_corpus = (run.rows["corpus"] == corpus).to_numpy()
        assert is_corpus.sum() == {"sample": 15, ACTED: size}[corpus]
        actual = run.actual("emotion")[is_corpus]
        each = [
            f1_score(actual, one[is_corpus], labels=np.unique(actual), average="macro")
            for one in run.predicted("emotion", "student")[:, 0]
        ]
        assert by_corpus[corpus]["student"]["emotion"]["macro_f1"] == pytest.approx(np.mean(each), abs=1e-4)


def test_a_corpus_without_sentiment_has_null_scores_and_disturbs_no_other(evaluated):
    folder, size = evaluated
    by_corpus = results.read_json(folder / "out/evaluate/corpora.json")
    if size:
        assert set(by_corpus[ACTED]["teacher"]["sentiment"].values()) == {None}
    for name in ("evaluate.json", "robustness.json"):
        board = results.read_json(folder / "metrics" / name)["student"]["sentiment"]
        assert None not in [value for key, value in board.items() if key != "macro_f1_std"]
    assert board["full"] == by_corpus["sample"]["student"]["sentiment"]["macro_f1"]


def test_masks_lie_apart_by_corpus(evaluated):
    folder, size = evaluated
    names = {path.stem for path in (folder / "out/evaluate/masks").iterdir()}
    assert names == ({"sample", ACTED} if size else {"sample"})


def test_the_page_stands(evaluated):
    folder, _ = evaluated
    page = (folder / "out/evaluate/report/index.html").read_text(encoding="utf-8")
    assert "Dialogues, right and wrong" in page
