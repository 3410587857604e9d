"""The code that a stage depends on, read from dvc.yaml: files, folders, and what an item of a matrix names."""

from pathlib import Path

import pytest
from closure import ROOT

from merc.runtime import stage_code
from merc.runtime.errors import UserError

STAGE = {"deps": ["stages/fly.py", "merc/${item.kind}", "merc/wings/${item.kind}.py", "data/raw", "out/egg"]}
FILES = ("stages/fly.py", "merc/bird/a.py", "merc/bird/deep/page.html", "merc/wings/bird.py", "merc/wings/bat.py")


@pytest.fixture
def project(tmp_path) -> Path:
    (tmp_path / ".dvcignore").write_text((ROOT / ".dvcignore").read_text(encoding="utf-8"), encoding="utf-8")
    leftovers = ("merc/bird/__pycache__/a.pyc", "merc/bird/.a.py.swp", "merc/bird/a.py~", "merc/bird/#a.py#")
    for name in (*FILES, *leftovers, "data/raw/clip.mp4", "merc/bat/a.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    return tmp_path


def test_files_and_folders_of_an_items_code_and_no_data(project):
    found = {file.as_posix() for file in stage_code.code_files(project, STAGE, {"kind": "bird"})}
    assert found == set(FILES) - {"merc/wings/bat.py"}


@pytest.mark.parametrize("name", ["merc/bird/deep/page.html", "merc/wings/bird.py", "merc/bird/new.py"])
def test_any_other_content_is_another_digest(project, name):
    before = stage_code.file_digests(project, stage_code.code_files(project, STAGE, {"kind": "bird"}))
    (project / name).write_text("edited", encoding="utf-8")
    assert stage_code.file_digests(project, stage_code.code_files(project, STAGE, {"kind": "bird"})) != before


def test_a_dependency_that_is_not_there_is_named(project):
    with pytest.raises(UserError, match=r"dvc\.yaml: the dependency merc/fish is not there"):
        stage_code.code_files(project, STAGE, {"kind": "fish"})
