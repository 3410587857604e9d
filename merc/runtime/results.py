"""Writers of result files (JSON, CSV) that give the same bytes for the same numbers on every run."""

import json
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merc.runtime.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

DECIMALS = 4  # of a metric; further ones would differ between processors


def write_json(path: Path, content: Any) -> None:
    """Write JSON with keys in insertion order, floats rounded, NaN and infinity as null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_to_json(content), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not there; run `dvc repro`") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is no JSON, perhaps half-written ({error}); run `dvc repro`") from None


def write_csv(path: Path, table: "pd.DataFrame", float_format: str | None = f"%.{DECIMALS}f") -> None:
    """Write CSV; float_format None writes the shortest representation of each float."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, float_format=float_format, lineterminator="\n")


def _to_json(content: Any) -> Any:
    """Convert to JSON's types, floats rounded."""
    if isinstance(content, dict):
        return {str(key): _to_json(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_to_json(value) for value in content]
    if hasattr(content, "item"):  # a numpy or torch scalar
        content = content.item()
    if isinstance(content, float):
        return round(content, DECIMALS) if math.isfinite(content) else None
    return content


def write_disabled(folder: Path, reason: str) -> None:
    """Replace the folder's content by off.json, for a part that is switched off; same bytes for the same reason."""
    recreate_folder(folder)
    write_json(folder / "off.json", {"off": reason})


def recreate_folder(folder: Path) -> None:
    """Create the folder, removing any earlier content."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
