"""bench.fuzz: whole files are read, mutated ones are read or refused, and what crashes or hangs is reported."""

import time
from pathlib import Path

import exported
import pytest

from bench.fuzz import __main__ as fuzz
from bench.fuzz import targets
from merc.runtime.errors import UserError

MAX_MEGABYTES = 1000  # beyond what a worker has after its imports


def test_every_whole_file_is_read(tmp_path):
    (tmp_path / "seeds").mkdir()
    files = fuzz.write_seeds(tmp_path / "seeds")
    for kind, read in targets.READERS.items():
        for number, path in enumerate(sorted((files / kind).iterdir())):
            scratch = tmp_path / f"{kind}{number}"
            scratch.mkdir()
            read(path, scratch)


def test_three_hundred_mutated_files_crash_and_hang_nothing(tmp_path):
    summary = fuzz.run(300, 30.0, seed=28, export=exported.write_model(tmp_path / "export"))
    assert summary["failures"] == {} and summary["inputs"] == 300
    assert set(summary["by_kind"]) == set(targets.SHARES)
    assert sum(counts["refused"] for counts in summary["by_kind"].values()) > 50
    assert summary["grown_megabytes"] < MAX_MEGABYTES


@pytest.mark.parametrize("words", [["--inputs", "0"], ["--inputs", "-3"], ["--seconds", "nan"]])
def test_nothing_to_fuzz_is_a_sentence(monkeypatch, words):
    monkeypatch.setattr("sys.argv", ["bench.fuzz", *words])
    with pytest.raises(UserError, match=words[0]):
        fuzz.main()


def _crash(path: Path, scratch: Path) -> None:
    raise LookupError(path.name)


def _hang(path: Path, scratch: Path) -> None:
    time.sleep(60)


@pytest.mark.parametrize(("read", "field"), [(_crash, "crashed"), (_hang, "hung_or_died")])
def test_a_crash_and_a_hang_are_reported(monkeypatch, read, field):
    monkeypatch.setattr(
        targets, "READERS", {"order": _crash} if read is _crash else {"order": _hang, "table": _crash}
    )
    summary = fuzz.run(6, 1.0, seed=1, export=None)
    assert summary[field] > 0 and set(summary["failures"]) <= set(range(6))
    assert any("LookupError" in message for message in summary["failures"].values())
