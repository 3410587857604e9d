"""The manifest: a table with one row per utterance, written by extract; later files refer to it by row order."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from merc.runtime.errors import UserError
from merc.runtime.params import LOADER

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "dev", "test")
MODALITIES = ("text", "audio", "vision")
FRAMES_RATE = "frames/rate.json"  # in the manifest's folder, if extract.video.fps is above 0
MISSING = "missing"  # status of a modality without data; a modality with any other status can be encoded

SCHEMA = pa.schema(
    [
        ("corpus", pa.string()),
        ("split", pa.string()),
        ("dialogue", pa.string()),  # unique within corpus and split; rows of a dialogue are contiguous
        ("turn", pa.int32()),  # position within the dialogue, from 0, without gaps
        ("utterance", pa.string()),  # unique within corpus and split; MELD: dia<D>_utt<U>; names the files
        ("group", pa.string()),  # unit of resampling (bootstrap); unique across splits
        ("speaker", pa.string()),
        ("text", pa.string()),
        ("emotion", pa.string()),  # the corpus's own labels, or null
        ("sentiment", pa.string()),
        ("source", pa.string()),  # recording that start and end refer to, unique within the corpus, or null
        ("intensity", pa.string()),  # normal or strong, or null if the corpus has none
        ("start", pa.float64()),  # seconds in the source, or null
        ("end", pa.float64()),
        ("clip", pa.string()),  # source clip below data/raw/<corpus>, or null
        ("wav", pa.string()),  # below the manifest's folder, or null: audio/dia0_utt0.wav
        # seconds in the clip, on the clock of the tracks, at which the wav begins: 0 if not trimmed
        ("wav_start", pa.float64()),
        ("frame", pa.string()),  # frames/dia0_utt0.jpg
        ("tracks", pa.string()),  # tracks/dia0_utt0.safetensors
        # one entry per whitespace-separated word of the text, in seconds of the clip, null for a word without
        # times; the whole list is null without forced alignment
        ("words", pa.list_(pa.struct([("word", pa.string()), ("start", pa.float64()), ("end", pa.float64())]))),
        # ok; comma-joined flags (truncated, padded, repaired, no_face ...); or missing
        *[(f"{modality}_status", pa.string()) for modality in MODALITIES],
        *[(f"{modality}_reason", pa.string()) for modality in MODALITIES],  # human-readable; "" when ok
    ]
)


def split_folder(split: str, corpus: str) -> Path:
    """Output folder of extract for one split of a corpus."""
    return Path("out/extract") / split / corpus


def write_manifest(path: Path, rows: pd.DataFrame) -> None:
    """Write the manifest: the columns of the schema, then the corpus's further labels, typed by what they hold."""
    words = rows["words"].astype(object)  # a column of nulls only may be numeric, not lists
    rows = rows.assign(words=words.where(words.notna(), None))
    labels = [
        pa.field(str(name), _label_type(cast("pd.Series", rows[name]))) for name in rows if name not in SCHEMA.names
    ]
    schema = pa.schema([*SCHEMA, *labels])
    table = pa.Table.from_pandas(rows, schema=schema, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(table, path)


def _label_type(values: pd.Series) -> pa.DataType:
    """How a column of labels is stored: words, numbers, lists of words, or votes by word; nulls alone as null."""
    kinds = {_LABEL_TYPES.get(type(value), pa.float64()) for value in values.dropna()}
    if len(kinds) > 1:
        raise ValueError(f"{values.name}: {' and '.join(sorted(map(str, kinds)))} in one column of labels")
    return kinds.pop() if kinds else pa.null()


_WORDS = pa.list_(pa.string())
_LABEL_TYPES = {str: pa.string(), tuple: _WORDS, list: _WORDS, dict: pa.map_(pa.string(), pa.float64())}


def read_manifests(split: str, corpora: list[str]) -> pd.DataFrame:
    """Read and concatenate the manifests of the corpora, in the given order."""
    import pandas as pd

    frames = [_read_corpus(split_folder(split, corpus) / "manifest.parquet") for corpus in corpora]
    return pd.concat(frames, ignore_index=True)


def _read_corpus(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"{path}: not there; run `dvc repro extract`")
    labels = [field for field in pq.read_schema(path) if field.name not in SCHEMA.names]
    return pq.read_table(path, schema=pa.schema([*SCHEMA, *labels])).to_pandas()


def check_corpora(corpora: list[str]) -> list[str]:
    """Validate data.corpora and return it: at least one, each once.

    What extract and encode left of other corpora is removed, as later stages depend on the whole folders. Only what
    dvc.lock names: DVC's cache has it, and `dvc repro` brings it back once the corpus is named again.
    """
    if not corpora:
        raise UserError("params.yaml: data.corpora = []: name at least one corpus (docs/data.md)")
    if twice := [corpus for corpus, count in Counter(corpora).items() if count > 1]:
        named = ", ".join(corpora)
        raise UserError(f"params.yaml: data.corpora = [{named}]: {twice[0]} stands twice; name it once")
    if stale := _outputs_of_others(corpora):
        outputs = _locked_outputs()
        if unknown := [path for path in stale if path.as_posix() not in outputs]:
            remove = " ".join(map(str, unknown))
            raise UserError(f"out: holds what data.corpora does not name any more; remove it: rm -r {remove}")
        for path in stale:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        names = ", ".join(sorted({path.name.split(".")[0] for path in stale}))
        print(f"merc: removed the outputs of {names}, which data.corpora does not name any more", file=sys.stderr)
    return corpora


def _outputs_of_others(corpora: list[str]) -> list[Path]:
    """Outputs of extract and encode of corpora that are not named, in folders that later stages depend on."""
    folders = [Path("out") / stage / split for stage in ("extract", "encode") for split in SPLITS]
    paths = sorted(path for folder in folders if folder.is_dir() for path in folder.iterdir())
    return [path for path in paths if path.name.split(".")[0] not in corpora]


def _locked_outputs() -> set[str]:
    """The paths of all outputs in dvc.lock."""
    file = Path("dvc.lock")
    lock = yaml.load(file.read_text(encoding="utf-8"), LOADER) if file.is_file() else {}
    return {out["path"] for stage in lock.get("stages", {}).values() for out in stage.get("outs", [])}


def rows_digest(manifest: pd.DataFrame) -> str:
    """SHA-256 of the row ids in order: tables with equal digests can be joined by row number."""
    ids = manifest["corpus"] + "/" + manifest["split"] + "/" + manifest["dialogue"] + "/" + manifest["utterance"]
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def wav_start(row: Any) -> float:
    """Seconds in the clip at which a row's wav begins."""
    import pandas as pd

    return 0.0 if pd.isna(row.wav_start) else float(row.wav_start)


def is_present(manifest: pd.DataFrame, modality: str) -> pd.Series:
    """(N,) bool: rows that have the modality."""
    return cast("pd.Series", manifest[f"{modality}_status"] != MISSING)
