"""What extraction found: every item that is not plainly there, counts, the corpus's statistics."""

from pathlib import Path
from typing import Any

import pandas as pd

from merc.corpora import Listing
from merc.manifest import MISSING, MODALITIES, SPLITS

FLAGS = ("truncated", "padded", "repaired", "damaged", "no_face", "no_speech", "trimmed", "unaligned")
SECONDS_STEP = 0.5  # of the histogram of lengths
SAMPLES = 3  # utterances named per split, so that a reader of the report knows what a name looks like


def report(manifest: pd.DataFrame, listing: Listing) -> dict[str, Any]:
    """Everything worth knowing, item by item."""
    return {
        "splits": {split: _split(part) for split, part in _parts(manifest)},
        "items": _items(manifest),
        "decided": listing.decided,
        "ignored": listing.ignored,
    }


def metrics(manifest: pd.DataFrame) -> dict[str, Any]:
    """The counts that `dvc metrics` shows."""
    return {split: _counts(part) for split, part in _parts(manifest)}


def summary(found: dict[str, Any]) -> str:
    """The report in a few lines."""
    lines = [f"extract: {split}: {_sentence(part)}" for split, part in found["splits"].items()]
    notes = {"not plainly ok": found["items"], "decided": found["decided"], "ignored": found["ignored"]}
    return "\n".join([*lines, "extract: " + ", ".join(f"{len(items)} {name}" for name, items in notes.items())])


def tables(manifest: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What is plotted: classes by split, emotion against sentiment (an utterance a row), lengths."""
    labelled = manifest.dropna(subset=["emotion", "sentiment"])
    classes = manifest.dropna(subset=["emotion"]).groupby(["split", "emotion"]).size()
    seconds = ((manifest["end"] - manifest["start"]).clip(lower=0) // SECONDS_STEP * SECONDS_STEP).dropna()
    lengths = seconds.groupby([manifest["split"], seconds.rename("seconds")]).size()
    return {
        "classes": classes.rename("utterances").reset_index(),
        "emotion_sentiment": labelled[["emotion", "sentiment"]],
        "lengths": lengths.rename("utterances").reset_index(),
    }


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write CSV; floats are bin edges."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, float_format="%.1f", lineterminator="\n")


def _parts(manifest: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(split, manifest[manifest["split"] == split]) for split in SPLITS]


def _split(part: pd.DataFrame) -> dict[str, Any]:
    return {
        "utterances": len(part),
        "dialogues": part["dialogue"].nunique(),
        "status": {m: part[f"{m}_status"].value_counts().sort_index().to_dict() for m in MODALITIES},
        "samples": part["utterance"].head(SAMPLES).tolist(),
    }


def _items(manifest: pd.DataFrame) -> list[dict[str, str]]:
    """Every utterance and medium whose status is not ok."""
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
    flags = pd.concat([part[f"{m}_status"] for m in MODALITIES]).str.split(",").explode()
    return {
        "utterances": len(part),
        "dialogues": part["dialogue"].nunique(),
        "missing": {m: int((part[f"{m}_status"] == MISSING).sum()) for m in MODALITIES},
        "flags": {flag: int((flags == flag).sum()) for flag in FLAGS},
        "emotion": emotions.sort_index().to_dict(),
        "sentiment": part["sentiment"].value_counts().sort_index().to_dict(),
        # the most frequent emotion by the least frequent
        "imbalance": float(emotions.max() / emotions.min()) if len(emotions) else None,
    }


def _sentence(part: dict[str, Any]) -> str:
    missing = ", ".join(f"{part['status'][m].get(MISSING, 0)} without {m}" for m in MODALITIES)
    return f"{part['utterances']} utterances in {part['dialogues']} dialogues; {missing}"
