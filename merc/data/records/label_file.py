"""Reading of a label space's YAML file: strict, and one line for the first mistake, with file, key and remedy."""

import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from merc.runtime.errors import UserError
from merc.runtime.params import LOADER

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")  # names columns of tables, files of plots and keys of metrics
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
SENTIMENTS = ("negative", "neutral", "positive")
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
        self._check_regression() if self.kind == "regression" else self._check_classes()
        return self

    def _check_regression(self) -> None:
        if self.range is None:
            raise _mistake("range", "is missing: write the smallest and the largest value, range: [-3, 3]")
        if not self.range[0] < self.range[1]:
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
        if twice := [name for name in self.classes if self.classes.count(name) > 1]:
            raise _mistake("classes", f"names {twice[0]!r} twice: name each class once")
        if blank := [name for name in self.classes if not name or name != name.strip() or name == "*"]:
            raise _mistake("classes", f"{blank[0]!r} is no name: write a word")
        if self.votes and self.kind == "multilabel":
            raise _mistake("votes", "only a classification has votes: take it out, or change kind")
        for key, mapping in [(f"map.{corpus}", words) for corpus, words in self.map.items()]:
            for word, label in mapping.items():
                self._check_class(f"{key}.{word}", label)
                if word in self.drop.get(key.removeprefix("map."), []):
                    raise _mistake(f"{key}.{word}", "is in drop, too: take it out of one of them")
        for key, values in (("colours", self.colours), ("sentiments", self.sentiments)):
            for label in values:
                self._check_class(key, label)
        for label, colour in self.colours.items():
            if not COLOUR.fullmatch(colour):
                raise _mistake(f"colours.{label}", f"{colour!r} is no colour: write it as '#3366cc'")
        for label, sentiment in self.sentiments.items():
            if sentiment not in SENTIMENTS:
                raise _mistake(f"sentiments.{label}", f"{sentiment!r}: choose one of {', '.join(SENTIMENTS)}")

    def _check_class(self, key: str, label: str) -> None:
        if label not in self.classes:
            raise _mistake(key, f"{label!r} is none of the classes: choose one of {', '.join(self.classes)}")


def _mistake(key: str, text: str) -> ValueError:
    return ValueError(f"{key}: {text}")


def read_tasks(path: Path) -> dict[str, TaskSection]:
    """The tasks that a file describes, in order."""
    tasks = _document(path).get("tasks")
    if not isinstance(tasks, dict) or not tasks:
        raise UserError(f"{path}: tasks: names no task; write one, with its classes, below it (docs/data.md)")
    for name in tasks:
        if not isinstance(name, str) or not NAME.fullmatch(name) or name in RESERVED:
            raise UserError(
                f"{path}: tasks.{name}: cannot name a task; write small letters, digits and _, and none of "
                f"merc's own names ({', '.join(sorted(RESERVED))})"
            )
    return {name: _section(path, name, content) for name, content in tasks.items()}


def _document(path: Path) -> dict[Any, Any]:
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (OSError, yaml.YAMLError, ValueError, KeyError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise UserError(f"{path}: is no mapping; write `tasks:` and the tasks below it (docs/data.md)")
    if unknown := [key for key in document if key != "tasks"]:
        raise UserError(f"{path}: {unknown[0]}: unknown key; the only one is tasks (docs/data.md)")
    return document


class _UniqueKeys(LOADER):  # pyright: ignore[reportGeneralTypeIssues] chosen when the module is read
    """A YAML loader that refuses a key that stands twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise UserError(f"line {node.start_mark.line + 1}: {twice[0]} stands twice; keep one of them")
        return super().construct_mapping(node, deep)


def _section(path: Path, name: str, content: Any) -> TaskSection:
    if not isinstance(content, dict):
        raise UserError(f"{path}: tasks.{name}: is no mapping; write its classes, or its kind and range, below it")
    try:
        return TaskSection.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {_explain(f'tasks.{name}', error.errors()[0])}") from None


def _explain(task: str, detail: Any) -> str:
    place = ".".join([task, *map(str, detail["loc"])])
    if detail["type"] == "value_error":
        return f"{task}.{detail['ctx']['error']}"
    if detail["type"] == "extra_forbidden":
        return f"{place}: unknown key; there are {', '.join(TaskSection.model_fields)}"
    if detail["loc"][0] == "map" and detail["input"] is None:
        return f"{place}: maps to nothing; write a class, or put the word into drop"
    if detail["loc"][0] in ("map", "drop") and len(detail["loc"]) == 2:
        return (
            f"{place} = {detail['input']!r}: stands for no corpus; write a corpus, or all, and the words below it"
        )
    if detail["type"] == "string_type":
        return f"{place} = {detail['input']!r}: is no word; put it in quotes"
    return f"{place} = {detail['input']!r}: {detail['msg']}"
