"""The labels in a table's columns: what kind each column holds, and its cells as labels of the manifest.

A column's kind follows from its cells, or is named by the user, who alone knows whether 0 and 1 are words:

    word     a class                            joy
    number   for a regression                   -1.8
    list     all that hold, `;` alone = none    happy; surprised
    votes    the annotators' votes for each     happy: 3; sad: 1
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from merc.corpora.forms.table import Table, TableRow
from merc.data.records.label_file import NAME
from merc.data.records.listing import Label
from merc.data.records.manifest import SCHEMA
from merc.runtime.errors import UserError

Kind = Literal["word", "number", "list", "votes"]
SEPARATOR = ";"
VOTE = re.compile(r"\s*(.*?\S)\s*:\s*(\d+(?:\.\d+)?)\s*")
# columns of words alone, in the manifest of every corpus
WORD_COLUMNS = ("emotion", "sentiment")


def label_kinds(table: Table, columns: Sequence[str], named: Mapping[str, Kind], place: str) -> dict[str, Kind]:
    """column -> kind; `place` is where `named` stands, for messages."""
    if unknown := [name for name in named if name not in columns]:
        raise UserError(
            f"{place}.{unknown[0]}: {table.path} has no such column of labels; it has "
            f"{', '.join(columns) or 'none'}"
        )
    for name in columns:
        if name not in WORD_COLUMNS and (not NAME.fullmatch(name) or name in SCHEMA.names):
            raise UserError(
                f"{table.path}: column {name!r} cannot hold labels; write small letters, digits and _, and "
                f"none of merc's own names ({', '.join(SCHEMA.names)})"
            )
    kinds: dict[str, Kind] = {
        name: named.get(name) or _kind([row for row in table.rows if row[name]], name) for name in columns
    }
    for name in WORD_COLUMNS:
        if kinds.get(name, "word") != "word":
            row = next(row for row in table.rows if row[name])
            raise row.problem(
                name,
                f"a {kinds[name]}, and this column holds words; rename it, say {name}_{kinds[name]}, "
                f"and name it as the task's column in data.labels; or write {place}: {{{name}: word}}",
            )
    return kinds


def _kind(rows: list[TableRow], column: str) -> Kind:
    if rows and all(_number(row[column]) is not None for row in rows):
        return "number"
    if rows and all(_votes(row[column]) is not None for row in rows):
        return "votes"
    return "list" if any(SEPARATOR in row[column] for row in rows) and column not in WORD_COLUMNS else "word"


def read_label(row: TableRow, column: str, kind: Kind) -> Label | None:
    """The label in a cell; an empty one is no label."""
    cell = row[column]
    if not cell:
        return None
    if kind == "word":
        return cell
    if kind == "list":
        return tuple(word for part in cell.split(SEPARATOR) if (word := part.strip()))
    value = _number(cell) if kind == "number" else _votes(cell)
    if value is None:
        form = "a number" if kind == "number" else "votes: word: count; word: count"
        raise row.problem(column, f"write {form}, or nothing")
    return value


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _votes(cell: str) -> dict[str, float] | None:
    parts = [part for part in cell.split(SEPARATOR) if part.strip()]
    matches = [VOTE.fullmatch(part) for part in parts]
    if not parts or not all(matches):
        return None
    votes: dict[str, float] = {}
    for match in matches:
        if match:
            votes[match[1]] = votes.get(match[1], 0.0) + float(match[2])
    return votes
