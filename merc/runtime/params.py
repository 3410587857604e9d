"""Typed, strict access to params.yaml: a stage reads the keys that it declares in dvc.yaml, by dotted name."""

import difflib
from pathlib import Path
from typing import Annotated, Any, TypeVar, overload

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from merc.runtime.errors import UserError

FILE = Path("params.yaml")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the parser in C: 0.06 s less per call
T = TypeVar("T")
Seed = Annotated[int, Field(ge=0, lt=2**31)]  # what torch, numpy, scikit-learn and a table of int32 all take


class StrictModel(BaseModel):
    """Base class of sections of params.yaml: all keys required, no others, no conversion, no infinity or NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


@overload
def read(key: str, kind: type[T], path: Path = ...) -> T: ...
@overload
def read(key: str, kind: Any, path: Path = ...) -> Any: ...  # Literal, Annotated or a union, as TypeAdapter
def read(key: str, kind: Any, path: Path = FILE) -> Any:
    """Read the value of a dotted key ('train', 'train.seeds', 'encode.text'), validated as type `kind`."""
    value = _lookup(key, path)
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise UserError("\n".join(_explain(key, kind, detail, path) for detail in error.errors())) from None


def _lookup(key: str, path: Path) -> Any:
    node = _document(path)
    for depth, name in enumerate(parts := key.split(".")):
        location = ".".join(parts[:depth])
        if not isinstance(node, dict):
            raise UserError(
                f"{path}: {location} = {node!r}: is no section, and {name} belongs in it (see presets/)"
            )
        if name not in node:
            location = f"{location}.{name}".lstrip(".")
            raise UserError(
                f"{path}: {location} is missing{_suggest(name, list(node))}; add it back (see presets/)"
            )
        node = node[name]
    return node


def _document(path: Path) -> dict[Any, Any]:
    if not path.is_file():
        raise UserError(f"{path}: not found in {Path.cwd().name}/; run from the top of the repository")
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), LOADER)
    except (yaml.YAMLError, ValueError, KeyError, RecursionError) as error:  # not all of PyYAML's are its own
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise UserError(f"{path}: holds no sections; take one of presets/, or git's: git checkout {path}")
    return document


def _explain(key: str, kind: Any, detail: Any, path: Path) -> str:
    location = ".".join([key, *map(str, detail["loc"])])
    if detail["type"] == "extra_forbidden":
        return f"{path}: {location}: unknown key{_suggest(str(detail['loc'][-1]), _keys(kind, detail['loc'][:-1]))}"
    if detail["type"] == "missing":
        return f"{path}: {location} is missing; add it back (see presets/)"
    said = detail["msg"].removeprefix("Value error, ")  # pydantic's, before the words of our own validators
    return f"{path}: {location} = {_shown(detail['input'])}: {said}"


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except RecursionError:
        return "something nested too deep"


def _keys(kind: Any, location: tuple[Any, ...]) -> list[str]:
    """Field names of the (nested) section at this location; empty if it is no section."""
    for name in location:
        field = getattr(kind, "model_fields", {}).get(name)
        kind = field and field.annotation
    return list(getattr(kind, "model_fields", {}))


def _suggest(name: str, keys: list[Any]) -> str:
    close = difflib.get_close_matches(name, [str(key) for key in keys], n=1)
    return f"; did you mean {close[0]}?" if close else ""
