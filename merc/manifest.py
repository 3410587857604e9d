"""The manifest: one row an utterance, written by extract, joined by row order everywhere else."""

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from merc.problem import Problem

SPLITS = ("train", "dev", "test")
MODALITIES = ("text", "audio", "vision")
FRAMES_RATE = "frames/rate.json"  # below the manifest's folder, where extract.video.fps is above 0
MISSING = "missing"  # the status of a modality that has nothing to encode; any other status can be encoded

SCHEMA = pa.schema(
    [
        ("corpus", pa.string()),
        ("split", pa.string()),
        ("dialogue", pa.string()),  # unique within corpus and split; rows of a dialogue are contiguous
        ("turn", pa.int32()),  # position within the dialogue, from 0, without gaps
        ("utterance", pa.string()),  # unique within corpus and split; MELD: dia<D>_utt<U>; names the files
        ("group", pa.string()),  # what is resampled; unique across splits
        ("speaker", pa.string()),
        ("text", pa.string()),
        ("emotion", pa.string()),  # the corpus's own labels, or null
        ("sentiment", pa.string()),
        ("source", pa.string()),  # recording that start and end are seconds of, unique within the corpus, or null
        ("intensity", pa.string()),  # normal or strong, where a corpus says so; else null
        ("start", pa.float64()),  # seconds in the source, or null
        ("end", pa.float64()),
        ("clip", pa.string()),  # source clip below data/raw/<corpus>, or null
        ("wav", pa.string()),  # below the manifest's folder, or null: audio/dia0_utt0.wav
        # seconds of the clip, on the clock of the tracks, at which the wav begins: 0 if it was not trimmed
        ("wav_start", pa.float64()),
        ("frame", pa.string()),  # frames/dia0_utt0.jpg
        ("tracks", pa.string()),  # tracks/dia0_utt0.safetensors
        # one entry per word of the text (what stands between white space), seconds of the clip, null for a word
        # that has no time; null as a whole without forced alignment
        ("words", pa.list_(pa.struct([("word", pa.string()), ("start", pa.float64()), ("end", pa.float64())]))),
        # ok; what was done to it (comma-joined: truncated, padded, repaired, no_face ...); or missing
        *[(f"{modality}_status", pa.string()) for modality in MODALITIES],
        *[(f"{modality}_reason", pa.string()) for modality in MODALITIES],  # in words; "" when ok
    ]
)


def folder(split: str, corpus: str) -> Path:
    """Where extract leaves a corpus's split."""
    return Path("out/extract") / split / corpus


def write(path: Path, rows: pd.DataFrame) -> None:
    """Write the manifest with exactly the schema's columns."""
    words = rows["words"].astype(object)  # a column of nulls alone may come as numbers, which are no lists
    rows = rows.assign(words=words.where(words.notna(), None))
    table = pa.Table.from_pandas(rows, schema=SCHEMA, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(table, path)


def read(split: str, corpora: list[str]) -> pd.DataFrame:
    """The manifests of the named corpora, one after another, in the order named."""
    frames = [_read_one(folder(split, corpus) / "manifest.parquet") for corpus in corpora]
    return pd.concat(frames, ignore_index=True)


def _read_one(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise Problem(f"{path}: not there; run `dvc repro extract`")
    return pq.read_table(path, schema=SCHEMA).to_pandas()


def only(corpora: list[str]) -> list[str]:
    """The same corpora; refuses none at all, and what extract and encode left of others, which DVC would hash."""
    if not corpora:
        raise Problem("params.yaml: data.corpora = []: name at least one corpus (docs/data.md)")
    for parent in (Path("out") / stage / split for stage in ("extract", "encode") for split in SPLITS):
        left = (
            [path for path in parent.iterdir() if path.name.split(".")[0] not in corpora] if parent.is_dir() else []
        )
        if left:
            remove = " ".join(sorted(map(str, left)))
            raise Problem(f"{parent}: holds what data.corpora does not name any more; remove it: rm -r {remove}")
    return corpora


def digest(manifest: pd.DataFrame) -> str:
    """A digest of the row ids in order: two tables with equal digests can be joined by row number."""
    ids = manifest["corpus"] + "/" + manifest["split"] + "/" + manifest["dialogue"] + "/" + manifest["utterance"]
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def wav_start(row: Any) -> float:
    """Seconds of the clip at which a row's wav begins."""
    return 0.0 if pd.isna(row.wav_start) else float(row.wav_start)


def present(manifest: pd.DataFrame, modality: str) -> pd.Series:
    return manifest[f"{modality}_status"] != MISSING
