"""The packages of merc: which there are, and that imports only ever point down."""

import ast
from collections import defaultdict
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from itertools import combinations

import pytest
from closure import ROOT, imports

# From the bottom to the top: a package imports those of lower layers, never one of its own layer or above.
LAYERS = (
    ("runtime", "plots", "templates"),
    ("data",),
    ("encoders",),
    ("training",),
    ("media", "finetuning", "evaluation", "explanation", "export"),
    ("corpora",),
    ("serve", "studies"),
)
LAYER = {package: number for number, packages in enumerate(LAYERS) for package in packages}
FILES = sorted((ROOT / "merc").rglob("*.py"))


def edges() -> Iterable[tuple[tuple[str, ...], tuple[str, ...]]]:
    """(importer, imported) as parts of paths below merc/, without the `__init__.py` of parents."""
    for path in FILES:
        for other in imports(path):
            parent = other.name == "__init__.py" and path.is_relative_to(other.parent)
            if other.is_relative_to(ROOT / "merc") and other != path and not parent:
                yield parts(path), parts(other)


def parts(path) -> tuple[str, ...]:
    return path.relative_to(ROOT / "merc").with_suffix("").parts


def test_merc_shows_its_architecture():
    entries = {path.name for path in (ROOT / "merc").iterdir()} - {"__pycache__"}
    assert len(entries) <= 16
    assert entries == {*LAYER, "plots.py", "templates.py", "__init__.py", "__main__.py"} - {"plots", "templates"}


def test_every_package_says_what_lives_in_it():
    folders = {path.parent for path in FILES}
    for folder in folders:
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))), folder


def test_no_package_imports_upwards():
    upward = {
        ("/".join(one), "/".join(other))
        for one, other in edges()
        if one[0] in LAYER and one[0] != other[0] and other[0] in LAYER and LAYER[one[0]] <= LAYER[other[0]]
    }
    assert upward == set()


@pytest.mark.parametrize("level", ["file", "sub-package"])
def test_nothing_imports_in_a_circle(level):
    """A package's own files may stand on either side of its sub-packages: these are compared with each other."""
    graph = defaultdict(set)
    for one, other in edges():
        if level == "file":
            graph[one].add(other)
        elif len(one) > 2 and len(other) > 2 and one[:2] != other[:2]:
            graph[one[:2]].add(other[:2])
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join("/".join(one) for one in error.args[1]))
    assert len(graph) > 5


def test_layers_name_a_package_once():
    assert not [pair for pair in combinations(LAYERS, 2) if set(pair[0]) & set(pair[1])]
