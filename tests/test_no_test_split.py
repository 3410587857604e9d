"""A corpus without a test split goes through the stages that read test: scores are null, explanations are off."""

from pathlib import Path

import finished
import pytest
import yaml

from merc.data.records import truth
from merc.runtime import results
from stages import evaluate, explain


@pytest.mark.filterwarnings("ignore")  # means of nothing, and legends without an entry
def test_without_a_test_split_scores_are_null_and_explanations_off(tmp_path, monkeypatch):
    document = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text(encoding="utf-8"))
    document["evaluate"] |= {"rates": [0.5], "repeats": 1, "rounds": 30}
    document["compute"] = {"workers": 1, "device": "cpu", "engine": "local"}
    made = finished.manifest
    monkeypatch.setattr(
        finished, "manifest", lambda split, *rest: made(split, *rest)[: 0 if split == "test" else None]
    )
    finished.write(tmp_path, document, dialogues=2)
    monkeypatch.chdir(tmp_path)
    finished.write_sounds(Path("out/extract/train/sample"), made("train", 2, 5, 0))  # test alone has none
    truth.write_truth(Path("out/extract/test/sample/truth.parquet"), [])
    evaluate.main()
    assert results.read_json(Path("metrics/evaluate.json"))["student"]["emotion"]["macro_f1"] is None
    results.write_json(explain.PLOTS / "old.csv", {})
    explain.main()
    assert "no corpus" in results.read_json(explain.OUT / "off.json")["off"]
    assert results.read_json(explain.METRICS) == {"utterances": 0}
    assert list(explain.PLOTS.iterdir()) == []
