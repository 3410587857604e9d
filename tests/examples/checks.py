"""What tests/test_contributing.py runs in the copy that followed a recipe: `python -m checks <recipe>`."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from merc.runtime.results import read_json


def corpus() -> None:
    """The corpus is read, and its labels are mapped."""
    from merc.corpora import registry
    from merc.data.records import labels

    folder = Path("data/raw/chat")
    folder.mkdir(parents=True)
    for split in ("train", "dev", "test"):
        (folder / f"{split}.txt").write_text("1\tAnn\tjoy\tHello!\n1\tBob\tsad\tOh.\n", encoding="utf-8")
    utterances = registry.read_corpus("chat", folder, Path("scratch")).utterances
    assert [utterance.name for utterance in utterances] == ["1_1", "1_2"] * 3
    rows = pd.DataFrame({"corpus": "chat", "emotion": [utterance.emotion for utterance in utterances]})
    space = labels.label_space("meld")
    assert [space.outputs["emotion"][index] for index in space.targets(rows, "emotion")][:2] == ["joy", "sadness"]


def encoder() -> None:
    """The encoder is built by its name and gives a step per utterance."""
    from merc.data.records.encoder_inputs import AudioInput
    from merc.encoders.base import factory
    from merc.encoders.base.encoder import extract_features

    built = factory.build("audio", "loudness", factory.encoding_section("audio"))
    sounds = [AudioInput(np.full(100, 0.5, np.float32)), AudioInput(np.zeros(7, np.float32))]
    assert [values.tolist() for values in extract_features(built, sounds)] == [[[0.5, 0.5]], [[0.0, 0.0]]]


def fusion() -> None:
    """The fusion passes a forward pass of the network."""
    import networks

    logits = networks.network(fusion="mean")(networks.batch())["emotion"]
    assert logits.shape == (8, 7) and logits.isfinite().all()


def stage() -> None:
    """The stage has written its output."""
    assert read_json(Path("out/count/counts.json")) == {"train": 3, "dev": 2}


def manifests() -> None:
    """Write what the stage reads."""
    from merc.data.records import manifest

    for split, count in {"train": 3, "dev": 2}.items():
        rows = pd.DataFrame({name: [None] * count for name in manifest.SCHEMA.names})
        manifest.split_folder(split, "sample").mkdir(parents=True)
        manifest.write_manifest(manifest.split_folder(split, "sample") / "manifest.parquet", rows)


def metric() -> None:
    """The metric is among the scores of the test split."""
    from merc.evaluation import bootstrap, headline
    from merc.evaluation.missing_modalities import FULL
    from merc.evaluation.predictions import BlockKey, Predictions

    rows = pd.DataFrame({"group": ["a", "b", "c", "d"], "emotion": ["joy", "joy", "fear", "fear"]})
    probability = np.eye(2)[[[0, 0, 0, 1]]]  # one of four is wrong
    predictions = Predictions(
        rows,
        {"emotion": ("joy", "fear")},
        (BlockKey("student", 1, FULL),),
        {"emotion": {"probability": probability}},
    )
    board = headline.headline(predictions, "emotion", "student", bootstrap.draw(4, 1, 10, 1))
    assert board["error_rate"] == 0.25


if __name__ == "__main__":
    globals()[sys.argv[1]]()
