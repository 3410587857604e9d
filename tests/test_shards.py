"""Shards of a stage: which items a process does, and a scheduler's array that is started from inside the stage."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from merc.runtime import entry_point, shards
from merc.runtime.errors import UserError
from merc.runtime.shards import Shard

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "docs/slurm-array.sh"
FAKE_SBATCH = """#!/bin/bash
[ "$1" = --array=0-2 ] && [ "$2" = --wait ] || exit 9
for number in 0 1 2; do
    SLURM_ARRAY_TASK_ID=$number SLURM_ARRAY_TASK_COUNT=3 bash "${@:3}"
done
exit 1
"""
STAGE = """import sys
from pathlib import Path
from merc.runtime import shards
words, shard = shards.take(sys.argv[1:])
Path(f"{'-'.join(words)}.{shard.index}-of-{shard.count}").touch()
"""


def test_shards_are_disjoint_and_whole():
    items = list(range(11))
    parts = [Shard(index, 3).of(items) for index in range(3)]
    assert sorted(item for part in parts for item in part) == items
    assert [len(part) for part in parts] == [4, 4, 3]


@pytest.mark.parametrize(
    ("words", "environment", "expected"),
    [
        (["sample", "--shard", "1/3"], {"SLURM_ARRAY_TASK_ID": "7"}, (["sample"], Shard(1, 3))),
        (["--shard", "0/1", "sample"], {}, (["sample"], Shard(0, 1))),
        (["sample", "--shard"], {"MERC_SHARD": "2/5"}, (["sample"], Shard(2, 5))),
        (["--shard"], {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "4"}, ([], Shard(3, 4))),
        (["--shard"], {"SKYPILOT_JOB_RANK": "0", "SKYPILOT_NUM_JOBS": "2"}, ([], Shard(0, 2))),
        # an array of whole runs, which did not ask for shards
        (["sample"], {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "4"}, (["sample"], None)),
    ],
)
def test_the_command_line_or_the_scheduler_says_which(words, environment, expected):
    assert shards.take(words, environment) == expected


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        (["--shard", "3/3"], {}),
        (["--shard", "a/b"], {}),
        (["--shard", "0/" + "9" * 5000], {}),
        (["--shard"], {}),
        (["--shard"], {"MERC_SHARD": "1"}),
    ],
)
def test_what_is_no_shard_is_one_line(words, environment):
    with pytest.raises(UserError, match="--shard") as error:
        shards.take(words, environment)
    assert len(str(error.value)) < 200


def test_a_quote_that_is_not_closed_is_one_line(monkeypatch):
    monkeypatch.setenv(shards.ARRAY, "sbatch 'foo")
    with pytest.raises(UserError, match=r'^MERC_ARRAY = "sbatch \'foo": No closing quotation; see docs/scale.md$'):
        shards.run_array("encode", "sample", "text")


def test_a_stage_without_shards_says_so(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train", "--shard", "0/2"])
    with pytest.raises(SystemExit):
        entry_point.run(lambda: None)
    assert "this stage has no shards" in capsys.readouterr().err


def test_an_array_runs_from_inside_the_stage_and_a_failure_is_made_good(tmp_path, monkeypatch, capsys):
    assert subprocess.run(["bash", "-n", SCRIPT], check=False).returncode == 0
    for name, text in (("bin/sbatch", FAKE_SBATCH), ("stages/__init__.py", ""), ("stages/encode.py", STAGE)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "bin/sbatch").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    monkeypatch.setenv(shards.ARRAY, f"sbatch --array=0-2 --wait {SCRIPT}")
    shards.run_array("encode", "sample", "text")
    assert sorted(path.name for path in tmp_path.glob("sample-text.*")) == [
        f"sample-text.{n}-of-3" for n in range(3)
    ]
    assert "ended with exit code 1; the rest is done here" in capsys.readouterr().err
    monkeypatch.setenv(shards.ARRAY, "no-such-command")
    with pytest.raises(UserError, match="MERC_ARRAY = no-such-command"):
        shards.run_array("encode")
