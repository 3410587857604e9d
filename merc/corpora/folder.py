"""Reader of a user's own corpus: recordings and a table `utterances.csv`, described in docs/data.md."""

import csv
import io
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from merc.data.records import transcripts
from merc.data.records.labels import FOLDER_EMOTIONS, MELD_SENTIMENTS
from merc.data.records.listing import Listing, Utterance, Window
from merc.data.records.manifest import SPLITS
from merc.runtime.errors import UserError
from merc.runtime.params import StrictModel

TABLE = "utterances.csv"
REQUIRED = ("split", "clip")
OPTIONAL = ("dialogue", "utterance", "speaker", "text", "emotion", "sentiment", "start", "end")
ID_PATTERN = re.compile(r"[^\W_][\w.\- ]{0,99}")  # used in file names


class Options(StrictModel):
    """Section `data.folder` of params.yaml; {} is right where all rows have a text."""

    # what writes down rows without a text (extraction), and what is spoken there (empty: the model listens)
    asr: Literal["none", "whisper-base", "whisper-tiny.en"] = "none"
    language: str = ""


@dataclass(frozen=True)
class _TableRow:
    """One row of utterances.csv."""

    line: int
    cells: dict[str, str]
    path: Path  # of the table

    def problem(self, column: str, remedy: str) -> UserError:
        """Error about a cell of this row."""
        return UserError(f"{self.path} line {self.line}: {column} = {self.cells[column]!r}: {remedy}")


def read(folder: Path, scratch: Path, options: Options) -> Listing:
    """Read the table; the rows of a dialogue stay in file order."""
    rows = _rows(folder / TABLE)
    first_rows: dict[tuple[str, str], _TableRow] = {}  # by split and utterance
    dialogue_rows: dict[str, _TableRow] = {}  # the first of each dialogue
    dialogues: dict[tuple[str, str], list[Utterance]] = {}
    for row in rows:
        utterance = _utterance(row, folder, options)
        first = first_rows.setdefault((utterance.split, utterance.name), row)
        if first is not row:
            remedy = f"stands in line {first.line} already; name each once (column utterance)"
            column = "utterance" if row.cells["utterance"] else "clip"
            raise row.problem(column, f"the utterance {utterance.name} {remedy}")
        other_split = dialogue_rows.setdefault(utterance.dialogue, row).cells["split"]
        if other_split != utterance.split:
            raise row.problem("dialogue", f"is in {other_split} too; keep it in one split")
        dialogues.setdefault((utterance.split, utterance.dialogue), []).append(utterance)
    ordered = sorted(dialogues, key=lambda key: SPLITS.index(key[0]))
    return Listing([utterance for key in ordered for utterance in dialogues[key]])


def _rows(path: Path) -> list[_TableRow]:
    if not path.is_file():
        raise UserError(
            f"{path}: not there; write it with the columns {', '.join(REQUIRED + OPTIONAL)} (docs/data.md)"
        )
    reader = csv.DictReader(io.StringIO(transcripts.decode(path.read_bytes()), newline=""))
    reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or []]
    if missing := [name for name in REQUIRED if name not in reader.fieldnames]:
        raise UserError(f"{path}: lacks the columns {', '.join(missing)}; needed are {', '.join(REQUIRED)}")
    if unknown := [name for name in reader.fieldnames if name not in REQUIRED + OPTIONAL]:
        raise UserError(f"{path}: column {unknown[0]!r} is unknown; known are {', '.join(REQUIRED + OPTIONAL)}")
    rows = [
        _TableRow(reader.line_num, {name: (cells.get(name) or "").strip() for name in REQUIRED + OPTIONAL}, path)
        for cells in reader
    ]
    if not rows:
        raise UserError(f"{path}: has no rows; write one for each utterance")
    return rows


def _utterance(row: _TableRow, folder: Path, options: Options) -> Utterance:
    cells, clip = row.cells, _clip(row, folder)
    window = _window(row)
    name = _id(row, "utterance", clip.stem if window is None else f"{clip.stem}_{row.line}")
    dialogue = _id(row, "dialogue", name)
    transcript, num_repaired = transcripts.repair(cells["text"])
    return Utterance(
        split=_one_of(row, "split", SPLITS),
        dialogue=dialogue,
        name=name,
        group=f"folder/{cells['split']}/{dialogue}",
        speaker=cells["speaker"],
        text=transcript,
        emotion=_one_of(row, "emotion", FOLDER_EMOTIONS) if cells["emotion"] else None,
        sentiment=_one_of(row, "sentiment", MELD_SENTIMENTS) if cells["sentiment"] else None,
        start=window and window.start,
        end=window and window.end,
        source=window and clip.relative_to(folder).as_posix(),
        media=clip,
        clip=clip.relative_to(folder).as_posix(),
        window=window,
        num_repaired=num_repaired,
        asr="" if options.asr == "none" or transcript else options.asr,
        language=options.language,
    )


def _clip(row: _TableRow, folder: Path) -> Path:
    """Path of the row's clip, which must lie below the folder."""
    name = row.cells["clip"]
    path = folder / name
    if not name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise row.problem("clip", f"write a path below {folder}")
    if not path.is_file():
        raise row.problem("clip", f"{path} is not there; bring the file or take the row out")
    return path


def _id(row: _TableRow, column: str, default: str) -> str:
    """Id in a column, or the default; must be usable as a file name."""
    name = row.cells[column] or default
    if not ID_PATTERN.fullmatch(name):
        source = column if row.cells[column] else "clip"
        raise row.problem(source, f"{name!r} is to name files: write letters, digits, '.', '-', '_' in {column}")
    return name


def _window(row: _TableRow) -> Window | None:
    """Part of the clip given by start and end; None for the whole clip."""
    if not row.cells["start"] and not row.cells["end"]:
        return None
    start, end = (_seconds(row, column) for column in ("start", "end"))
    if not start < end:
        raise row.problem("end", f"is not after start = {row.cells['start']}; write seconds within the clip")
    return Window(start, end)


def _seconds(row: _TableRow, column: str) -> float:
    try:
        value = float(row.cells[column])
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise row.problem(column, "write seconds within the clip in both start and end, or leave both empty")
    return value


def _one_of(row: _TableRow, column: str, choices: tuple[str, ...]) -> str:
    if row.cells[column] not in choices:
        raise row.problem(
            column, f"write one of {', '.join(choices)}" + ("" if column == "split" else ", or nothing")
        )
    return row.cells[column]
