"""python -m merc features: writes the feature packs as json, npz or parquet, which encoders `imported/...` read."""

import json
import zipfile
from collections.abc import Callable, Iterator
from itertools import chain, islice, product
from pathlib import Path

import numpy as np

from merc.data.records import manifest as manifests
from merc.data.records import packs
from merc.data.records.packs import Pack
from merc.encoders.imported.formats import keys
from merc.runtime import output_paths, params
from merc.runtime.errors import CommandLine, UserError

FOLDER = Path("out/features")  # not an output of the DVC pipeline
FILE_NAMES = {"text": "text", "audio": "audio", "vision": "visual"}  # as is usual in published data sets
ROW_GROUP_SIZE = 500  # utterances in a row group of a parquet file

Entries = Iterator[tuple[str, np.ndarray]]  # utterance, features (width,), or (steps, width) of sequences


def command(*words: str) -> None:
    """Write every pack as <folder>/<corpus>/<split>_features/<modality>_features.<format>."""
    parser = CommandLine(
        "python -m merc features",
        usage="python -m merc features --to json|npz|parquet [<folder>]",
        description="Write the features of `encode` as files that other programs read.",
    )
    parser.add_argument("--to", required=True, metavar="FORMAT", help=", ".join(WRITERS))
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help=f"folder to write to ({FOLDER})")
    arguments = parser.parse_args(words)
    if arguments.to not in WRITERS:
        raise UserError(f"features: --to {arguments.to}: choose one of {', '.join(WRITERS)}")
    output_paths.check_folder("features:", arguments.folder)
    for corpus, modality, split in product(
        params.read("data.corpora", list[str]), manifests.MODALITIES, manifests.SPLITS
    ):
        folder = arguments.folder / corpus / f"{split}_features"
        path = folder / f"{FILE_NAMES[modality]}_features.{arguments.to}"
        rows = manifests.read_manifests(split, [corpus])
        pack = packs.read_pack(packs.pack_path(split, corpus, modality), rows)
        names = _checked_names(rows["utterance"].tolist(), f"{split}/{corpus}")
        count = int(pack.present.sum())
        if count:
            _write(path, arguments.to, pack, names)
        print(f"{path}: {count} of {len(rows)} utterances" + ("" if count else ": not written"))


def _checked_names(names: list[str], source: str) -> list[str]:
    """The names; refuse those that a reader of `imported` would take for a split, a folder or each other."""
    name_by_key: dict[str, str] = {}
    for name in names:
        split, part, key = keys.split_part_and_name(tuple(keys.path_components(name)))
        if split or part or not key:
            raise UserError(f"features: {source}: utterance {name!r}: reads as a split or a folder; rename it")
        if name_by_key.setdefault(key, name) != name:
            raise UserError(
                f"features: {source}: utterances {name_by_key[key]!r} and {name!r} read alike; rename one"
            )
    return names


def _write(path: Path, kind: str, pack: Pack, names: list[str]) -> None:
    """Write atomically, by a temporary file that is renamed when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".aside")
    WRITERS[kind](temporary, _entries(pack, names))
    temporary.replace(path)


def _entries(pack: Pack, names: list[str]) -> Entries:
    """Features of the utterances that are present, as vectors if each has a single step."""
    is_vector = (np.diff(pack.offsets)[pack.present] == 1).all()
    for index in np.flatnonzero(pack.present):
        array = pack.utterance(index)
        yield names[index], array[0] if is_vector else array


def _json(path: Path, entries: Entries) -> None:
    with path.open("w", encoding="utf-8") as file:
        separator = "{"
        for name, array in entries:
            file.write(f"{separator}\n{json.dumps(name)}: {json.dumps(array.tolist())}")
            separator = ","
        file.write("\n}\n")


def _npz(path: Path, entries: Entries) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in entries:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def _parquet(path: Path, entries: Entries) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = next(entries)
    vector = pa.list_(pa.float32())
    kind = vector if first[1].ndim == 1 else pa.list_(vector)
    schema = pa.schema([("utterance", pa.string()), ("features", kind)])
    entries = chain([first], entries)
    with pq.ParquetWriter(path, schema) as writer:
        while rows := list(islice(entries, ROW_GROUP_SIZE)):
            names, arrays = zip(*rows, strict=True)
            arrays = [array.astype(np.float32) for array in arrays]
            columns = [list(names), pa.array([array if array.ndim == 1 else list(array) for array in arrays], kind)]
            writer.write_table(pa.table(columns, schema=schema))


WRITERS: dict[str, Callable[[Path, Entries], None]] = {"json": _json, "npz": _npz, "parquet": _parquet}
