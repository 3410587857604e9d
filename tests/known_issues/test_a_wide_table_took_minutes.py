"""A table with a hundred thousand columns was compared with itself for minutes (bench.fuzz found it)."""

import time

import pytest

from merc.corpora.forms import table
from merc.runtime.errors import UserError


def test_a_hundred_thousand_columns_are_looked_through_once(tmp_path):
    path = tmp_path / "utterances.csv"
    path.write_text("split,text,text" + "".join(f",c{number}" for number in range(100_000)) + "\ntrain,a,b\n")
    began = time.process_time()
    with pytest.raises(UserError, match="column 'text' stands twice"):
        table.read_table(path)
    assert time.process_time() - began < 5
