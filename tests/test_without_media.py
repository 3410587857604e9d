"""A corpus of annotation CSVs and features that others computed, without any media, through every stage."""

import csv
import importlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from merc.data.records.labels import MELD_EMOTIONS

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("extract", "lipsync", "adapt", "finetune", "encode", "pretrain", "train", "distill", "evaluate",
          "explain", "export")  # fmt: skip
MATRIX = {"extract": [["meld"]], "adapt": [[m] for m in ("text", "audio", "vision")],
          "encode": [["meld", m] for m in ("text", "audio", "vision")]}  # fmt: skip
DIALOGUES = {"train": 10, "dev": 4, "test": 4}
TURNS, WIDTH = 5, 8
SENTIMENT = {"joy": "positive", "surprise": "positive", "neutral": "neutral"}
COLUMNS = ("Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "StartTime", "EndTime")


def draw(folder: Path) -> None:
    """CSVs in MELD's layout, and CSVs of numbers that tell the emotion; one row of each is missing, one odd."""
    random = np.random.default_rng(3)
    for split, dialogues in DIALOGUES.items():
        labels = random.choice(MELD_EMOTIONS, dialogues * TURNS)
        labels[: len(MELD_EMOTIONS)] = MELD_EMOTIONS
        rows, features = [], []
        for number, emotion in enumerate(labels):
            dialogue, turn = divmod(number, TURNS)
            said = f"Number {random.integers(100, 999)}, {'loudly' if emotion == 'anger' else 'softly'}!"
            rows.append([said, f"Ann {turn % 2}", emotion, SENTIMENT.get(emotion, "negative"), dialogue, turn,
                         "00:00:01,000", "00:00:03,000"])  # fmt: skip
            told = random.normal(size=WIDTH) + 2 * (np.arange(WIDTH) == MELD_EMOTIONS.index(emotion))
            features.append([f"dia{dialogue}_utt{turn}.wav", *told])
        features[3][1:] = ["nan"] * WIDTH
        write(folder / "data/raw/meld" / f"{split}_sent_emo.csv", COLUMNS, rows)
        header = ["filename", *(f"x{number}" for number in range(WIDTH))]
        write(
            folder / "data/features/meld" / f"prosody_{split}.csv",
            header,
            [*features[1:], ["dia99_utt0.wav", *told]],
        )


def write(path: Path, header, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened).writerows([header, *rows])


def params(text: str) -> dict:
    document = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    document["data"] |= {"corpora": ["meld"], "labels": "meld", "share": {"meld": 1.0},
                         "meld": {"twins": "evidence", "media": "none"}}  # fmt: skip
    for modality, encoder in {"text": text, "audio": "imported/prosody", "vision": "none"}.items():
        document["encode"][modality]["encoder"] = encoder
    document["train"] |= {"seeds": [1], "epochs": 3}
    document["distill"] |= {"epochs": 4, "phase_epochs": 2}
    document["pretrain"]["epochs"] = 2
    document["evaluate"]["repeats"] = 2
    document["compute"]["workers"] = 1
    return document


@pytest.fixture(scope="module", params=["minilm", "none"])
def finished(request, tmp_path_factory) -> Path:
    """The whole pipeline with words and imported sound, and with imported sound alone."""
    folder = tmp_path_factory.mktemp("without_media")
    draw(folder)
    (folder / "params.yaml").write_text(yaml.safe_dump(params(request.param)), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for stage in STAGES:
            for words in MATRIX.get(stage, [[]]):
                importlib.import_module(f"stages.{stage}").main(*words)
    return folder


def read(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


pytestmark = pytest.mark.slow


def test_every_row_is_kept_and_scored(finished):
    for split, dialogues in DIALOGUES.items():
        manifest = pd.read_parquet(finished / f"out/extract/{split}/meld/manifest.parquet")
        assert len(manifest) == dialogues * TURNS
        assert set(manifest["audio_reason"]) == {"data.meld.media is none"}
    predictions = pd.read_parquet(finished / "out/evaluate/predictions.parquet")
    full = predictions[(predictions.condition == "full") & (predictions.model == "student")]
    assert len(full) == DIALOGUES["test"] * TURNS
    assert read(finished / "metrics/evaluate.json")["student"]["emotion"]["macro_f1"] is not None


def test_the_report_says_what_is_missing_and_unknown(finished):
    report = read(finished / "out/encode/report/meld.audio.json")
    assert report["encoder"] == "imported/prosody" and report["width"] == WIDTH
    for split, dialogues in DIALOGUES.items():
        own = report["splits"][split]
        assert (own["utterances"], own["present"], own["nan"]) == (dialogues * TURNS, dialogues * TURNS - 2, WIDTH)
        assert set(own["missing"]) == {"dia0_utt0", "dia0_utt3"}
        assert report["unknown"][split] == ["dia99_utt0"]


def test_lipsync_is_off_with_a_reason_and_its_metrics_are_null(finished):
    assert "no clip" in read(finished / "out/lipsync/vision/off.json")["off"]
    assert set(read(finished / "metrics/lipsync.json").values()) == {None}


def test_no_condition_makes_noise_and_no_part_is_of_the_sound(finished):
    names = set(pd.read_parquet(finished / "out/evaluate/predictions.parquet")["condition"])
    assert not [name for name in names if name.startswith("noise:")]
    assert [name for name in names if name.startswith("half") or name.startswith("rate") or "audio" in name]
    explained = pd.read_parquet(finished / "out/explain/attributions.parquet")
    sound = explained[explained.modality == "audio"]
    assert len(sound) and not sound["parts"].map(len).any()
    assert sound[sound.present]["shapley"].abs().max() > 0


def test_the_exported_model_says_that_the_sound_is_imported(finished):
    encoders = read(finished / "out/export/encoders.json")
    assert encoders["audio"]["encoder"] == "imported/prosody"
    assert encoders["audio"]["sha256"] is None and "others computed" in encoders["audio"]["source"]
    assert "imported/prosody" in (finished / "out/export/card.md").read_text(encoding="utf-8")
    assert read(finished / "metrics/bench/export.json")["onnx"]["emotion"] == 1.0
