"""A cell of a table beyond 131,072 characters, where csv's own limit is, ended in its error."""


def test_a_cell_of_any_length_that_memory_takes_is_read():
    import csv

    from merc.data.records.transcripts import decode

    rows = csv.reader([decode(b"a," + b"b" * 200_000)])
    assert len(next(rows)[1]) == 200_000
