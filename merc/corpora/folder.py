"""A corpus of one's own: recordings and one table, `utterances.csv`; docs/data.md shows how."""

import csv
import io
import math
import re
from dataclasses import dataclass
from pathlib import Path

from merc import text
from merc.corpora import Listing, Utterance
from merc.decoding import Window
from merc.labels import FOLDER_EMOTIONS, MELD_SENTIMENTS
from merc.manifest import SPLITS
from merc.params import Strict
from merc.problem import Problem

TABLE = "utterances.csv"
NEEDED = ("split", "clip")
OPTIONAL = ("dialogue", "utterance", "speaker", "text", "emotion", "sentiment", "start", "end")
ID = re.compile(r"[^\W_][\w.\- ]{0,99}")  # names files


class Options(Strict):
    """Section `data.folder` of params.yaml: none."""


@dataclass(frozen=True)
class _Row:
    line: int
    cells: dict[str, str]
    path: Path  # of the table

    def wrong(self, column: str, remedy: str) -> Problem:
        return Problem(f"{self.path} line {self.line}: {column} = {self.cells[column]!r}: {remedy}")


def read(folder: Path, scratch: Path, options: Options) -> Listing:
    """The table's rows, a dialogue's in the order in which they stand."""
    rows = _rows(folder / TABLE)
    seen: dict[tuple[str, str], _Row] = {}
    splits: dict[str, _Row] = {}
    dialogues: dict[tuple[str, str], list[Utterance]] = {}
    for row in rows:
        one = _utterance(row, folder)
        first = seen.setdefault((one.split, one.name), row)
        if first is not row:
            raise row.wrong("utterance" if row.cells["utterance"] else "clip", _twice(one, first))
        if splits.setdefault(one.dialogue, row).cells["split"] != one.split:
            raise row.wrong("dialogue", f"is in {splits[one.dialogue].cells['split']} too; keep it in one split")
        dialogues.setdefault((one.split, one.dialogue), []).append(one)
    ordered = sorted(dialogues, key=lambda key: SPLITS.index(key[0]))
    return Listing([one for key in ordered for one in dialogues[key]])


def _twice(one: Utterance, first: _Row) -> str:
    return f"the utterance {one.name} stands in line {first.line} already; name each once (column utterance)"


def _rows(path: Path) -> list[_Row]:
    if not path.is_file():
        raise Problem(f"{path}: not there; write it with the columns {', '.join(NEEDED + OPTIONAL)} (docs/data.md)")
    reader = csv.DictReader(io.StringIO(text.decode(path.read_bytes()), newline=""))
    reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or []]
    if missing := [name for name in NEEDED if name not in reader.fieldnames]:
        raise Problem(f"{path}: lacks the columns {', '.join(missing)}; needed are {', '.join(NEEDED)}")
    if unknown := [name for name in reader.fieldnames if name not in NEEDED + OPTIONAL]:
        raise Problem(f"{path}: column {unknown[0]!r} is unknown; known are {', '.join(NEEDED + OPTIONAL)}")
    rows = [
        _Row(reader.line_num, {name: (cells.get(name) or "").strip() for name in NEEDED + OPTIONAL}, path)
        for cells in reader
    ]
    if not rows:
        raise Problem(f"{path}: has no rows; write one for each utterance")
    return rows


def _utterance(row: _Row, folder: Path) -> Utterance:
    cells, clip = row.cells, _clip(row, folder)
    window = _window(row)
    name = _id(row, "utterance", clip.stem if window is None else f"{clip.stem}_{row.line}")
    dialogue = _id(row, "dialogue", name)
    words, count = text.repair(cells["text"])
    return Utterance(
        split=_one_of(row, "split", SPLITS),
        dialogue=dialogue,
        name=name,
        group=f"folder/{cells['split']}/{dialogue}",
        speaker=cells["speaker"],
        text=words,
        emotion=_one_of(row, "emotion", FOLDER_EMOTIONS) if cells["emotion"] else None,
        sentiment=_one_of(row, "sentiment", MELD_SENTIMENTS) if cells["sentiment"] else None,
        start=window and window.start,
        end=window and window.end,
        source=window and clip.relative_to(folder).as_posix(),
        media=clip,
        clip=clip.relative_to(folder).as_posix(),
        window=window,
        text_flags=("repaired",) if count else (),
        text_reason=f"{count} characters read as cp1252" if count else "",
    )


def _clip(row: _Row, folder: Path) -> Path:
    name = row.cells["clip"]
    path = folder / name
    if not name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise row.wrong("clip", f"write a path below {folder}")
    if not path.is_file():
        raise row.wrong("clip", f"{path} is not there; bring the file or take the row out")
    return path


def _id(row: _Row, column: str, otherwise: str) -> str:
    name = row.cells[column] or otherwise
    if not ID.fullmatch(name):
        source = column if row.cells[column] else "clip"
        raise row.wrong(source, f"{name!r} is to name files: write letters, digits, '.', '-', '_' in {column}")
    return name


def _window(row: _Row) -> Window | None:
    if not row.cells["start"] and not row.cells["end"]:
        return None
    start, end = (_seconds(row, column) for column in ("start", "end"))
    if not start < end:
        raise row.wrong("end", f"is not after start = {row.cells['start']}; write seconds within the clip")
    return Window(start, end)


def _seconds(row: _Row, column: str) -> float:
    try:
        value = float(row.cells[column])
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise row.wrong(column, "write seconds within the clip in both start and end, or leave both empty")
    return value


def _one_of(row: _Row, column: str, known: tuple[str, ...]) -> str:
    if row.cells[column] not in known:
        raise row.wrong(column, f"write one of {', '.join(known)}" + ("" if column == "split" else ", or nothing"))
    return row.cells[column]
