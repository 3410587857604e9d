"""Result files: the same bytes for the same numbers, on every run."""

import json
import math
from pathlib import Path
from typing import Any

from merc.problem import Problem

DECIMALS = 4  # of a metric; more would differ between processors


def write_json(path: Path, content: Any) -> None:
    """Write JSON in the given key order, floats rounded, NaN as null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_plain(content), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read what `write_json` wrote."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Problem(f"{path}: not there; run `dvc repro`") from None
    except ValueError as error:
        raise Problem(f"{path}: is no JSON, perhaps half-written ({error}); run `dvc repro`") from None


def _plain(content: Any) -> Any:
    if isinstance(content, dict):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    if hasattr(content, "item"):  # a number of numpy's or torch's
        content = content.item()
    if isinstance(content, float):
        return round(content, DECIMALS) if math.isfinite(content) else None
    return content
