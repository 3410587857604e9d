"""Every command that README.md and docs/ print is run in a clone of the repository, or, if its fence says that it
needs data, a network, a camera, a cluster or a GPU, parsed; its options are compared with those of `--help`.

    ```bash                  run by test_a_block_runs (slow), in the page's order; `server`: until it serves
    ```bash needs=MELD       parsed
    ```bash tested=FILE      run by that test file, which reads the page
    ```python                run, or parsed, likewise; a block ```text output below it is what it prints
    ```text usage            a synopsis: its commands exist
"""

import ast
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path

import pytest
from dvc.cli.parser import get_main_parser
from fenced import NEEDS, PAGES, blocks

from merc.__main__ import main

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = blocks()
COMMANDS = [block for block in BLOCKS if block.language in ("bash", "python") or "usage" in block.marks]
RUN = [block for block in COMMANDS if block.language != "text" and not {"needs", "tested"} & set(block.marks)]
LANGUAGES = {"bash", "python", "yaml", "text", "{toctree}", "{eval-rst}"}
MARKS = {"needs", "tested", "server", "usage", "output"}
COMMAND = re.compile(r"^(?:\.venv/bin/)?(?:python -m )?(merc|dvc) ([\w-]+)(?: ([\w-]+))?")
GROUPS = {
    "weights",
    "exp",
    "queue",
    "metrics",
    "params",
    "plots",
    "artifacts",
    "remote",
}  # their next word is a command


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_fence_says_what_it_holds(block):
    assert block.language in LANGUAGES
    assert set(block.marks) <= MARKS
    assert set(filter(None, block.marks.get("needs", "").split(","))) <= NEEDS
    if block.language == "text" and not block.marks:
        assert not COMMAND.match(block.text), "a command in a block of text: ```bash, or ```text usage"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_command_stands_outside_a_fence(page):
    """Indented blocks are not read by test_a_block_runs."""
    text = re.sub(r"^(`{3,}).*?^\1$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert not re.findall(r"\n\n {4,}(?:python -m|dvc|make|merc) .*", text)


@pytest.mark.parametrize("block", COMMANDS, ids=str)
def test_a_block_can_be_parsed_and_its_commands_exist(block):
    if block.language == "python":
        ast.parse(block.text)
        return
    if block.language == "bash":
        subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
    if block.marks.get("tested"):
        tester = (ROOT / block.marks["tested"]).read_text(encoding="utf-8")
        assert block.page in tester
    for line in block.lines:
        if found := COMMAND.match(line):
            program, command, below = found.groups()
            words = (command, below) if command in GROUPS else (command,)
            said = help_of(program, *filter(None, words))
            unknown = {flag for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", line) if flag not in said}
            assert not unknown, f"{line}: `--help` names no {unknown}"


@cache
def help_of(program: str, *words: str) -> str:
    """What `program words --help` prints; a word that is no command is an error."""
    said = io.StringIO()
    with redirect_stdout(said):
        try:
            code = (
                main([*words, "--help"]) if program == "merc" else get_main_parser().parse_args([*words, "--help"])
            )
        except SystemExit as ended:
            code = ended.code
    assert not code, f"{program} {' '.join(words)}: no such command"
    return said.getvalue()


@pytest.fixture(scope="module")
def clones(tmp_path_factory) -> Callable[[str], Path]:
    """A clone of the last commit for each page, with an `origin` of its own; packages and outputs as here."""
    cache_folder = _said([sys.executable, "-m", "dvc", "cache", "dir"], ROOT).strip()

    @cache
    def clone(page: str) -> Path:
        place = tmp_path_factory.mktemp(Path(page).stem)
        _said(["git", "clone", "-q", "--bare", ROOT, place / "origin.git"], place)
        _said(["git", "clone", "-q", place / "origin.git", "merc"], place)
        _link_packages(place / "merc")
        (place / "merc/.dvc/config.local").write_text(f"[cache]\n    dir = {cache_folder}\n", encoding="utf-8")
        _said([sys.executable, "-m", "dvc", "checkout", "-q"], place / "merc")
        return place / "merc"

    return clone


def _link_packages(clone: Path) -> None:
    """A .venv of links, with a stamp of its own: `make` installs nothing into the one that is linked to."""
    (clone / ".venv").mkdir()
    for entry in (ROOT / ".venv").iterdir():
        if entry.suffix not in (".stamp", ".log"):
            (clone / ".venv" / entry.name).symlink_to(entry.resolve())
    stamp = " ".join(_said(["sh", "-c", "cksum <requirements.lock"], clone).split())
    (clone / ".venv/runtime.stamp").write_text(stamp, encoding="utf-8")


def _said(command: list, folder: Path) -> str:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("block", RUN, ids=str)
def test_a_block_runs(block, clones):
    clone = clones(block.page)
    path = os.pathsep.join([str(clone / ".venv/bin"), os.environ["PATH"]])
    names = {"AUTHOR": "reader", "COMMITTER": "reader"}
    git = {f"GIT_{role}_{key}": f"{name}@example.org" for role, name in names.items() for key in ("NAME", "EMAIL")}
    command = ["bash", "-e", "-c", block.text] if block.language == "bash" else [sys.executable, "-c", block.text]
    environment = os.environ | git | {"PATH": path, "PYTHONUNBUFFERED": "1"}
    if "server" in block.marks:
        _serve(command, clone, environment)
        return
    process = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-4000:]
    if block.output is not None:
        assert process.stdout == block.output


def _serve(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    """Run until an address is printed, then end it as Ctrl-C does."""
    with (folder / "served.log").open("w+") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            until = time.monotonic() + 300
            while "http://" not in (folder / "served.log").read_text():
                assert process.poll() is None and time.monotonic() < until, (folder / "served.log").read_text()
                time.sleep(0.2)
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(timeout=60)


def test_this_test_reads_every_page():
    """A block of commands is run here, run by another test, or parsed for what it needs."""
    other = [block for block in COMMANDS if block not in RUN]
    assert all({"needs", "tested", "usage"} & set(block.marks) for block in other)
    assert {block.page for block in RUN} >= {
        "README.md",
        "docs/predict.md",
        "docs/explain.md",
        "docs/experiments.md",
    }
