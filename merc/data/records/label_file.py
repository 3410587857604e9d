"""Reading of a label space's YAML file: strict, and one line for the first mistake, with file, key and remedy."""

import re
import struct
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from merc.data.records.manifest import SCHEMA
from merc.runtime.errors import UserError
from merc.runtime.params import LOADER

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")  # names columns of tables, files of plots and keys of metrics
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
SENTIMENTS = ("negative", "neutral", "positive")
ANY_WORD = "*"  # in drop
LONGEST_CLASS = 60  # characters; it stands in tables, on figures and on the page
LARGEST_FILE = 1_000_000  # bytes
# columns of the manifest that hold words of labels; the others mean something else
LABEL_COLUMNS = ("emotion", "sentiment", "intensity")
# Names that batches, outputs of the network, tables and metrics use already.
_RESERVED = """values rows steps present place speaker index count progress size utterance context weights corpus
split dialogue group model seed condition text audio vision best_epoch by_seed gate gates belief kinds start end
speaker text_source prediction_set missing abstains latency"""
RESERVED = frozenset(_RESERVED.split())


class TaskSection(BaseModel):
    """One task of a label space's file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    kind: Literal["classification", "multilabel", "regression"] = "classification"
    column: str = ""
    classes: list[str] = []
    range: tuple[float, float] | None = Field(default=None, strict=False)
    votes: str = ""
    map: dict[str, dict[str, str]] = {}
    drop: dict[str, list[str]] = {}
    colours: dict[str, str] = {}
    sentiments: dict[str, str] = {}

    @model_validator(mode="after")
    def _check(self) -> "TaskSection":
        for key, name in (("column", self.column), ("votes", self.votes)):
            if name and not NAME.fullmatch(name):
                raise _mistake(key, f"{name!r} names no column: write small letters, digits and _")
            if name in SCHEMA.names and name not in LABEL_COLUMNS:
                raise _mistake(key, f"{name!r} holds no labels: name a column that does")
        self._check_regression() if self.kind == "regression" else self._check_classes()
        return self

    def _check_regression(self) -> None:
        if self.range is None:
            raise _mistake("range", "is missing: write the smallest and the largest value, range: [-3, 3]")
        low, high = self.range
        if not all(abs(bound) < 1e30 for bound in self.range):
            raise _mistake("range", f"[{low:g}, {high:g}] is too wide: write the values that are possible")
        if not _single(low) < _single(high):
            raise _mistake("range", f"{list(self.range)} is empty: write the smaller value first")
        for key in ("classes", "votes", "map", "drop", "colours", "sentiments"):
            if getattr(self, key):
                raise _mistake(key, "a regression has no classes: take it out, or change kind")

    def _check_classes(self) -> None:
        if self.range is not None:
            raise _mistake("range", f"a {self.kind} has no range: take it out, or write kind: regression")
        fewest = 1 if self.kind == "multilabel" else 2
        if len(self.classes) < fewest:
            raise _mistake("classes", f"names {len(self.classes)}: name at least {fewest}")
        self._check_names()
        if self.votes and self.kind == "multilabel":
            raise _mistake("votes", "only a classification has votes: take it out, or change kind")
        self._check_words()
        for key, values in (("colours", self.colours), ("sentiments", self.sentiments)):
            for label in values:
                self._check_class(key, label)
        for label, colour in self.colours.items():
            if not COLOUR.fullmatch(colour):
                raise _mistake(f"colours.{label}", f"{colour!r} is no colour: write it as '#3366cc'")
        for label, sentiment in self.sentiments.items():
            if sentiment not in SENTIMENTS:
                raise _mistake(f"sentiments.{label}", f"{sentiment!r}: choose one of {', '.join(SENTIMENTS)}")

    def _check_names(self) -> None:
        """Raise if a class has no usable name, or two names differ only in case or in their Unicode form (NFKC)."""
        for name in self.classes:
            if not name or name != name.strip() or name == ANY_WORD:
                raise _mistake("classes", f"{name!r} is no name: write a word")
            if not name.isprintable() or ";" in name or len(name) > LONGEST_CLASS:
                raise _mistake(
                    "classes",
                    f"{name[:LONGEST_CLASS]!r} is no name: write visible characters without ';', at most "
                    f"{LONGEST_CLASS}",
                )
        if twice := _repeated(self.classes):
            raise _mistake("classes", f"names {twice!r} twice: name each class once")
        plain = [unicodedata.normalize("NFKC", name).casefold() for name in self.classes]
        if twice := _repeated(plain):
            first, second = (name for name, same in zip(self.classes, plain, strict=True) if same == twice)
            raise _mistake("classes", f"{first!r} and {second!r} differ only in case or Unicode form: name it once")

    def _check_words(self) -> None:
        for corpus, words in self.map.items():
            dropped = set(self.drop.get(corpus, ()))
            for word, label in words.items():
                key = f"map.{corpus}.{word}"
                if word != word.strip() or word in ("", ANY_WORD):
                    raise _mistake(key, f"{word!r} is no word of a corpus: write one, without blanks around it")
                self._check_class(key, label)
                if word in dropped:
                    raise _mistake(key, "is in drop, too: take it out of one of them")
        for corpus, dropped in self.drop.items():
            if unusual := next((word for word in dropped if not word or word != word.strip()), None):
                raise _mistake(f"drop.{corpus}", f"{unusual!r} is no word: write one, without blanks around it")

    def _check_class(self, key: str, label: str) -> None:
        if label not in self.classes:
            raise _mistake(key, f"{label!r} is none of the classes: choose one of {', '.join(self.classes)}")


def _mistake(key: str, text: str) -> ValueError:
    return ValueError(f"{key}: {text}")


def _single(value: float) -> float:
    """As a float32, which targets are: two bounds may be one there."""
    return struct.unpack("f", struct.pack("f", value))[0]


def _repeated(names: Iterable[str]) -> str | None:
    return next((name for name, count in Counter(names).items() if count > 1), None)


def read_tasks(path: Path) -> dict[str, TaskSection]:
    """The tasks that a file describes, in order."""
    tasks = _document(path).get("tasks")
    if not isinstance(tasks, dict) or not tasks:
        raise UserError(f"{path}: tasks: names no task; write one, with its classes, below it (docs/data.md)")
    for name in tasks:
        if name in RESERVED or (name in SCHEMA.names and name not in LABEL_COLUMNS):
            raise UserError(f"{path}: tasks.{name}: means something else in merc; choose another name for the task")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise UserError(
                f"{path}: tasks.{name}: cannot name a task; write small letters, digits and _, at most 40, a "
                "letter first (no yes, no, on, off, which YAML reads as true and false)"
            )
    return {name: _section(path, name, content) for name, content in tasks.items()}


def _document(path: Path) -> dict[Any, Any]:
    content = b""
    try:
        content = path.read_bytes()
        if len(content) > LARGEST_FILE:
            raise UserError(f"{len(content):,} bytes are no label file; write at most {LARGEST_FILE:,}")
        document = yaml.load(content.decode("utf-8-sig"), _UniqueKeys)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is no text in UTF-8; save it so") from None
    except (OSError, yaml.YAMLError, ValueError, KeyError, RecursionError) as error:
        words = " ".join(str(error).split()).replace(' in "<unicode string>"', "")
        remedy = "; indent with blanks, not with tabs" if b"\t" in content else ""
        remedy += "; a colour needs quotes: '#3366cc'" if b": #" in content else ""
        raise UserError(f"{path}: not valid YAML: {words}{remedy}") from None
    if not isinstance(document, dict):
        raise UserError(f"{path}: is no mapping; write `tasks:` and the tasks below it (docs/data.md)")
    if unknown := [key for key in document if key != "tasks"]:
        raise UserError(f"{path}: {unknown[0]}: unknown key; the only one is tasks (docs/data.md)")
    return document


class _UniqueKeys(LOADER):  # pyright: ignore[reportGeneralTypeIssues] chosen when the module is read
    """A YAML loader that refuses a key that stands twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key for key, _ in node.value if isinstance(key.value, str)]
        if twice := _repeated(key.value for key in keys):
            line = [key.start_mark.line + 1 for key in keys if key.value == twice][1]
            raise UserError(f"line {line}: {twice} stands twice; keep one of them")
        return super().construct_mapping(node, deep)


def _section(path: Path, name: str, content: Any) -> TaskSection:
    if not isinstance(content, dict):
        raise UserError(f"{path}: tasks.{name}: is no mapping; write its classes, or its kind and range, below it")
    try:
        section = TaskSection.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {_explain(f'tasks.{name}', error.errors()[0])}") from None
    if section.votes == (section.column or name):
        raise UserError(f"{path}: tasks.{name}.votes: is the column of the classes, too; name that of the votes")
    return section


# what to write for a key of another form
FORMS = {
    "classes": "write a list of words, classes: [bad, good]",
    "range": "write the smallest and the largest value, range: [-3, 3]",
    "kind": "choose classification, multilabel or regression",
    "map": "write a corpus, or all, the words below it, and their classes: {all: {glad: happy}}",
    "drop": "write a corpus, or all, and a list of words: {all: [other]}",
    "colours": "write a class and its colour: {happy: '#3366cc'}",
    "sentiments": f"write a class and one of {', '.join(SENTIMENTS)}: {{happy: positive}}",
    "column": "write the name of a column",
    "votes": "write the name of a column",
}


def _explain(task: str, detail: Any) -> str:
    key, loc, given = detail["loc"][0] if detail["loc"] else "", detail["loc"], detail["input"]
    if detail["type"] == "value_error":
        return f"{task}.{detail['ctx']['error']}"
    if detail["type"] == "extra_forbidden":
        return f"{task}.{loc[-1]}: unknown key; there are {', '.join(TaskSection.model_fields)}"
    if loc[-1] == "[key]":  # a word that is none: no, 1, ~
        place = ".".join([task, *map(str, loc[:-2])])
        return f"{place}: the word {_shown(given)} is no word to YAML; put it in quotes"
    place = ".".join([task, *map(str, loc)])
    if key == "map" and given is None and len(loc) == 3:
        return f"{place}: maps to nothing; write a class, or put the word into drop"
    if detail["type"] == "string_type" and not isinstance(given, dict | list | type(None)):
        return f"{place} = {_shown(given)}: is no word to YAML; put it in quotes"
    if key in ("map", "drop") and len(loc) == 2 and given is not None:
        return f"{place} = {_shown(given)}: stands for no corpus; {FORMS[key]}"
    return f"{place} = {'nothing' if given is None else _shown(given)}: {FORMS.get(key, detail['msg'])}"


def _shown(value: Any) -> str:
    shown = str(value) if hasattr(value, "isoformat") else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]} ..."
