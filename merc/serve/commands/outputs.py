"""Output formats of `predict`: a table, JSON, CSV and subtitles; film.py writes the annotated video."""

import csv
import json
import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from merc.data.records.transcripts import timestamp
from merc.runtime.errors import UserError
from merc.serve.predictor import answers

Rows = Sequence[dict[str, Any]]
BEFORE, AFTER = ("utterance", "seconds", "speaker"), ("trust", "90 % set", "missing", "text")  # the tasks' headings


def check_outputs(files: Mapping[str, Path], read: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse, before any work, outputs that would overwrite a file or cannot be written; `read` are the inputs."""
    read = {path.resolve() for path in read}
    if len({path.resolve() for path in files.values()}) < len(files):
        raise UserError(f"{', '.join(f'--{name}' for name in files)}: each needs a file of its own")
    for name, path in files.items():
        if path.resolve() in read:
            raise UserError(f"--{name} {path}: is what is read; choose another name")
        if path.is_dir():
            raise UserError(f"--{name} {path}: is a folder; name a file")
        if path.exists() and not overwrite:
            raise UserError(f"--{name} {path}: exists; --overwrite replaces it")
        if not path.parent.is_dir():
            raise UserError(f"--{name} {path}: there is no folder {path.parent}")


def write_atomically(path: Path, content: Callable[[Path], None]) -> None:
    """Write a file atomically: `content` writes a temporary file, which is renamed when it is complete."""
    temporary = path.with_name(f".{path.stem[:50]}.{os.getpid()}.part{path.suffix}")
    try:
        content(temporary)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def to_json(rows: Rows) -> str:
    """JSON with the keys of docs/predict.md."""
    return json.dumps(rows, indent=2, ensure_ascii=False)


def to_table(rows: Rows) -> str:
    """A plain-text table with one line per utterance; the last column is not padded."""
    tasks = shown_tasks(rows[0]) if rows else []
    lines = [(*BEFORE, *tasks, *AFTER), *(_cells(row, tasks) for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    padded = (
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    return "\n".join(padded)


def shown_tasks(row: Mapping[str, Any]) -> list[str]:
    """The columns of answers: every task of the model, and the sentiment of one of emotions that has none."""
    return [name for name, value in row.items() if isinstance(value, dict) and name not in answers.NO_ANSWERS]


def _cells(row: dict[str, Any], tasks: Sequence[str]) -> tuple[str, ...]:
    unsure = " (unsure)" if row["abstains"] else ""
    said = [answers.in_words(row, task) for task in tasks]
    return (
        printable(row["utterance"]),
        f"{row['start']:.1f}-{row['end']:.1f}",
        printable(row["speaker"]) or "-",
        said[0] + unsure,
        *said[1:],
        " ".join(f"{modality[0]}{100 * weight:.0f}" for modality, weight in row["gates"].items()) or "-",
        ",".join(row["prediction_set"]),
        ",".join(row["missing"]) or "-",
        printable(row["text"]) or "-",
    )


def printable(text: str) -> str:
    """The text on one line without control characters, safe to print on a terminal."""
    without_controls = (" " if unicodedata.category(character)[0] == "C" else character for character in text)
    return " ".join("".join(without_controls).split())


def _width(cell: str) -> int:
    """Width in columns of a terminal."""
    num_wide = sum(unicodedata.east_asian_width(character) in "WF" for character in cell)
    return len(cell) + num_wide - sum(bool(unicodedata.combining(character)) for character in cell)


def write_csv(path: Path, rows: Rows, dialogue: Any) -> None:
    """Write a CSV table with a column for each number."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        flat_rows = [_flatten(row) for row in rows]
        writer.writerow(flat_rows[0])
        writer.writerows(row.values() for row in flat_rows)


def _flatten(row: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if name == "kinds":
            continue
        if isinstance(value, dict):
            flat |= {f"{name}_{key}": number for key, number in value.items()}
        else:
            flat[name] = " ".join(value) if isinstance(value, list) else value
    return flat


def write_srt(path: Path, rows: Rows, dialogue: Any) -> None:
    """Write SubRip subtitles; those of several recordings as if these were played one after another."""
    blocks = []
    for number, (row, (begin, end)) in enumerate(zip(rows, joint_times(dialogue), strict=True), start=1):
        text = f"[{answers.in_words(row, answers.lead(row))}] {printable(row['text'])}".rstrip()
        blocks.append(f"{number}\n{timestamp(begin)} --> {timestamp(end)}\n{text}")
    path.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


def joint_times(dialogue: Any) -> list[tuple[float, float]]:
    """Start and end of each utterance in seconds if the recordings were played one after another."""
    times, offset, last = [], 0.0, None
    for index, utterance in enumerate(dialogue):
        recording = utterance.source if "#" in utterance.name else (utterance.source, index)
        if last is not None and recording != last:
            offset = times[-1][1]
        last = recording
        times.append((offset + utterance.start, offset + utterance.end))
    return times
