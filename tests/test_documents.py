"""The pages for readers: the paths that they name exist, and README's tree is the repository's."""

import re

import pytest
from closure import ROOT
from test_contributing import ADDED

HISTORY = {"log.md", "results.md"}  # of paths of their time
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in HISTORY),
    *sorted((ROOT / "docs/protocols").glob("*.md")),
    *sorted((ROOT / "data").glob("*/README.md")),
]
CREATED = {
    "merc/corpora/chat.py",
    "merc/encoders/audio/loudness.py",
    "models/mean.py",
    "stages/count.py",
}  # by recipes
PATH = re.compile(r"(?<![\w/.])(?:merc|models|stages|tests|docs|presets|bench|plots)/[\w./-]*\w")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_path_that_a_page_names_exists(page):
    text = re.sub(r"\S*[<{*$]\S*", "", page.read_text(encoding="utf-8"))  # patterns of paths are no paths
    paths = set(PATH.findall(text)) - set(ADDED.values())  # those are created by recipes
    assert {path for path in paths if not (ROOT / path).exists()} == set()


def test_the_readme_shows_every_package():
    shown = re.findall(r"^ {4}([\w.]+)/?  ", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert shown == sorted(path.name for path in (ROOT / "merc").iterdir() if not path.name.startswith("__"))
