"""Tables with one row per utterance: one or two columns name it, the numeric columns are its vector."""

import csv
import io
import re
from typing import Any

import numpy as np

from merc.data.records import transcripts
from merc.encoders.imported.formats.budget import Budget
from merc.encoders.imported.formats.keys import SPLIT_WORDS
from merc.encoders.imported.formats.nested import ID_KEYS
from merc.runtime.errors import UserError

DIALOGUE_COLUMNS = ("dialogue_id", "dialogueid", "dialogue", "dialog_id", "dia_id")
UTTERANCE_COLUMNS = ("utterance_id", "utteranceid", "utterance", "utt_id", "turn")
SPLIT_COLUMNS = ("split", "partition", "subset")
# missing values; last two: Praat, Weka
MISSING_CELLS = ("", "nan", "na", "n/a", "null", "none", "--undefined--", "?")
MAX_CELL_CHARACTERS = 40  # maximum number of characters of a cell in a message
PARQUET_ROWS = 256  # read at once


def csv_rows(content: bytes, budget: Budget) -> dict[Any, Any]:
    """Parse a CSV with or without a header, separated by comma, semicolon or tab."""
    if b"\x00" in content:
        raise UserError("is no text")
    budget.take_objects(sum(map(content.count, (b",", b";", b"\t", b"\n"))))
    lines = transcripts.decode(content)
    first = lines.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    rows = [row for row in csv.reader(io.StringIO(lines, newline=""), delimiter=separator, strict=True) if row]
    if len(rows) < 1 or len(rows[0]) < 2:
        raise UserError("holds no table: a column of names and columns of numbers are needed")
    header = (
        rows.pop(0)
        if not all(_is_number(cell) for cell in rows[0][1:])
        else ["name", *map(str, range(1, len(rows[0])))]
    )
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise UserError(f"row {number} has {len(row)} cells, the header {len(header)}; correct or remove it")
    return _assembled(_names(header, rows), *_matrix(header, rows))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell.strip().lower() in MISSING_CELLS
    return True


def naming_columns(header: list[str]) -> list[int]:
    """Indices of the columns that name a row: [split,] and id, or dialogue and utterance, or the first column."""
    plain = [re.sub(r"\W+", "_", name.strip().lower()).strip("_") for name in header]
    matches = {
        kind: [i for i, name in enumerate(plain) if name in kind]
        for kind in (DIALOGUE_COLUMNS, UTTERANCE_COLUMNS, ID_KEYS)
    }
    if matches[DIALOGUE_COLUMNS] and matches[UTTERANCE_COLUMNS]:
        columns = [matches[DIALOGUE_COLUMNS][0], matches[UTTERANCE_COLUMNS][0]]
    else:
        columns = [min(matches[ID_KEYS], key=lambda i: ID_KEYS.index(plain[i]))] if matches[ID_KEYS] else [0]
    return [i for i, name in enumerate(plain) if name in SPLIT_COLUMNS and i not in columns][:1] + columns


def _names(header: list[str], rows: list[list[str]]) -> list[Any]:
    """Name of each row: a string, or a tuple of several columns."""
    columns = naming_columns(header)
    cells = [tuple(re.sub(r"^(\d+)\.0$", r"\1", row[column].strip()) for column in columns) for row in rows]
    return _checked([cell[0] if len(cell) == 1 else cell for cell in cells], columns, header)


def _checked(names: list[Any], columns: list[int], header: list[str]) -> list[Any]:
    """The names; raises a UserError for an unknown split or a duplicate name, which would hide rows."""
    seen = set()
    for number, name in enumerate(names, start=2):
        if (
            len(columns) > 1
            and header[columns[0]].strip().lower() in SPLIT_COLUMNS
            and name[0].lower() not in SPLIT_WORDS
        ):
            raise UserError(f"row {number}: {header[columns[0]]} = {name[0]!r}; train, dev or test")
        if name in seen:
            raise UserError(f"row {number}: a second row of {name!r}; keep one of the two")
        seen.add(name)
    return names


def _matrix(header: list[str], rows: list[list[str]]) -> tuple[list[str], np.ndarray]:
    """Names and values of the numeric columns; a column of text is left out, a mixed one refused."""
    name_columns = set(naming_columns(header))
    columns = [number for number in range(len(header)) if number not in name_columns]
    values, invalid = np.full((len(rows), len(columns)), np.nan, np.float64), {}
    for index, row in enumerate(rows):
        cells = [row[column] for column in columns] if name_columns else row
        try:
            values[index] = cells
        except ValueError:
            pairs = zip(cells, columns, strict=True)
            values[index] = [_number(cell, invalid, column, index) for cell, column in pairs]
    for column, indices in invalid.items():
        num_missing = sum(row[column].strip().lower() in MISSING_CELLS for row in rows)
        if len(indices) + num_missing < len(rows):
            index = indices[0]
            cell = repr(rows[index][column][:MAX_CELL_CHARACTERS])
            raise UserError(
                f"row {index + 2}: {header[column]} = {cell} is no number; correct it or leave it empty"
            )
    kept = [index for index, column in enumerate(columns) if column not in invalid]
    return [header[columns[index]] for index in kept], values[:, kept]


def _number(cell: str, invalid: dict[int, list[int]], column: int, index: int) -> float:
    """Value of a cell; a cell that is neither a number nor missing is added to `invalid`: column -> row indices."""
    try:
        return float(cell)
    except ValueError:
        if cell.strip().lower() not in MISSING_CELLS:
            invalid.setdefault(column, []).append(index)
        return np.nan


def _assembled(names: list[Any], columns: list[str], values: np.ndarray) -> dict[Any, Any]:
    if len(names) and not columns:
        raise UserError("has no column of numbers beside the names")
    return {_key(name): row for name, row in zip(names, values, strict=True)}


def _key(name: Any) -> Any:
    """Key of a row; of a name with a split: split/dialogue_utterance."""
    if isinstance(name, tuple) and str(name[0]).lower() in SPLIT_WORDS:
        rest = name[1] if len(name) == 2 else name[1:]
        return f"{name[0]}/{rest if isinstance(rest, str) else '_'.join(rest)}"
    return name


def parquet(content: bytes, budget: Budget) -> dict[Any, Any]:
    """Parse a parquet table; each column of lists is a part, else the numeric columns are the vector."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(content))
    groups = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
    budget.take_objects(sum(group.column(i).num_values for group in groups for i in range(group.num_columns)))
    batches = []
    for batch in file.iter_batches(PARQUET_ROWS):  # a word of the dictionary may stand in every row
        budget.take(batch.nbytes)
        batches.append(batch)
    table = pa.Table.from_batches(batches, file.schema_arrow)
    header = table.column_names
    if not len(header):
        raise UserError("holds no table: a column of names and columns of numbers are needed")
    columns = naming_columns(header)
    cells = list(zip(*(map(str, table.column(column).to_pylist()) for column in columns), strict=True))
    names = _checked([cell[0] if len(cell) == 1 else cell for cell in cells], columns, header)
    names = [_key(name) for name in names]
    lists = [name for i, name in enumerate(header) if i not in columns and pa.types.is_nested(table.schema[i].type)]
    if lists:
        return {name: dict(zip(names, table.column(name).to_pylist(), strict=True)) for name in lists}
    numeric = [i for i in range(len(header)) if i not in columns and _numeric(table.schema[i].type)]
    arrays = [table.column(i).to_pandas().to_numpy(np.float64, na_value=np.nan) for i in numeric]
    values = np.stack(arrays, 1) if arrays else np.zeros((len(names), 0))
    return _assembled(list(names), [header[i] for i in numeric], values)


def _numeric(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
