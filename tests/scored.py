"""A drawn corpus and predictions of it on disk, for tests of merc/studies/scoring."""

import packed
import pandas as pd
import yaml

from merc.__main__ import main
from merc.data.records import manifest as manifests
from merc.data.records.labels import MELD_EMOTIONS, MELD_SENTIMENTS
from merc.runtime import results

CLASSES = {"emotion": MELD_EMOTIONS, "sentiment": MELD_SENTIMENTS}


def draw_corpus(*, features: bool = False) -> dict[str, pd.DataFrame]:
    """Manifests of the three splits below the current folder; with packs of features only if asked."""
    drawn = {split: packed.write_split(split, seed=n, dialogues=12) for n, split in enumerate(manifests.SPLITS)}
    if not features:
        for path in packed.Path("out/encode").rglob("*.safetensors"):
            path.unlink()
    return drawn


def score(*words: str) -> dict:
    """Run the command; the result file's content."""
    assert main(["score", *map(str, words), "--corpus", "sample", "--out", "result.json"]) == 0
    return results.read_json(packed.Path("result.json"))


def as_columns(run, model: str, part: str = "probability") -> pd.DataFrame:
    """A model's predictions as another system would write them: a row per seed, condition and utterance."""
    tables = []
    for number, key in enumerate(run.keys):
        if key.model != model:
            continue
        table = run.rows[["utterance"]].assign(seed=key.seed, condition=key.condition)
        for task, parts in run.outputs.items():
            for column, label in enumerate(run.classes[task]):
                table[f"{task}={label}"] = parts[part][number][:, column]
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def section_evaluate() -> dict:
    """Of the committed sample preset."""
    return yaml.safe_load((packed.Path(__file__).parents[1] / "presets/sample.yaml").read_text())["evaluate"]
