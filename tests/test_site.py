"""The docs site: built without a warning, complete, and loading nothing from other hosts."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))
import conf  # noqa: E402

LOADED = re.compile(
    r"""<(?:script|img|iframe|source)[^>]+src=["']?(?:https?:)?//|<link[^>]+href=["']?(?:https?:)?//"""
)
STYLED = re.compile(r"""(?:url\(|@import )["']?(?:https?:)?//""")


def leaves(values: dict, path: tuple[str, ...] = ()) -> set[str]:
    """The dotted names of values that are no mappings."""
    found: set[str] = set()
    for key, value in values.items():
        found |= leaves(value, (*path, key)) if isinstance(value, dict) and value else {".".join((*path, key))}
    return found


def test_the_page_of_parameters_has_every_parameter():
    documented = set(re.findall(r"^\| `([\w.]+)` \| ", conf.parameters(), re.MULTILINE))
    wanted = leaves(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")))
    assert wanted - documented == set()


def test_every_page_is_in_a_table_of_contents():
    pages = {path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    named = set()
    for index in ("index", "protocols/index"):
        text = (ROOT / f"docs/{index}.md").read_text(encoding="utf-8")
        folder = index.rpartition("/")[0]
        for toctree in re.findall(r"```\{toctree\}\n(?::[^\n]*\n)*\n(.*?)```", text, re.DOTALL):
            named |= {f"{folder}/{line}".strip("/") for line in toctree.split()}
    assert (pages | {"reference/parameters"}) - {"index"} == named  # parameters.md: written by conf.py


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "--keep-going", "-q", "-b", "html"]
    built = subprocess.run([*command, ROOT / "docs", tmp_path / "site"], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        assert not LOADED.search(page.read_text(encoding="utf-8")), page
    for style in (tmp_path / "site").rglob("*.css"):
        assert not STYLED.search(style.read_text(encoding="utf-8")), style
    ids = {page: set(re.findall(r'\bid="([^"]+)"', page.read_text(encoding="utf-8"))) for page in pages}
    for page in pages:
        for link in re.findall(r'<a [^>]*href="([^"]+)"', page.read_text(encoding="utf-8")):
            if "://" in link or link.startswith(("mailto:", "data:")):
                continue
            path, _, fragment = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f"{page.name}: {link}"
            assert not fragment or target not in ids or fragment in ids[target], f"{page.name}: {link}"
