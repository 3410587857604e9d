"""Ground truth of the synthetic corpus: what its generator knows of every utterance; empty for real corpora."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from merc.data.records import manifest as manifests
from merc.runtime.errors import UserError

_BOX = [("left", pa.int32()), ("top", pa.int32()), ("width", pa.int32()), ("height", pa.int32())]

SCHEMA = pa.schema(
    [
        ("utterance", pa.string()),  # as in the manifest
        ("informative", pa.list_(pa.string())),  # modalities that show the emotion; empty if it is neutral
        # character spans of the manifest's text that express the emotion; empty if the text does not
        ("words", pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32())]))),
        ("boxes", pa.list_(pa.struct([("character", pa.int32()), *_BOX]))),  # faces at rest, source pixels
        ("speaker_face", pa.int32()),  # index into boxes
        ("region", pa.struct(_BOX)),  # part of the picture that shows the emotion; null if none does
        ("mouth", pa.list_(pa.float32())),  # the speaker's mouth, 0 shut to 1 open, 25 times a second
        ("faces", pa.int32()),  # number of faces
    ]
)


def write_truth(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write one table; `rows` may be empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)


def read_truth_file(path: Path) -> pd.DataFrame:
    """Read one table; nested columns are lists of dicts."""
    if not path.is_file():
        raise UserError(f"{path}: not there; run `dvc repro`")
    rows = pq.read_table(path, schema=SCHEMA).to_pylist()
    return pd.DataFrame(rows, columns=SCHEMA.names)


def read_truth(split: str, corpora: list[str]) -> pd.DataFrame:
    """Read the truth of the corpora of a split, with a first column `corpus`; join by corpus and utterance."""
    frames = [_read_corpus(split, corpus) for corpus in corpora]
    return pd.concat(frames, ignore_index=True)


def _read_corpus(split: str, corpus: str) -> pd.DataFrame:
    frame = read_truth_file(manifests.split_folder(split, corpus) / "truth.parquet")
    frame.insert(0, "corpus", corpus)
    return frame
