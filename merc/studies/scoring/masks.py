"""`python -m merc masks`: the fixed masks of evaluate as a table, so that other systems can use them."""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from merc.data.records.manifest import MODALITIES, SPLITS
from merc.evaluation import missing_modalities
from merc.runtime import output_paths
from merc.runtime.errors import CommandLine, UserError
from merc.studies.scoring import protocols
from merc.studies.scoring.protocols import CONDITIONS, MASK_SEED
from merc.studies.scoring.reference import Reference, read_reference


def masks(*words: str) -> None:
    """Write a row per condition and utterance: whether each modality may be used (1) or is hidden (0)."""
    parser = CommandLine(
        prog="python -m merc masks",
        description="Write the fixed missing-modality masks of a corpus (docs/score.md).",
    )
    parser.add_argument("--corpus", required=True, help=", ".join(protocols.PROTOCOLS))
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="a .csv or .parquet")
    options = parser.parse_args(words)
    if options.out.suffix not in (".csv", ".parquet"):
        raise UserError(f"--out {options.out}: name a .csv or a .parquet file")
    output_paths.check_file("--out", options.out)
    protocol = protocols.protocol(options.corpus)
    reference = read_reference(protocol, options.split, protocols.labels_of(protocol))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    _write(options.out, reference)
    rows = len(reference.manifest)
    print(
        f"{options.out}: {len(CONDITIONS)} conditions of {rows} utterances, mask seed {MASK_SEED}", file=sys.stderr
    )


def _write(path: Path, reference: Reference) -> None:
    """A condition at a time: all of a large corpus's masks at once would not fit into memory."""
    tables = _tables(reference)
    first = next(tables)
    writer = pq.ParquetWriter if path.suffix == ".parquet" else pa_csv.CSVWriter
    with writer(path, first.schema) as file:
        for table in itertools.chain([first], tables):
            file.write_table(table)


def _tables(reference: Reference) -> Iterator[pa.Table]:
    manifest = reference.manifest
    ids = {name: pa.array(manifest[name], pa.string()) for name in ("dialogue", "utterance")}
    for condition in CONDITIONS:
        mask = missing_modalities.condition_mask(condition, manifest, MODALITIES, MASK_SEED)
        columns = {"condition": pa.repeat(condition, len(manifest)), **ids}
        yield pa.table(
            columns | {m: pa.array(mask[:, column].astype("int8")) for column, m in enumerate(MODALITIES)}
        )
