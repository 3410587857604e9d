"""`python -m merc preset NAME`: write params.yaml = presets/sample.yaml with the values of presets/NAME.yaml."""

from pathlib import Path
from typing import Any

import yaml

from merc.runtime import params
from merc.runtime.errors import CommandLine, UserError
from merc.studies.yaml_overlay import overlaid

FOLDER = Path("presets")
BASE = "sample"
FLAGS = "--flags"
UNQUOTED_CHARACTERS = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./@%+:")


def preset_command(*words: str) -> None:
    """Write params.yaml; with --flags, only print the flags that give `dvc exp run` the same values."""
    parser = CommandLine(
        prog="python -m merc preset",
        description="Write params.yaml with the values of a preset, and print what changes.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(preset_names())}")
    parser.add_argument(FLAGS, action="store_true", help="print flags for `dvc exp run`, write nothing")
    options = parser.parse_args(words)
    if not preset_names():
        raise UserError(f"preset: there is no {FOLDER}/ here; call it in merc's checkout")
    if len(options.names) != 1:
        raise UserError(
            f"preset: one name is needed, and {FLAGS} if wanted: choose one of {', '.join(preset_names())}"
        )
    (name,) = options.names
    preset = preset_text(name)
    current = _load(params.FILE) if params.FILE.is_file() else {}
    changes = differences(current, yaml.safe_load(preset))
    if options.flags:
        print(" ".join(hydra_flag(key, value) for key, (_, value) in changes.items()))
        return
    params.FILE.write_text(preset, encoding="utf-8")
    for key, (old, new) in changes.items():
        print(f"{key}: {_inline_yaml(old)} -> {_inline_yaml(new)}")
    print(f"{params.FILE} is now presets/{name}.yaml" + ("" if changes else "; no value has changed"))


def preset_names() -> list[str]:
    """Names of the presets."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def preset_text(name: str) -> str:
    """Text of the complete params.yaml of a preset, with the comments of presets/sample.yaml."""
    if name not in preset_names():
        raise UserError(f"preset: no presets/{name}.yaml; choose one of {', '.join(preset_names())}")
    base = (FOLDER / f"{BASE}.yaml").read_text(encoding="utf-8")
    return base if name == BASE else overlaid(base, _load(FOLDER / f"{name}.yaml"))


class Absent:
    """Stands for a value that only the other side has."""


def differences(old: Any, new: Any, key: str = "") -> dict[str, tuple[Any, Any]]:
    """{dotted key: (old, new)} of every value that differs; a list is compared as a single value."""
    if isinstance(old, dict) and isinstance(new, dict) and old and new:
        changes: dict[str, tuple[Any, Any]] = {}
        for name in dict.fromkeys([*old, *new]):
            dotted = f"{key}.{name}" if key else str(name)
            changes |= differences(old.get(name, Absent), new.get(name, Absent), dotted)
        return changes
    is_same = type(old) is type(new) and old == new
    return {} if is_same else {key: (old, new)}


def hydra_flag(key: str, value: Any) -> str:
    """`-S ...` in Hydra's override grammar, which DVC uses: ++ sets or adds a key, ~ removes one."""
    return f"-S ~{key}" if value is Absent else f"-S ++{key}={_hydra(key, value)}"


def _hydra(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{_hydra(key, item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_hydra(key, item) for item in value) + "]"
    plain = yaml.safe_dump(value).removesuffix("\n...\n").strip() if not isinstance(value, str) else value
    if not plain or set(plain) - UNQUOTED_CHARACTERS or (isinstance(value, float) and "e" in plain):
        raise UserError(f"preset: {key} = {value!r} cannot be a flag; write the preset without {FLAGS}")
    return f"'{plain}'" if isinstance(value, str) and not isinstance(yaml.safe_load(plain), str) else plain


def _inline_yaml(value: Any) -> str:
    if value is Absent:
        return "(none)"
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()


def _load(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
