"""The whole pipeline on the sample and a few actors of RAVDESS, which has neither sentiment labels nor pictures."""

import json

import corpora_files
import pandas as pd
import pytest
from whole_run import SMALL, merged, prepare, run_all, write_params

CORPORA = ["sample", "ravdess"]
OVERLAY = {
    "data": {
        "corpora": CORPORA,
        "share": {"sample": 1.0, "ravdess": 0.5},
        "ravdess": {"channel": "speech", "fold": 0, "test_actors": [1, 2], "dev_actors": [3, 4]},
    }
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    prepare(folder)
    write_params(folder, merged(SMALL, OVERLAY))
    corpora_files.ravdess(folder / "data/raw/ravdess", actors=range(1, 8))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_all(folder, CORPORA)
    return folder


@pytest.mark.slow
def test_both_corpora_are_trained_on_and_scored(finished):
    predictions = pd.read_parquet(finished / "out/evaluate/predictions.parquet")
    full = predictions[(predictions.condition == "full") & (predictions.model == "student")]
    assert full.groupby("corpus").size().to_dict() == {"ravdess": 16, "sample": 9}


@pytest.mark.slow
def test_a_corpus_without_sentiment_has_null_sentiment_metrics(finished):
    scores = json.loads((finished / "out/evaluate/corpora.json").read_text())
    assert scores["ravdess"]["student"]["sentiment"]["macro_f1"] is None
    assert scores["ravdess"]["student"]["emotion"]["macro_f1"] is not None
    assert scores["sample"]["student"]["sentiment"]["macro_f1"] is not None


@pytest.mark.slow
def test_the_report_of_a_corpus_without_pictures_says_so(finished):
    manifest = pd.read_parquet(finished / "out/extract/train/ravdess/manifest.parquet")
    assert set(manifest.vision_status) == {"missing"} and set(manifest.vision_reason) == {"no video stream"}
    assert set(manifest.text) <= {"Kids are talking by the door.", "Dogs are sitting by the door."}
