"""python -m merc features --to json|npz|parquet [<folder>]: our packs as files that `imported` and others read."""

import json
import zipfile
from collections.abc import Callable, Iterator
from itertools import chain, islice, product
from pathlib import Path

import numpy as np

from merc import manifest as manifests
from merc import packs, params
from merc.encoders.formats import keys
from merc.packs import Pack
from merc.problem import Problem

FOLDER = Path("out/features")  # nobody's declared output
USAGE = "usage: python -m merc features --to json|npz|parquet [<folder>]"
WORDS = {"text": "text", "audio": "audio", "vision": "visual"}  # as the field names its files
ROWS = 500  # utterances of a parquet file's row group

Entries = Iterator[tuple[str, np.ndarray]]  # utterance -> (width,), or (steps, width) where steps are many


def command(*words: str) -> None:
    """Write every pack as <folder>/<corpus>/<split>_features/<modality>_features.<format>."""
    kind, place = _asked(list(words))
    for corpus, modality, split in product(
        params.read("data.corpora", list[str]), manifests.MODALITIES, manifests.SPLITS
    ):
        file = place / corpus / f"{split}_features" / f"{WORDS[modality]}_features.{kind}"
        rows = manifests.read(split, [corpus])
        pack = packs.read(packs.path(split, corpus, modality), rows)
        names = _checked(rows["utterance"].tolist(), f"{split}/{corpus}")
        count = int(pack.present.sum())
        if count:
            _write(file, kind, pack, names)
        print(f"{file}: {count} of {len(rows)} utterances" + ("" if count else ": not written"))


def _asked(words: list[str]) -> tuple[str, Path]:
    if len(words) not in (2, 3) or "--to" not in words[:-1]:
        raise Problem(USAGE)
    kind = words.pop(words.index("--to") + 1)
    words.remove("--to")
    if kind not in WRITERS:
        raise Problem(f"features: --to {kind}: choose one of {', '.join(WRITERS)}")
    return kind, Path(words[0]) if words else FOLDER


def _checked(names: list[str], where: str) -> list[str]:
    """The same names; refuses those that a reader would take for something else, or for each other."""
    seen: dict[str, str] = {}
    for name in names:
        split, part, read = keys.placed(tuple(keys.parts_of(name)))
        if split or part or not read:
            raise Problem(f"features: {where}: utterance {name!r}: reads as a split or a folder; rename it")
        if seen.setdefault(read, name) != name:
            raise Problem(f"features: {where}: utterances {seen[read]!r} and {name!r} read alike; rename one")
    return names


def _write(file: Path, kind: str, pack: Pack, names: list[str]) -> None:
    """Aside, then renamed: what has its name is whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(".aside")
    WRITERS[kind](aside, _entries(pack, names))
    aside.replace(file)


def _entries(pack: Pack, names: list[str]) -> Entries:
    """Of the utterances that are present; vectors if every one of them has a single step."""
    single = (np.diff(pack.offsets)[pack.present] == 1).all()
    for index in np.flatnonzero(pack.present):
        array = pack.utterance(index)
        yield names[index], array[0] if single else array


def _json(file: Path, entries: Entries) -> None:
    with file.open("w", encoding="utf-8") as opened:
        before = "{"
        for name, array in entries:
            opened.write(f"{before}\n{json.dumps(name)}: {json.dumps(array.tolist())}")
            before = ","
        opened.write("\n}\n")


def _npz(file: Path, entries: Entries) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in entries:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def _parquet(file: Path, entries: Entries) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = next(entries)
    vector = pa.list_(pa.float32())
    kind = vector if first[1].ndim == 1 else pa.list_(vector)
    schema = pa.schema([("utterance", pa.string()), ("features", kind)])
    waiting = chain([first], entries)
    with pq.ParquetWriter(file, schema) as writer:
        while rows := list(islice(waiting, ROWS)):
            names, arrays = zip(*rows, strict=True)
            wide = [one.astype(np.float32) for one in arrays]
            columns = [list(names), pa.array([one if one.ndim == 1 else list(one) for one in wide], kind)]
            writer.write_table(pa.table(columns, schema=schema))


WRITERS: dict[str, Callable[[Path, Entries], None]] = {"json": _json, "npz": _npz, "parquet": _parquet}
