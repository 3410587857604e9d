"""The pictures of the README: light enough for Git, and of what they show as it is now."""

import json

import pictures
import pytest
from PIL import Image

RECORD = json.loads(pictures.RECORD.read_text(encoding="utf-8"))


def test_every_picture_is_recorded_and_drawn_by_make_pictures():
    files = {path.stem for path in pictures.FOLDER.glob("*.png")}
    assert files == set(RECORD) == set(pictures.SOURCES) == set(pictures.DRAWN)


@pytest.mark.parametrize("name", pictures.SOURCES)
def test_a_picture_is_not_older_than_what_it_shows(name):
    now = pictures.shown(name)
    older = [source for source in now if RECORD[name].get(source) != now[source]]
    assert not older, (
        f"docs/pictures/{name}.png is older than {', '.join(older)}: run `make pictures` and look at it"
    )


@pytest.mark.parametrize("name", pictures.SOURCES)
def test_a_picture_is_light(name):
    path = pictures.FOLDER / f"{name}.png"
    assert path.stat().st_size < 300_000
    assert Image.open(path).size[0] > 1000


def test_the_pipeline_is_that_of_dvc_yaml():
    """Every stage has a box, is drawn after what it directly follows, and only the first follows nothing."""
    graph = pictures.stage_graph()
    names = list(graph)
    assert [name for name in names if not graph[name]["after"]] == ["sample"]
    assert all(names.index(before) < names.index(name) for name in names for before in graph[name]["after"])


def test_a_picture_of_something_else_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "stage_graph", lambda: {"sample": {"desc": "another", "after": []}})
    assert pictures.shown("pipeline") != RECORD["pipeline"]
