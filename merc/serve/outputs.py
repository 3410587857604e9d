"""How rows are shown and written: a table, JSON, CSV, subtitles; a film is annotate.py's."""

import csv
import json
import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from merc.problem import Problem

Rows = Sequence[dict[str, Any]]
HEADINGS = (
    "utterance",
    "seconds",
    "speaker",
    "emotion",
    "sentiment",
    "trust",
    "90 % set",
    "missing",
    "text",
)


def check(files: Mapping[str, Path], read: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse, before any work, an output that would destroy something or cannot be written."""
    read = {path.resolve() for path in read}
    if len({path.resolve() for path in files.values()}) < len(files):
        raise Problem(f"{', '.join(f'--{name}' for name in files)}: each needs a file of its own")
    for name, path in files.items():
        if path.resolve() in read:
            raise Problem(f"--{name} {path}: is what is read; choose another name")
        if path.is_dir():
            raise Problem(f"--{name} {path}: is a folder; name a file")
        if path.exists() and not overwrite:
            raise Problem(f"--{name} {path}: exists; --overwrite replaces it")
        if not path.parent.is_dir():
            raise Problem(f"--{name} {path}: there is no folder {path.parent}")


def write(path: Path, content: Callable[[Path], None]) -> None:
    """Let `content` write a file aside, and put it in place when it is whole."""
    aside = path.with_name(f".{path.stem[:50]}.{os.getpid()}.part{path.suffix}")
    try:
        content(aside)
        aside.replace(path)
    except OSError as error:
        raise Problem(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        aside.unlink(missing_ok=True)


def json_of(rows: Rows) -> str:
    """As docs/predict.md describes it."""
    return json.dumps(rows, indent=2, ensure_ascii=False)


def table(rows: Rows) -> str:
    """One line an utterance; the last column is as long as it is."""
    lines = [HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    padded = (
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    return "\n".join(padded)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    unsure = " (unsure)" if row["abstains"] else ""
    return (
        plain(row["utterance"]),
        f"{row['start']:.1f}-{row['end']:.1f}",
        plain(row["speaker"]) or "-",
        best(row["emotion"]) + unsure,
        best(row["sentiment"]),
        " ".join(f"{modality[0]}{100 * weight:.0f}" for modality, weight in row["gates"].items()) or "-",
        ",".join(row["prediction_set"]),
        ",".join(row["missing"]) or "-",
        plain(row["text"]) or "-",
    )


def best(chances: Mapping[str, float]) -> str:
    """The likeliest label, with its chance in percent."""
    if not chances:
        return "-"
    label = max(chances, key=chances.__getitem__)
    return f"{label} {100 * chances[label]:.0f} %"


def plain(words: str) -> str:
    """On one line, and without what would command a terminal."""
    return " ".join("".join(" " if unicodedata.category(sign)[0] == "C" else sign for sign in words).split())


def _width(cell: str) -> int:
    """Columns of a terminal."""
    wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in cell)
    return len(cell) + wide - sum(bool(unicodedata.combining(sign)) for sign in cell)


def write_csv(path: Path, rows: Rows, dialogue: Any) -> None:
    """A column for every number."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        flat = [_flat(row) for row in rows]
        writer.writerow(flat[0])
        writer.writerows(row.values() for row in flat)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            found |= {f"{name}_{key}": number for key, number in value.items()}
        else:
            found[name] = " ".join(value) if isinstance(value, list) else value
    return found


def write_srt(path: Path, rows: Rows, dialogue: Any) -> None:
    """Subtitles; those of several recordings as if one were played after another."""
    blocks = [
        f"{number}\n{clock(begin)} --> {clock(end)}\n[{best(row['emotion'])}] {plain(row['text'])}".rstrip()
        for number, (row, (begin, end)) in enumerate(zip(rows, on_one_clock(dialogue), strict=True), start=1)
    ]
    path.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


def on_one_clock(dialogue: Any) -> list[tuple[float, float]]:
    """Seconds of each utterance when its recordings are played one after another."""
    times, offset, last = [], 0.0, None
    for index, one in enumerate(dialogue):
        key = one.source if "#" in one.name else (one.source, index)
        if last is not None and key != last:
            offset = times[-1][1]
        last = key
        times.append((offset + one.start, offset + one.end))
    return times


def clock(seconds: float) -> str:
    """01:02:03,450."""
    thousandths = round(seconds * 1000)
    hours, minutes, rest = thousandths // 3_600_000, thousandths // 60_000 % 60, thousandths % 60_000
    return f"{hours:02}:{minutes:02}:{rest // 1000:02},{rest % 1000:03}"


def write_film(path: Path, rows: Rows, dialogue: Any) -> None:
    """The recordings with faces framed and emotions drawn in."""
    from merc.serve import annotate

    annotate.write(path, rows, dialogue)


WRITERS: dict[str, Callable[[Path, Rows, Any], None]] = {
    "csv": write_csv,
    "srt": write_srt,
    "annotate": write_film,
}
