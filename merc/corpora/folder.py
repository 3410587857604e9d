"""Reader of a user's own corpus: a table `utterances.csv`, with recordings or without (docs/data.md)."""

import math
import re
from pathlib import Path
from typing import Literal

from pydantic import Field

from merc.corpora.forms import label_columns, splits, table
from merc.corpora.forms.label_columns import Kind
from merc.corpora.forms.table import Table, TableRow
from merc.data.records import transcripts
from merc.data.records.listing import Listing, Utterance, Window
from merc.data.records.manifest import SPLITS
from merc.runtime.errors import UserError
from merc.runtime.params import StrictModel

STEM = "utterances"
# every other column holds labels
COLUMNS = (
    *("split", "clip", "dialogue", "turn", "utterance", "group"),
    *("speaker", "text", "start", "end", "intensity"),
)
ID_PATTERN = re.compile(r"[^\W_][\w.\- ]{0,99}")  # used in file names
BY_COLUMN, BY_GROUP = "column", "by group"
NO_CLIP = "utterances.csv names no clip"


class Options(StrictModel):
    """Section `data.folder` of params.yaml; {} is right for a table with a column split."""

    # what writes down rows without a text (extraction), and what is spoken there (empty: the model listens)
    asr: Literal["none", "whisper-base", "whisper-tiny.en"] = "none"
    language: str = ""
    # column = as the table says; by group, or by_group = groups are drawn; or the file of a split, below the folder
    split: str = BY_COLUMN
    # by group: 0 = one draw, train 70 %, dev 15 %, test 15 %; k = k folds, of which `fold` is test, the next dev
    folds: int = Field(default=0, ge=0, le=100)
    fold: int = Field(default=1, ge=1)
    # column of labels -> word, number, list or votes, where its cells do not say so
    kinds: dict[str, Kind] = Field(default={})


def read(folder: Path, scratch: Path, options: Options) -> Listing:
    """Read the table; the rows of a dialogue are in the order of `turn`, or else of the file."""
    path = table.find_table(folder, STEM)
    if path is None:
        raise UserError(
            f"{folder / STEM}.csv: not there; write it with a column text or clip, the labels, and any of "
            f"{', '.join(COLUMNS)} (docs/data.md)"
        )
    found = table.read_table(path)
    if not {"text", "clip"} & set(found.columns):
        has = ", ".join(map(repr, found.columns))[:200]
        raise UserError(
            f"{path}: lacks a column text or clip; write what is said, the recordings, or both; it has {has}"
        )
    return TableListing(found, folder, options).listing()


class TableListing:
    """A table's rows as utterances."""

    def __init__(self, found: Table, folder: Path, options: Options, corpus: str = "folder") -> None:
        self.table, self.folder, self.options, self.corpus = found, folder, options, corpus
        columns = [name for name in found.columns if name not in COLUMNS]
        kinds = label_columns.label_kinds(found, columns, options.kinds, f"params.yaml: data.{corpus}.kinds")
        self.words = {name for name in kinds if name in label_columns.WORD_COLUMNS}
        self.kinds: dict[str, Kind] = {name: kind for name, kind in kinds.items() if name not in self.words}

    def listing(self) -> Listing:
        """All utterances by split, those of a dialogue together and in order."""
        dialogues: dict[tuple[str, str], list[tuple[float, Utterance]]] = {}
        first_rows: dict[tuple[str, str], TableRow] = {}  # by split and utterance
        dialogue_rows: dict[str, tuple[str, TableRow]] = {}  # the first of each dialogue, with its split
        group_rows: dict[str, tuple[str, TableRow]] = {}
        chosen = self._splits()
        for row, split in zip(self.table.rows, chosen, strict=True):
            utterance = self._utterance(row, split)
            first = first_rows.setdefault((split, utterance.name), row)
            if first is not row:
                column = "utterance" if row["utterance"] else "clip"
                remedy = f"stands in line {first.line} already; name each once (column utterance)"
                raise row.problem(column, f"the utterance {utterance.name} {remedy}")
            for column, rows in (("dialogue", dialogue_rows), ("group", group_rows)):
                other_split, _ = rows.setdefault(getattr(utterance, column), (split, row))
                if other_split != split:
                    raise row.problem(column, f"is in {other_split} too; keep it in one split")
            turn = self._number(row, "turn", "write the number of the turn in its dialogue, or nothing")
            dialogues.setdefault((split, utterance.dialogue), []).append((turn, utterance))
        ordered = sorted(dialogues, key=lambda key: SPLITS.index(key[0]))
        turns = [sorted(dialogues[key], key=lambda pair: pair[0]) for key in ordered]
        return Listing([utterance for dialogue in turns for _, utterance in dialogue])

    def _splits(self) -> list[str]:
        """The split of each row."""
        options, rows = self.options, self.table.rows
        place = f"params.yaml: data.{self.corpus}"
        if options.split == BY_COLUMN:
            if "split" not in self.table.columns:
                raise UserError(
                    f"{self.table.path}: lacks the column split; write it ({', '.join(SPLITS)}), or set "
                    f"{place.partition(': ')[2]}.split to {BY_GROUP!r} or to the file of a split"
                )
            return [_split(row) for row in rows]
        groups = [row["group"] or self._dialogue(row) for row in rows]
        if options.split.replace("_", " ") == BY_GROUP:
            if options.folds in (1, 2):
                raise UserError(f"{place}.folds = {options.folds}: write 3 or more, or 0 for one draw")
            if options.folds and options.fold > options.folds:
                raise UserError(f"{place}.fold = {options.fold}: there are {options.folds} folds")
            try:
                drawn = (
                    splits.fold_splits(groups, options.folds, options.fold)
                    if options.folds
                    else splits.draw_by_group(groups)
                )
            except UserError as error:
                raise UserError(f"{self.table.path}: {error} (column group, else dialogue)") from None
            return [drawn[group] for group in groups]
        named = splits.read_split_file(self.folder / options.split)
        return [self._named_split(row, group, named) for row, group in zip(rows, groups, strict=True)]

    def _named_split(self, row: TableRow, group: str, named: dict[str, str]) -> str:
        names = (self._name(row), self._dialogue(row), group)
        split = next((named[name] for name in names if name in named), None)
        if split is None:
            raise UserError(f"{row.place}: neither {names[0]} nor its dialogue or group is in {self.options.split}")
        return split

    def _utterance(self, row: TableRow, split: str) -> Utterance:
        options, clip, dialogue = self.options, self._clip(row), self._dialogue(row)
        start, end = self._times(row)
        window = Window(start, end) if clip and start is not None and end is not None else None
        transcript, num_repaired = transcripts.repair(row["text"])
        name = clip and clip.relative_to(self.folder).as_posix()
        group = row["group"] or f"{split}/{dialogue}"
        return Utterance(
            split=split,
            dialogue=dialogue,
            name=self._name(row),
            group=f"{self.corpus}/{group}",
            speaker=row["speaker"],
            text=transcript,
            emotion=row["emotion"] or None,
            sentiment=row["sentiment"] or None,
            start=start,
            end=end,
            source=name if window else None,
            media=clip,
            clip=name,
            absent="" if clip else NO_CLIP,
            window=window,
            intensity=row["intensity"] or None,
            num_repaired=num_repaired,
            asr="" if options.asr == "none" or transcript or clip is None else options.asr,
            language=options.language,
            labels={name: label_columns.read_label(row, name, kind) for name, kind in self.kinds.items()},
            place=row.place,
        )

    def _clip(self, row: TableRow) -> Path | None:
        """Path of the row's clip, which must lie below the folder; None if the row names none."""
        name = row["clip"]
        if not name:
            return None
        path = self.folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise row.problem("clip", f"write a path below {self.folder}, or nothing")
        try:
            is_there = path.is_file()
        except OSError as error:  # longer than a name can be: a sentence in the wrong column, perhaps
            raise row.problem("clip", f"{error.strerror}; bring the file or empty the cell") from None
        if not is_there:
            raise row.problem("clip", f"{path} is not there; bring the file or empty the cell")
        return path

    def _name(self, row: TableRow) -> str:
        stem = Path(row["clip"]).stem
        is_window = bool(row["start"] or row["end"])
        default = f"{stem}_{row.line}" if stem and is_window else stem or f"row_{row.line}"
        return _id(row, "utterance", default)

    def _dialogue(self, row: TableRow) -> str:
        return _id(row, "dialogue", self._name(row))

    def _times(self, row: TableRow) -> tuple[float | None, float | None]:
        """Start and end, in seconds of the clip."""
        if not row["start"] and not row["end"]:
            return None, None
        remedy = "write seconds within the clip in both start and end, or leave both empty"
        start, end = (self._number(row, column, remedy, needed=True) for column in ("start", "end"))
        if not start < end:
            raise row.problem("end", f"is not after start = {row['start']}; write seconds within the clip")
        return start, end

    def _number(self, row: TableRow, column: str, remedy: str, *, needed: bool = False) -> float:
        """A number from 0 in a cell; 0 for an empty one, unless it is needed."""
        try:
            value = float(row[column]) if row[column] or needed else 0.0
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf:
            raise row.problem(column, remedy)
        return value


def _split(row: TableRow) -> str:
    if row["split"] not in SPLITS:
        raise row.problem("split", f"write one of {', '.join(SPLITS)}")
    return row["split"]


def _id(row: TableRow, column: str, default: str) -> str:
    """Id in a column, or the default; must be usable as a file name."""
    name = row[column] or default
    if not ID_PATTERN.fullmatch(name):
        source = column if row[column] else "clip"
        raise row.problem(source, f"{name!r} is to name files: write letters, digits, '.', '-', '_' in {column}")
    return name
