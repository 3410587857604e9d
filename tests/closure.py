"""The static import closure of a stage, and what dvc.yaml declares: read from the files, nothing is imported."""

import ast
import itertools
import re
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("stages", "merc", "models")
# Modules that a registry looks up by name, by stage.
LOOKED_UP = {
    "extract": lambda item: ["merc.corpora." + item["corpus"]],
    "adapt": lambda item: ["merc.encoders." + item["modality"]],
    "encode": lambda item: ["merc.encoders." + item["modality"]],
    "finetune": lambda item: [f"merc.encoders.{modality}" for modality in ("text", "audio", "vision")],
    "evaluate": lambda item: ["merc.encoders.audio"],
    "explain": lambda item: [f"merc.encoders.{modality}" for modality in ("text", "audio", "vision")],
    "export": lambda item: [f"merc.encoders.{modality}" for modality in ("text", "audio", "vision")],
}


@cache
def imports(path: Path) -> frozenset[Path]:
    """The project's own files that a file imports, at any depth of its syntax, with the packages' __init__."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            found |= files_of(name)
    return frozenset(found)


def files_of(module: str) -> set[Path]:
    """The files that `import module` runs: its own, and every parent package's __init__."""
    parts = module.split(".")
    if parts[0] not in PACKAGES:
        return set()
    prefixes = [ROOT.joinpath(*parts[: depth + 1]) for depth in range(len(parts))]
    candidates = itertools.chain.from_iterable((p.with_suffix(".py"), p / "__init__.py") for p in prefixes)
    return {candidate for candidate in candidates if candidate.is_file()}


def closure(start: set[Path]) -> set[str]:
    """Everything that the files import, transitively, as paths from the top of the repository."""
    seen: set[Path] = set()
    waiting = set(start)
    while waiting:
        path = waiting.pop()
        seen.add(path)
        waiting |= imports(path) - seen
    return {path.relative_to(ROOT).as_posix() for path in seen}


def pipeline() -> dict[str, dict]:
    """The stages of dvc.yaml."""
    return yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def instances(corpora: list[str] | None = None) -> list[tuple[str, dict[str, str], dict]]:
    """(stage, item, declaration with the item filled in) for every matrix instance; of the committed corpora."""
    corpora = corpora or yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["data"]["corpora"]
    found = []
    for name, stage in pipeline().items():
        matrix = {
            key: corpora if value == "${data.corpora}" else value for key, value in stage.get("matrix", {}).items()
        }
        for values in itertools.product(*matrix.values()):
            item = dict(zip(matrix, values, strict=True))
            found.append((name, item, _filled(stage, item)))
    return found


def _filled(node, item: dict[str, str]):
    if isinstance(node, dict):
        return {_filled(key, item): _filled(value, item) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, item) for value in node]
    if isinstance(node, str):
        for key, value in item.items():
            node = node.replace(f"${{item.{key}}}", value)
    return node


def names(entries: list) -> list[str]:
    """Paths of a deps/outs/metrics/plots list, whose entries are strings or one-key mappings."""
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def own_files(stage: str, item: dict[str, str]) -> set[Path]:
    looked_up = [files_of(module) for module in LOOKED_UP.get(stage, lambda item: [])(item)]
    return {ROOT / "stages" / f"{stage}.py", ROOT / "stages" / "__init__.py"}.union(*looked_up)


def possible_instances() -> list[tuple[str, dict[str, str]]]:
    """As `instances`, for every corpus that there is a reader for, not only those of the committed params.yaml."""
    corpora = re.findall(
        r'^    "(\w+)": "merc\.corpora', (ROOT / "merc/corpora/registry.py").read_text(), re.MULTILINE
    )
    found = []
    for name, stage in pipeline().items():
        matrix = {
            key: corpora if isinstance(values, str) else values for key, values in stage.get("matrix", {}).items()
        }
        found += [(name, dict(zip(matrix, one, strict=True))) for one in itertools.product(*matrix.values())]
    return found
