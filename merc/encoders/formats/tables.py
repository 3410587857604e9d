"""Tables: a row an utterance; one column or two name it, the columns of numbers are its vector."""

import csv
import io
import re
from typing import Any

import numpy as np

from merc.encoders.formats.keys import SPLIT_WORDS
from merc.encoders.formats.nested import IDS
from merc.problem import Problem

DIALOGUES = ("dialogue_id", "dialogueid", "dialogue", "dialog_id", "dia_id")
UTTERANCES = ("utterance_id", "utteranceid", "utterance", "utt_id", "turn")
SPLITS = ("split", "partition", "subset")
NOTHING = ("", "nan", "na", "n/a", "null", "none", "--undefined--", "?")  # the last two: Praat, Weka
CELL = 40  # characters of a cell in a message
csv.field_size_limit(2**27)


def csv_rows(content: bytes) -> dict[Any, Any]:
    """A CSV with a header or without; separated by comma, semicolon or tab."""
    lines = _decoded(content)
    first = lines.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    rows = [row for row in csv.reader(io.StringIO(lines, newline=""), delimiter=separator, strict=True) if row]
    if len(rows) < 1 or len(rows[0]) < 2:
        raise Problem("holds no table: a column of names and columns of numbers are needed")
    header = rows.pop(0) if not all(_is_number(cell) for cell in rows[0][1:]) else _numbered(rows[0])
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise Problem(f"row {number} has {len(row)} cells, the header {len(header)}; correct or remove it")
    return _assembled(_names(header, rows), *_matrix(header, rows))


def _decoded(content: bytes) -> str:
    if b"\x00" in content:
        raise Problem("is no text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _numbered(row: list[str]) -> list[str]:
    return ["name", *(str(number) for number in range(1, len(row)))]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell.strip().lower() in NOTHING
    return True


def naming(header: list[str]) -> list[int]:
    """The columns that name a row: an id, or dialogue and utterance, and before it the split; else the first."""
    plain = [re.sub(r"\W+", "_", name.strip().lower()).strip("_") for name in header]
    places = {kind: [i for i, name in enumerate(plain) if name in kind] for kind in (DIALOGUES, UTTERANCES, IDS)}
    if places[DIALOGUES] and places[UTTERANCES]:
        own = [places[DIALOGUES][0], places[UTTERANCES][0]]
    else:
        own = [min(places[IDS], key=lambda place: IDS.index(plain[place]))] if places[IDS] else [0]
    return [i for i, name in enumerate(plain) if name in SPLITS and i not in own][:1] + own


def _names(header: list[str], rows: list[list[str]]) -> list[Any]:
    columns = naming(header)
    cells = [tuple(re.sub(r"^(\d+)\.0$", r"\1", row[column].strip()) for column in columns) for row in rows]
    return _checked([one[0] if len(one) == 1 else one for one in cells], columns, header)


def _checked(names: list[Any], columns: list[int], header: list[str]) -> list[Any]:
    """A split that is none of ours would hide rows; two rows of one name would hide one."""
    seen = set()
    for number, name in enumerate(names, start=2):
        if len(columns) > 1 and header[columns[0]].strip().lower() in SPLITS and name[0].lower() not in SPLIT_WORDS:
            raise Problem(f"row {number}: {header[columns[0]]} = {name[0]!r}; train, dev or test")
        if name in seen:
            raise Problem(f"row {number}: a second row of {name!r}; keep one of the two")
        seen.add(name)
    return names


def _matrix(header: list[str], rows: list[list[str]]) -> tuple[list[str], np.ndarray]:
    """The columns of numbers; one without any number is no feature, one with both is a mistake."""
    own = set(naming(header))
    columns = [number for number in range(len(header)) if number not in own]
    values, odd = np.full((len(rows), len(columns)), np.nan, np.float64), {}
    for place, row in enumerate(rows):
        cells = [row[column] for column in columns] if own else row
        try:
            values[place] = cells
        except ValueError:
            values[place] = [_number(cell, odd, column, place) for cell, column in zip(cells, columns, strict=True)]
    for column, cases in odd.items():
        told = len(cases) + sum(rows[place][column].strip().lower() in NOTHING for place in range(len(rows)))
        if told < len(rows):
            place = cases[0]
            cell = repr(rows[place][column][:CELL])
            raise Problem(f"row {place + 2}: {header[column]} = {cell} is no number; correct it or leave it empty")
    kept = [index for index, column in enumerate(columns) if column not in odd]
    return [header[columns[index]] for index in kept], values[:, kept]


def _number(cell: str, odd: dict[int, list[int]], column: int, place: int) -> float:
    try:
        return float(cell)
    except ValueError:
        if cell.strip().lower() not in NOTHING:
            odd.setdefault(column, []).append(place)
        return np.nan


def _assembled(names: list[Any], columns: list[str], values: np.ndarray) -> dict[Any, Any]:
    if len(names) and not columns:
        raise Problem("has no column of numbers beside the names")
    return {_way(name): row for name, row in zip(names, values, strict=True)}


def _way(name: Any) -> Any:
    """With a split: split/dialogue_utterance."""
    if isinstance(name, tuple) and str(name[0]).lower() in SPLIT_WORDS:
        rest = name[1:] if len(name) > 2 else name[1]
        return f"{name[0]}/{rest if isinstance(rest, str) else '_'.join(rest)}"
    return name


def parquet(content: bytes) -> dict[Any, Any]:
    """A parquet table; columns of lists are features of their own, else the columns of numbers are one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(content))
    header = table.column_names
    if not len(header):
        raise Problem("holds no table: a column of names and columns of numbers are needed")
    columns = naming(header)
    cells = list(zip(*(map(str, table.column(column).to_pylist()) for column in columns), strict=True))
    names = [_way(name) for name in _checked([c[0] if len(c) == 1 else c for c in cells], columns, header)]
    lists = [name for i, name in enumerate(header) if i not in columns and pa.types.is_nested(table.schema[i].type)]
    if lists:
        return {name: dict(zip(names, table.column(name).to_pylist(), strict=True)) for name in lists}
    numeric = [i for i in range(len(header)) if i not in columns and _numeric(table.schema[i].type)]
    filled = [table.column(i).to_pandas().to_numpy(np.float64, na_value=np.nan) for i in numeric]
    values = np.stack(filled, 1) if filled else np.zeros((len(names), 0))
    return _assembled(list(names), [header[i] for i in numeric], values)


def _numeric(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
