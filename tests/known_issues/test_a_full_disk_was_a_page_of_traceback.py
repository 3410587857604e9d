"""Without space on the disk a command ended in a traceback."""

import errno

import pytest

from merc.__main__ import main


def test_a_full_disk_is_one_line_and_another_error_of_the_system_is_a_traceback(monkeypatch, capsys):
    def write(code: int) -> None:
        raise OSError(code, "no way", "out/x.csv")

    for code in (errno.ENOSPC, errno.EROFS, errno.EACCES):
        monkeypatch.setattr("merc.studies.summary.results_command", lambda code=code: write(code))
        assert main(["results"]) == 2
        assert capsys.readouterr().err == "merc: out/x.csv: no way; make room or allow writing, then run it again\n"
    monkeypatch.setattr("merc.studies.summary.results_command", lambda: write(errno.EIO))
    with pytest.raises(OSError, match="no way"):
        main(["results"])
