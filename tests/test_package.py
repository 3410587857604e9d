"""The wheel: what is in it, and that merc works from it, outside a checkout, beside a foreign package `models`."""

import ast
import os
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from urllib.request import urlopen

import pytest
from closure import ROOT
from exported import write_dialogue, write_model

BUILT = ["merc", "models", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"]
BUILD = "from setuptools import build_meta; build_meta.build_wheel('wheel')"
CLI = "import sys; from merc.__main__ import cli; sys.exit(cli())"
FOREIGN = "raise ImportError('a package of somebody else')\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """As `pip install .` builds it, of a copy of the repository."""
    copy = tmp_path_factory.mktemp("source")
    for name in [*BUILT, *(path.name for path in ROOT.glob("requirements*.txt"))]:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy)
    (copy / "build/lib/merc").mkdir(parents=True)
    (copy / "build/lib/merc/deleted.py").touch()  # left over from a build of an older commit
    subprocess.run([sys.executable, "-c", BUILD], cwd=copy, check=True, capture_output=True)
    return next((copy / "wheel").glob("merc-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder with the wheel's files and another package named `models`, whose import fails."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    assert not (folder / "models").exists()
    (folder / "models").mkdir()
    (folder / "models/__init__.py").write_text(FOREIGN, encoding="utf-8")
    return folder


def run(installed, place, *words):
    """`merc <words>` in another folder; `-m` would put that folder before what is installed."""
    command = [sys.executable, "-P", "-c", CLI, *map(str, words)]
    environment = os.environ | {"PYTHONPATH": str(installed)}
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)


def test_the_wheel_has_every_file_of_merc_and_models_and_nothing_else_at_the_top(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "merc", "models"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    wanted = {f"merc/{name}" if name.startswith("models/") else name for name in files if (ROOT / name).is_file()}
    assert {name for name in names if ".dist-info/" not in name} == wanted


def test_the_wheel_imports_nothing_that_it_has_not(wheel):
    """Its own modules by their names in it; `models` and `stages` by no name."""
    archive = zipfile.ZipFile(wheel)
    modules = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in archive.namelist()}
    for name in archive.namelist():
        if not name.endswith(".py"):
            continue
        for node in ast.walk(ast.parse(archive.read(name))):
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            imported += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for one in imported:
                assert one.split(".")[0] not in ("models", "stages"), name
                assert not one.startswith("merc.") or one in modules, (name, one)


def test_requirements_are_written_once_and_every_file_of_them_is_an_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    dynamic = project["tool"]["setuptools"]["dynamic"]
    assert dynamic.pop("dependencies") == {"file": ["requirements.txt"]}
    extras = {path.stem.removeprefix("requirements-"): path.name for path in ROOT.glob("requirements-*.txt")}
    assert dynamic["optional-dependencies"] == {name: {"file": [file]} for name, file in extras.items()}


def test_a_foreign_package_named_models_is_not_in_the_way(installed, tmp_path):
    assert "whisper-base" in run(installed, tmp_path, "weights", "list").stdout
    code = (
        "import merc, merc.models.network, merc.serve.predictor.predictor, sys;"
        "print(merc.__file__, 'models' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-P", "-c", code]
    told = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert told.stdout == f"{installed / 'merc/__init__.py'} False\n"


@pytest.mark.slow
def test_an_installed_merc_predicts_explains_and_serves(installed, tmp_path):
    write_model(tmp_path / "export")
    write_dialogue(tmp_path / "clips", 1)
    for command in ("predict", "explain"):  # of the real encoders
        told = run(installed, tmp_path, command, "clips/dia0_utt0.mp4", "--model", "export")
        assert told.returncode == 0, told.stderr
        assert "sadness" in told.stdout
    command = [sys.executable, "-u", "-P", "-c", CLI, "serve", "--model", "export", "--port", "0"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(installed)}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        address = process.stdout.readline().split()[1]
        with urlopen(f"{address}why.js") as answer:
            assert "reasons" in answer.read().decode()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


@pytest.mark.parametrize("command", ["preset small", "results"])
def test_what_needs_a_checkout_says_so_in_one_line(installed, tmp_path, command):
    told = run(installed, tmp_path, *command.split())
    assert told.returncode == 2 and told.stderr.count("\n") == 1, told.stderr
