"""Which utterance is in which split: as a corpus's own file says, by folds, or by groups drawn by their names."""

import ast
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from merc.corpora.forms import table
from merc.data.records.manifest import SPLITS
from merc.runtime.errors import UserError

SPLIT_WORDS = {
    **{name: name for name in SPLITS},
    **dict.fromkeys(("training", "trn", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "devel", "development"), "dev"),
    **dict.fromkeys(("testing", "tst", "te"), "test"),
}
SHARES = {"dev": 0.15, "test": 0.15}  # of the rows, when groups are drawn; the others are train
# columns of a split file that name what is in the split, the first that is there
NAME_COLUMNS = ("utterance", "dialogue", "group", "video_id", "speaker")
FOLD_NAME = re.compile(r"standard_(train|valid|test)_fold")


def split_of(word: str) -> str | None:
    """train, dev or test for what a corpus calls it; None if it is none of them."""
    return SPLIT_WORDS.get(word.strip().lower())


def draw_by_group(groups: Iterable[str]) -> dict[str, str]:
    """group -> split, of the groups of all rows: dev takes groups until it has 15 % of the rows, test as many.

    Groups are drawn in the order of the hashes of their names, the same on every machine.
    """
    sizes = Counter(groups)
    if len(sizes) < len(SPLITS):
        raise UserError(f"{len(sizes)} groups cannot be drawn into train, dev and test; bring three or more")
    total, splits, filled = sum(sizes.values()), {}, dict.fromkeys(SHARES, 0)
    for group in sorted(sizes, key=lambda name: hashlib.sha256(name.encode()).digest()):
        splits[group] = next((name for name, share in SHARES.items() if filled[name] < share * total), "train")
        if splits[group] in filled:
            filled[splits[group]] += sizes[group]
    if missing := [name for name in SPLITS if name not in splits.values()]:
        largest, size = sizes.most_common(1)[0]
        raise UserError(
            f"group {largest!r} has {size} of {total} rows: none of the {len(sizes)} groups is left for "
            f"{' and '.join(missing)}; divide it, or name the splits yourself"
        )
    return splits


def fold_splits(groups: Iterable[str], folds: int, fold: int) -> dict[str, str]:
    """group -> split: sorted groups are dealt into folds; `fold` (from 1) is test, the next one dev."""
    names = sorted(set(groups))
    if len(names) < folds:
        raise UserError(f"{len(names)} groups cannot be dealt into {folds} folds; name fewer folds")
    numbers = {name: index % folds + 1 for index, name in enumerate(names)}
    return splits_of_folds(numbers, folds, fold)


def splits_of_folds(numbers: dict[str, int], folds: int, fold: int) -> dict[str, str]:
    """name -> split, if each name is in the fold of this number."""
    named = {fold: "test", fold % folds + 1: "dev"}
    return {name: named.get(number, "train") for name, number in numbers.items()}


def read_folds(path: Path, column: str, names: Iterable[str], folds: int, fold: int) -> dict[str, str]:
    """name -> split, from a table with this column and test_fold, in which every name must stand."""
    rows = table.read_table(path, (column, "test_fold")).rows
    numbers = {}
    for row in rows:
        if not re.fullmatch(r"[1-9]\d?", row["test_fold"]) or int(row["test_fold"]) > folds:
            raise row.problem("test_fold", f"write the number of a fold, from 1 to {folds}")
        numbers[row[column]] = int(row["test_fold"])
    if missing := sorted(set(names) - set(numbers)):
        raise UserError(f"{path}: has no row of {column} {missing[0]}; write one, with its fold")
    return splits_of_table(path, column, numbers, folds, fold)


def splits_of_table(path: Path, column: str, numbers: dict[str, int], folds: int, fold: int) -> dict[str, str]:
    """name -> split, of all names in a table of folds; refused if it leaves a split empty."""
    splits = splits_of_folds(numbers, folds, fold)
    if missing := [name for name in SPLITS if name not in splits.values()]:
        raise UserError(
            f"{path}: leaves {missing[0]} without any {column} if fold {fold} is test and the next one dev; "
            "correct test_fold"
        )
    return splits


def read_split_file(path: Path) -> dict[str, str]:
    """name -> split, from a table, a JSON file {split: [name, ...]}, or the Python file of CMU's standard folds."""
    if not path.is_file():
        raise UserError(f"{path}: not there; bring the file of the split, or choose another split (docs/data.md)")
    if path.suffix.lower() in table.SUFFIXES:
        return _from_table(path)
    lists = _from_json(path) if path.suffix.lower() == ".json" else _from_python(path)
    splits: dict[str, str] = {}
    for split, names in lists.items():
        for name in map(str, names):
            if splits.setdefault(name, split) != split:
                raise UserError(f"{path}: {name} is in {splits[name]} and in {split}; keep it in one split")
    return splits


def _from_table(path: Path) -> dict[str, str]:
    found = table.read_table(path, ("split",))
    column = next((name for name in NAME_COLUMNS if name in found.columns), None)
    if column is None:
        raise UserError(f"{path}: lacks a column of names; write one of {', '.join(NAME_COLUMNS)}")
    splits: dict[str, str] = {}
    for row in found.rows:
        split = split_of(row["split"])
        if split is None:
            raise row.problem("split", f"write one of {', '.join(SPLITS)}")
        if splits.setdefault(row[column], split) != split:
            raise row.problem(column, f"is in {splits[row[column]]} too; keep it in one split")
    return splits


def _from_json(path: Path) -> dict[str, Sequence[Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: is no JSON: {error}") from None
    is_lists = isinstance(content, dict) and all(isinstance(names, list) for names in content.values())
    unknown = [key for key in content if split_of(key) is None] if is_lists else []
    if not is_lists or unknown:
        raise UserError(
            f"{path}: {unknown[0] if unknown else 'the content'}: "
            'write {"train": [names], "dev": [names], "test": [names]}'
        )
    return {str(split_of(key)): names for key, names in content.items()}


def _from_python(path: Path) -> dict[str, Sequence[Any]]:
    """The lists standard_train_fold, standard_valid_fold and standard_test_fold, as literals: nothing is run."""
    try:
        body = ast.parse(path.read_text(encoding="utf-8")).body
        lists = {
            str(split_of(match[1])): ast.literal_eval(statement.value)
            for statement in body
            if isinstance(statement, ast.Assign) and isinstance(target := statement.targets[0], ast.Name)
            if (match := FOLD_NAME.fullmatch(target.id))
        }
    except (SyntaxError, ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}; bring a .csv, a .json or CMU's *_std_folds.py") from None
    if set(lists) != set(SPLITS):
        raise UserError(f"{path}: lacks one of standard_train_fold, standard_valid_fold and standard_test_fold")
    return lists
