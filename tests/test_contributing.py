"""The recipes of CONTRIBUTING.md, each followed once in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COPIED = (
    "merc",
    "models",
    "stages",
    "params.yaml",
    "dvc.yaml",
    "pyproject.toml",
    "tests/closure.py",
    "tests/networks.py",
)
ADDED = {  # recipe -> where its example file belongs
    "corpus": "merc/corpora/chat.py",
    "encoder": "merc/encoders/audio/loudness.py",
    "fusion": "models/mean.py",
    "stage": "stages/count.py",
}


@pytest.fixture
def repository(tmp_path) -> Path:
    """A copy of the code and the parameters."""
    for name in (*COPIED, "tests/test_pipeline.py"):
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    return tmp_path


def follow(repository: Path, recipe: str) -> None:
    """Add the recipe's example file, and apply the diffs of its section."""
    if recipe in ADDED:
        assert f"tests/examples/{recipe}.py" in section(recipe)
        shutil.copy(ROOT / "tests/examples" / f"{recipe}.py", repository / ADDED[recipe])
    (diff,) = re.findall(r"```diff\n(.*?)```", section(recipe), re.DOTALL)
    for name, body in re.findall(r"^--- (\S+)\n((?:[ +-](?!-).*\n)+)", diff, re.MULTILINE):
        path = repository / name
        lines = patched(path.read_text(encoding="utf-8").splitlines(), body.splitlines())
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def section(recipe: str) -> str:
    return re.search(rf"^### An? {recipe}\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE)[1]


def patched(lines: list[str], diff: list[str]) -> list[str]:
    """The lines after a diff without line numbers: context and removed lines are found in order of appearance."""
    position, leading = 0, []
    for sign, text in ((line[0], line[1:]) for line in diff):
        if sign == "+" and position == 0:
            leading.append(text)
        elif sign == "+":
            lines.insert(position, text)
            position += 1
        else:
            index = lines.index(text, position)
            lines[index : index + 1] = [*leading, text] if sign == " " else leading
            position, leading = index + len(leading) + (sign == " "), []
    return lines


def run(repository: Path, *arguments: str) -> str:
    """Output of a Python process in the copy."""
    path = os.pathsep.join(map(str, (repository, repository / "tests", ROOT / "tests/examples")))
    command, environment = [sys.executable, *arguments], os.environ | {"PYTHONPATH": path}
    process = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.mark.parametrize("recipe", ["corpus", "encoder", "fusion", "metric"])
def test_a_recipe_gives_what_it_promises(repository, recipe):
    follow(repository, recipe)
    run(repository, "-m", "checks", recipe)
    run(repository, "-m", "ruff", "check", "--no-cache", "-q", "merc", "models")
    run(repository, "-m", "ruff", "format", "--no-cache", "-q", "--check", "merc", "models")


def test_a_new_stage_runs_and_declares_what_it_reads(repository):
    follow(repository, "stage")
    run(repository, "-m", "checks", "manifests")
    run(repository, "-m", "stages.count")
    run(repository, "-m", "checks", "stage")
    assert " passed" in run(
        repository, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_pipeline.py", "-k", "count"
    )


def test_the_page_is_short():
    assert len(PAGE.splitlines()) < 150
