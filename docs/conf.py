"""Settings of the docs site, which `make docs` builds by Sphinx into out/docs."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

project = "merc"
author = "the merc authors"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = "merc"
html_show_copyright = False
exclude_patterns: list[str] = []
myst_heading_anchors = 3
myst_links_external_new_tab = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the signature keeps the names; docstrings say what, shapes and units
nitpick_ignore_regex = [("py:.*", r"(numpy|torch|pathlib|collections|typing)\..*")]
pygments_style = "default"


def parameters() -> str:
    """A section for each of params.yaml, a row for each value: its default and the comment above it."""
    lines = [
        "# Parameters",
        "",
        "From `params.yaml`, which `dvc exp run -S NAME=VALUE` overrides; written by `docs/conf.py`.",
        "",
    ]
    path: list[str] = []
    comment: list[str] = []
    source = (HERE.parent / "params.yaml").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(source):
        if line.strip().startswith("#"):
            comment.append(line.strip("# "))
        elif found := re.match(r"( *)(\w+):(.*)", line):
            depth = len(found[1]) // 2
            path = [*path[:depth], found[2]]
            below = [other.strip() for other in source[number + 1 : number + 9]]
            items = [item[2:] for item in _leading(below)]
            if depth == 0 and not found[3]:
                lines += ["", f"## {found[2]}", "", "| name | value | |", "|---|---|---|"]
            if found[3] or items:
                value = found[3].strip() or f"[{', '.join(items)}]"
                lines.append(f"| `{'.'.join(path)}` | `{value}` | {_cell(comment)} |")
            elif comment and depth:
                lines.append(f"| `{'.'.join(path)}` | | {_cell(comment)} |")
            comment = []
    return "\n".join(lines) + "\n"


def _leading(lines: list[str]) -> list[str]:
    """The items of a list at the beginning of these lines."""
    end = next((number for number, line in enumerate(lines) if not line.startswith("- ")), len(lines))
    return lines[:end]


def _cell(comment: list[str]) -> str:
    return " ".join(comment).replace("|", "\\|").replace("<", "&lt;")


def setup(app) -> None:
    """Write the page of parameters before Sphinx looks for pages."""
    (HERE / "reference/parameters.md").write_text(parameters(), encoding="utf-8")
