"""params.yaml, read strictly: every stage reads the keys that it declares in dvc.yaml, by name, with a type."""

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from merc.problem import Problem

FILE = Path("params.yaml")
T = TypeVar("T")


class Strict(BaseModel):
    """A section of params.yaml: a value for every key, no unknown key, no silent conversion, no infinity or NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def read(key: str, kind: type[T], path: Path = FILE) -> T:
    """The value under a dotted key ('train', 'train.seeds', 'encode.text'), checked against `kind`."""
    value = _lookup(key, path)
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise Problem("\n".join(_explain(key, kind, one, path) for one in error.errors())) from None


def _lookup(key: str, path: Path) -> Any:
    node = _document(path)
    for depth, name in enumerate(parts := key.split(".")):
        place = ".".join(parts[:depth])
        if not isinstance(node, dict):
            raise Problem(f"{path}: {place} = {node!r}: is no section, and {name} belongs in it (see presets/)")
        if name not in node:
            place = f"{place}.{name}".lstrip(".")
            raise Problem(f"{path}: {place} is missing{_guess(name, list(node))}; add it back (see presets/)")
        node = node[name]
    return node


def _document(path: Path) -> dict[Any, Any]:
    if not path.is_file():
        raise Problem(f"{path}: not found in {Path.cwd().name}/; run from the top of the repository")
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Problem(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise Problem(f"{path}: holds no sections; take one of presets/, or git's: git checkout {path}")
    return document


def _explain(key: str, kind: Any, error: Any, path: Path) -> str:
    place = ".".join([key, *map(str, error["loc"])])
    if error["type"] == "extra_forbidden":
        return f"{path}: {place}: unknown key{_guess(str(error['loc'][-1]), _keys(kind, error['loc'][:-1]))}"
    if error["type"] == "missing":
        return f"{path}: {place} is missing; add it back (see presets/)"
    return f"{path}: {place} = {error['input']!r}: {error['msg']}"


def _keys(kind: Any, location: tuple[Any, ...]) -> list[str]:
    for name in location:
        kind = (
            getattr(kind, "model_fields", {})[name].annotation
            if name in getattr(kind, "model_fields", {})
            else None
        )
    return list(getattr(kind, "model_fields", {}))


def _guess(name: str, known: list[Any]) -> str:
    close = difflib.get_close_matches(name, [str(one) for one in known], n=1)
    return f"; did you mean {close[0]}?" if close else ""
