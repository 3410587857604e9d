"""A table as text: comma, semicolon or tab between the cells; each row knows its line, for messages."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merc.data.records import transcripts
from merc.runtime.errors import UserError

SUFFIXES = (".csv", ".tsv")
WORKBOOK = b"PK\x03\x04"  # .xlsx and .ods are zip archives
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}  # spreadsheets of some countries write semicolons


@dataclass(frozen=True)
class TableRow:
    """One row; a cell that is not there is empty."""

    line: int
    cells: dict[str, str]
    path: Path  # of the table

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")

    @property
    def place(self) -> str:
        """Where the row stands, as messages begin."""
        return f"{self.path} line {self.line}"

    def problem(self, column: str, remedy: str) -> UserError:
        """Error about a cell of this row."""
        return UserError(f"{self.place}: {column} = {self[column]!r}: {remedy}")


@dataclass(frozen=True)
class Table:
    """A table's columns, in small letters and in order, and its rows."""

    path: Path
    columns: list[str]
    rows: list[TableRow]


def read_table(path: Path, needed: Iterable[str] = ()) -> Table:
    """Read a table, which must have the needed columns and at least one row."""
    content = path.read_bytes()
    if content.startswith(WORKBOOK):
        raise UserError(f"{path}: is a workbook, whatever its name; save the sheet as CSV")
    text = transcripts.decode(content)
    header = text[: text.find("\n")] if "\n" in text else text
    delimiter = max(DELIMITERS, key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        columns = [name.strip().lower() for name in reader.fieldnames or []]
        while columns and not columns[-1]:  # spreadsheets end lines with empty cells
            columns.pop()
        reader.fieldnames = columns
        rows = [TableRow(line, _stripped(cells, columns), path) for line, cells in named_cells(reader, path)]
    except csv.Error as error:
        raise UserError(f"{path} line {reader.line_num}: is no table: {error}; write one row a line") from None
    if rows and text.count('"') % 2 and any("\n" in cell for cell in rows[-1].cells.values()):
        raise UserError(
            f"{path}: a quote is opened and never closed, before line {rows[-1].line}; close or remove it"
        )
    if "" in columns and not any(row[""] for row in rows):
        columns = [name for name in columns if name]
    needed = list(needed)
    if missing := [name for name in needed if name not in columns]:
        raise UserError(f"{path}: lacks the columns {', '.join(missing)}; needed are {', '.join(needed)}")
    if twice := [name for name, count in Counter(columns).items() if count > 1]:
        raise UserError(f"{path}: column {twice[0]!r} stands twice; keep one of them")
    if not rows:
        raise UserError(f"{path}: has no rows; write one for each utterance")
    return Table(path, columns, rows)


def named_cells(reader: csv.DictReader, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and cells by column of each row of the table at `path`.

    A row with more cells than the header is refused, as a comma in a text without quotes begins another cell, which
    would be lost. Empty cells that stand too many at its end are nothing.
    """
    width, delimiter = len(reader.fieldnames or ()), str(reader.reader.dialect.delimiter)
    for cells in reader:
        surplus = cells.pop(reader.restkey, None) or ()
        if any(cell.strip() for cell in surplus):
            raise UserError(
                f"{path} line {reader.line_num}: {width + len(surplus)} cells, and the header has {width}; put "
                f"cells with {DELIMITERS.get(delimiter, repr(delimiter))} in quotes"
            )
        yield reader.line_num, cells


def _stripped(cells: dict[str, str | None], columns: list[str]) -> dict[str, str]:
    return {name: (cells.get(name) or "").strip() for name in columns}


def find_table(folder: Path, stem: str) -> Path | None:
    """The table of this name in a folder, if there is one."""
    return next((path for suffix in SUFFIXES if (path := folder / f"{stem}{suffix}").is_file()), None)
