"""The media of an utterance, as small files of its own or as ranges of bytes in shards: `data.shards` says which.

A column of the manifest holds `audio/dia0_utt0.wav`, or `shards/00000.tar@1536+32044`: shard, offset, length. A
shard is a plain tar of whole utterances in the manifest's order, each as its small files, with nothing in it of the
time or the machine that wrote it. Whoever reads media reads them here.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from merc.runtime.errors import UserError
from merc.runtime.results import recreate_folder

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("wav", "tracks", "frame")  # of the manifest, in the order of a shard
SHARDS = "shards"
MEGABYTE = 1_000_000
RANGE = re.compile(r"(.+\.tar)@(\d+)\+(\d+)")


def open_media(folder: Path, name: str) -> Path | BinaryIO:
    """What libraries open: the small file's path, or the bytes in a shard."""
    return io.BytesIO(read_media(folder, name)) if _is_in_shard(name) else folder / name


def read_media(folder: Path, name: str) -> bytes:
    """The bytes of a medium, which a column of the manifest in this folder names."""
    if not _is_in_shard(name):
        return (folder / name).read_bytes()
    path, offset, length = _location(folder, name)
    with _open_shard(path) as file:
        return _read_range(file, path, offset, length)


def media_size(folder: Path, name: str) -> int | None:
    """Bytes of a medium; None if it is not there."""
    if _is_in_shard(name):
        return _location(folder, name)[2]
    return (folder / name).stat().st_size if (folder / name).is_file() else None


def open_series(folder: Path, frame: str, utterance: str) -> list[Path] | list[BinaryIO]:
    """An utterance's pictures at extract.video.fps, in order: in a shard they follow its frame."""
    if not _is_in_shard(frame):
        return _series(folder, frame, utterance)
    path, offset, length = _location(folder, frame)
    return [io.BytesIO(content) for content in _following(path, offset + length, f"frames/{utterance}/")]


def write_shards(small_files: Path, target: Path, rows: pd.DataFrame, megabytes: int) -> pd.DataFrame:
    """Write the small files of a manifest's rows into shards of at least that size, but for the last one.

    The small files stay. Returns the rows with the places of their media in the shards, which are below `target`.
    """
    import pandas as pd

    recreate_folder(target / SHARDS)
    places: dict[str, list[str | None]] = {column: [] for column in COLUMNS}
    remaining, number = cast("Iterator[Any]", rows.itertuples()), 0
    while len(places["wav"]) < len(rows):
        with tarfile.open(target / SHARDS / f"{number:05}.tar", "w", format=tarfile.GNU_FORMAT) as archive:
            for row in remaining:
                for column in COLUMNS:
                    name = getattr(row, column)
                    places[column].append(_add(archive, small_files, name) if isinstance(name, str) else None)
                for name in _series(small_files, row.frame, row.utterance) if isinstance(row.frame, str) else ():
                    _add(archive, small_files, name.relative_to(small_files).as_posix())
                if archive.offset >= megabytes * MEGABYTE:
                    break
        number += 1
    return rows.assign(**{column: pd.Series(values, rows.index, object) for column, values in places.items()})


def _add(archive: tarfile.TarFile, folder: Path, name: str) -> str:
    """Append a small file; returns its place as the manifest has it."""
    member, content = tarfile.TarInfo(name), (folder / name).read_bytes()
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
    end = archive.offset  # of the whole blocks that the content fills
    start = end - -(-len(content) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    return f"{SHARDS}/{Path(str(archive.name)).name}@{start}+{len(content)}"


def _series(folder: Path, frame: str, utterance: str) -> list[Path]:
    return sorted((folder / frame).with_name(utterance).glob("*.jpg"))


def _is_in_shard(name: str) -> bool:
    return RANGE.fullmatch(name) is not None


def _location(folder: Path, name: str) -> tuple[Path, int, int]:
    """Path of the shard, offset and length."""
    shard, offset, length = cast("re.Match[str]", RANGE.fullmatch(name)).groups()
    return folder / shard, int(offset), int(length)


def _open_shard(path: Path) -> BinaryIO:
    if not path.is_file():
        raise UserError(f"{path}: not there, though the manifest beside it names it; run `dvc repro extract`")
    return path.open("rb")


def _read_range(file: BinaryIO, path: Path, offset: int, length: int) -> bytes:
    file.seek(offset)
    if len(content := file.read(length)) < length:
        raise _cut_off(path)
    return content


def _cut_off(path: Path) -> UserError:
    return UserError(
        f"{path}: is cut off after {path.stat().st_size:,} bytes; remove it, then dvc checkout or dvc repro extract"
    )


def _following(path: Path, offset: int, prefix: str) -> Iterator[bytes]:
    """The contents of the members of a shard from the first block after an offset on, as long as they begin so."""
    with _open_shard(path) as file:
        file.seek(-(-offset // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE)
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                for member in archive:
                    if not member.name.startswith(prefix):
                        return
                    yield cast("IO[bytes]", archive.extractfile(member)).read()
        except tarfile.ReadError:
            raise _cut_off(path) from None
