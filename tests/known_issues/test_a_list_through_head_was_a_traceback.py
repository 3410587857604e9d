"""`merc ... | head` ended in a BrokenPipeError."""

import os
import subprocess
import sys

from closure import ROOT
from test_command_line import run  # noqa: F401 (fixtures)


def test_a_reader_who_has_enough_ends_it_in_silence(run):  # noqa: F811
    reading, writing = os.pipe()
    os.close(reading)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "merc", "results"]
    ended = subprocess.run(command, cwd=run, env=environment, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, "")
