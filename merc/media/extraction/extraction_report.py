"""Report of an extraction: missing or flagged items, counts per split, statistics for plots."""

from typing import Any, cast

import pandas as pd

from merc.data.records.listing import Listing
from merc.data.records.manifest import MISSING, MODALITIES, SCHEMA, SPLITS

FLAGS = ("truncated", "padded", "repaired", "damaged", "no_face", "no_speech", "trimmed", "unaligned")
LENGTH_BIN_SECONDS = 0.5  # bin width of the histogram of utterance lengths
NUM_EXAMPLES = 3  # number of example utterance names per split


def build_report(manifest: pd.DataFrame, listing: Listing) -> dict[str, Any]:
    """The complete report, item by item."""
    return {
        "splits": {split: _split(part) for split, part in _by_split(manifest)},
        "items": _items(manifest),
        "decided": listing.decided,
        "ignored": listing.ignored,
    }


def count_metrics(manifest: pd.DataFrame) -> dict[str, Any]:
    """The counts that `dvc metrics` shows."""
    return {split: _counts(part) for split, part in _by_split(manifest)}


def summary(content: dict[str, Any]) -> str:
    """The report as text, a line per split and one of counts."""
    lines = [f"extract: {split}: {_sentence(part)}" for split, part in content["splits"].items()]
    notes = {"not plainly ok": content["items"], "decided": content["decided"], "ignored": content["ignored"]}
    return "\n".join([*lines, "extract: " + ", ".join(f"{len(items)} {name}" for name, items in notes.items())])


def plot_tables(manifest: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Data of the plots: classes by split, emotion and sentiment of each utterance, histogram of lengths."""
    labelled = manifest.dropna(subset=["emotion", "sentiment"])
    classes = cast("pd.Series", manifest.dropna(subset=["emotion"]).groupby(["split", "emotion"]).size())
    durations = cast("pd.Series", manifest["end"] - manifest["start"])
    seconds = (durations.clip(lower=0) // LENGTH_BIN_SECONDS * LENGTH_BIN_SECONDS).dropna()
    lengths = cast("pd.Series", seconds.groupby([manifest["split"], seconds.rename("seconds")]).size())
    return {
        "classes": classes.rename("utterances").reset_index(),
        "emotion_sentiment": cast("pd.DataFrame", labelled[["emotion", "sentiment"]]),
        "lengths": lengths.rename("utterances").reset_index(),
    }


def _by_split(manifest: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(split, cast("pd.DataFrame", manifest[manifest["split"] == split])) for split in SPLITS]


def _split(part: pd.DataFrame) -> dict[str, Any]:
    return {
        "utterances": len(part),
        "dialogues": part["dialogue"].nunique(),
        "status": {m: part[f"{m}_status"].value_counts().sort_index().to_dict() for m in MODALITIES},
        "samples": part["utterance"].head(NUM_EXAMPLES).tolist(),
    }


def _items(manifest: pd.DataFrame) -> list[dict[str, str]]:
    """Every modality of an utterance whose status is not ok."""
    return [
        {
            "split": row["split"],
            "item": row["utterance"],
            "medium": medium,
            "status": row[f"{medium}_status"],
            "reason": row[f"{medium}_reason"],
        }
        for row in manifest.to_dict("records")
        for medium in MODALITIES
        if row[f"{medium}_status"] != "ok"
    ]


def _counts(part: pd.DataFrame) -> dict[str, Any]:
    emotions = part["emotion"].value_counts()
    statuses = {m: cast("pd.Series", part[f"{m}_status"]) for m in MODALITIES}
    flags = pd.concat([statuses[m] for m in MODALITIES]).str.split(",").explode()
    return {
        "utterances": len(part),
        "dialogues": part["dialogue"].nunique(),
        "missing": {m: int((statuses[m] == MISSING).sum()) for m in MODALITIES},
        "flags": {flag: int((flags == flag).sum()) for flag in FLAGS},
        "emotion": emotions.sort_index().to_dict(),
        "sentiment": part["sentiment"].value_counts().sort_index().to_dict(),
        # count of the most frequent emotion / that of the least frequent
        "imbalance": float(emotions.max() / emotions.min()) if len(emotions) else None,
        **{
            name: _label_counts(cast("pd.Series", part[name]).dropna()) for name in part if name not in SCHEMA.names
        },
    }


def _label_counts(values: pd.Series) -> dict[str, int]:
    """Utterances with each word of a corpus's further labels; of numbers and votes those that have any."""
    words = values.map(lambda value: list(value) if isinstance(value, tuple) else [value]).explode()
    if not words.map(lambda word: isinstance(word, str)).all():
        return {"labelled": len(values)}
    return {"labelled": len(values), **words.value_counts().sort_index().to_dict()}


def _sentence(part: dict[str, Any]) -> str:
    missing = ", ".join(f"{part['status'][m].get(MISSING, 0)} without {m}" for m in MODALITIES)
    return f"{part['utterances']} utterances in {part['dialogues']} dialogues; {missing}"
