"""python -m merc preset NAME: params.yaml = presets/sample.yaml with the values of presets/NAME.yaml over it."""

from pathlib import Path
from typing import Any

import yaml

from merc import params
from merc.overlay import overlaid
from merc.problem import Problem

FOLDER = Path("presets")
BASE = "sample"
FLAGS = "--flags"
PLAIN = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./@%+:")


def write(*words: str) -> None:
    """Write params.yaml, or with --flags print what makes `dvc exp run` use the preset without writing it."""
    names = [word for word in words if word != FLAGS]
    if len(names) != 1 or len(words) - len(names) > 1:
        raise Problem(f"preset: one name is needed, and {FLAGS} if wanted: choose one of {', '.join(known())}")
    target, now = text(names[0]), _now()
    changed = differences(now, yaml.safe_load(target))
    if FLAGS in words:
        print(" ".join(flag(key, value) for key, (_, value) in changed.items()))
        return
    params.FILE.write_text(target, encoding="utf-8")
    for key, (old, new) in changed.items():
        print(f"{key}: {_shown(old)} -> {_shown(new)}")
    print(f"{params.FILE} is now presets/{names[0]}.yaml" + ("" if changed else "; no value has changed"))


def known() -> list[str]:
    """The names of the presets."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def text(name: str) -> str:
    """The whole params.yaml of a preset, with the comments of the sample's."""
    if name not in known():
        raise Problem(f"preset: no presets/{name}.yaml; choose one of {', '.join(known())}")
    base = (FOLDER / f"{BASE}.yaml").read_text(encoding="utf-8")
    return base if name == BASE else overlaid(base, _load(FOLDER / f"{name}.yaml"))


class Gone:
    """In the place of a value that one side has not."""


def differences(old: Any, new: Any, key: str = "") -> dict[str, tuple[Any, Any]]:
    """dotted key -> (old, new) of every value that differs; lists count as one value."""
    if isinstance(old, dict) and isinstance(new, dict) and old and new:
        found: dict[str, tuple[Any, Any]] = {}
        for name in dict.fromkeys([*old, *new]):
            dotted = f"{key}.{name}" if key else str(name)
            found |= differences(old.get(name, Gone), new.get(name, Gone), dotted)
        return found
    same = type(old) is type(new) and old == new
    return {} if same else {key: (old, new)}


def flag(key: str, value: Any) -> str:
    """`-S ...` in the grammar of Hydra, which DVC uses; ++ also adds a key, ~ takes one away."""
    return f"-S ~{key}" if value is Gone else f"-S ++{key}={_hydra(key, value)}"


def _hydra(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{_hydra(key, one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_hydra(key, one) for one in value) + "]"
    plain = yaml.safe_dump(value).removesuffix("\n...\n").strip() if not isinstance(value, str) else value
    if not plain or set(plain) - PLAIN or (isinstance(value, float) and "e" in plain):
        raise Problem(f"preset: {key} = {value!r} cannot be a flag; write the preset without {FLAGS}")
    return f"'{plain}'" if isinstance(value, str) and not isinstance(yaml.safe_load(plain), str) else plain


def _shown(value: Any) -> str:
    return (
        "(none)" if value is Gone else yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()
    )


def _now() -> Any:
    return _load(params.FILE) if params.FILE.is_file() else {}


def _load(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise Problem(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
