"""Transcripts of recordings: from --text, or from a .txt, .srt, .vtt or .csv next to the recording."""

import csv
import html
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import webvtt

from merc.data.records.transcripts import decode
from merc.runtime.errors import UserError
from merc.serve.predictor.recording_files import MELD, Recording

NO_TEXT_REASON = "none was given"  # reasons for a missing text
NO_WORDS_REASON = "no words were heard"
UNTIMED_REASON = "what was given has no start and end, which a recording that is cut needs"
SUFFIXES = (".txt", ".srt", ".vtt", ".csv")
# CSV columns, in order of preference
TEXT_COLUMNS = ("text", "transcript", "transcription", "sentence", "utterance")
NAME_COLUMNS = ("file", "filename", "file_name", "clip", "path", "video", "audio", "name", "id", "utterance")
SPEAKER_COLUMNS = ("speaker", "speaker_name", "character")
START_COLUMNS, END_COLUMNS = ("start", "start_time", "starttime", "begin"), ("end", "end_time", "endtime", "stop")
HEADER = "WEBVTT"
TIMES = re.compile(r"^.*-->.*$", re.MULTILINE)
TIMESTAMP = re.compile(r"(\d[\d:]*)(?:[.,](\d{0,3})\d*)?")
TAG = re.compile(r"\{\\[^}]*\}")  # of SubStation Alpha, found in SubRip files
MAX_BYTES = 50_000_000  # bytes of a transcript

Texts = str | Path | Sequence[str | None] | Mapping[str, str] | None


@dataclass(frozen=True)
class Cue:
    """A text of the recording from `start` to `end` seconds, or of all of it."""

    text: str
    speaker: str = ""
    start: float | None = None
    end: float | None = None


def read_cues(recording: Recording, texts: Texts) -> list[Cue]:
    """Cues of a recording in order: from the file or mapping `texts`, or if it is None from a file next to it."""
    if isinstance(texts, str | Path) and (path := _transcript_path(texts)):
        return _read(path, recording, is_required=True)
    if isinstance(texts, Mapping):
        text = texts.get(recording.name, texts.get(recording.path.name, ""))
        return [Cue(text)] if text.strip() else []
    return [] if texts is not None else _read_neighbour(recording)


def texts_by_utterance(texts: Texts, count: int) -> list[str] | None:
    """One text for each of `count` utterances if `texts` are texts themselves; None for a file or a mapping."""
    if isinstance(texts, str) and not _transcript_path(texts):
        texts = [texts]
    if texts is None or isinstance(texts, str | Path | Mapping):
        return None
    if len(texts) != count:
        raise UserError(f"{len(texts)} texts for {count} utterances: give one for each, or a .srt, .vtt or .csv")
    return [text or "" for text in texts]


def _transcript_path(texts: str | Path) -> Path | None:
    """The path of a transcript; None for a text itself, which does not end in one of SUFFIXES."""
    if Path(texts).suffix.lower() not in SUFFIXES or "\n" in str(texts):
        return None
    if not os.path.isfile(texts):  # noqa: PTH113 (no error for words longer than a name can be)
        if isinstance(texts, Path) or " " not in texts:
            raise UserError(f"{texts}: no such file")
        return None
    return Path(texts)


def _read_neighbour(recording: Recording) -> list[Cue]:
    """Read the transcript of the recording's name, else the CSV file in its folder that mentions it."""
    path = recording.path
    for suffix in SUFFIXES:
        for transcript in (path.with_suffix(suffix), path.with_suffix(suffix.upper())):
            if transcript.is_file() and transcript != path:
                return _read(transcript, recording, is_required=False)
    tables = sorted(table for table in path.parent.glob("*.csv") if table.is_file())
    cues_by_table = {
        table: table_cues for table in tables if (table_cues := _read(table, recording, is_required=False))
    }
    if len(cues_by_table) > 1:
        names = " and ".join(table.name for table in cues_by_table)
        raise UserError(f"{path}: {names} both say what is said in it; keep one, or name it with --text")
    return next(iter(cues_by_table.values()), [])


def _read(path: Path, recording: Recording, *, is_required: bool) -> list[Cue]:
    """Cues of a recording from a transcript; `is_required`: a table without a text column is an error."""
    content = _decode(path)
    suffix = path.suffix.lower()
    if suffix == ".txt":
        return [Cue(" ".join(content.split()))] if content.strip() else []
    if suffix == ".csv":
        return _parse_table(path, content, recording, is_required=is_required)
    parsed = parse_subtitles(content)
    if content.strip() and not parsed and "-->" not in content:
        raise UserError(f"{path}: holds no subtitle (00:00:01,000 --> 00:00:02,000)")
    return parsed


def _decode(path: Path) -> str:
    """Content of a text file."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: is larger than {MAX_BYTES // 1_000_000} MB; this is no transcript")
        return decode(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def parse_subtitles(content: str) -> list[Cue]:
    """Parse SubRip or WebVTT; cues without text are left out."""
    content = "\n".join(line.rstrip() for line in re.split(r"\r\n|\r|\n", content))
    content = TIMES.sub(lambda times: TIMESTAMP.sub(_vtt_timestamp, times[0], count=2), content)
    if not content.startswith(HEADER):  # SubRip is WebVTT with commas, and without its header
        content = f"{HEADER}\n\n{content}"
    cues = []
    for caption in webvtt.from_string(content):
        text = " ".join(html.unescape(TAG.sub("", caption.text)).split())
        start, end = (time.in_milliseconds() / 1000 for time in (caption.start_time, caption.end_time))
        if text and end > start:
            cues.append(Cue(text, (caption.voice or "").strip(), start, end))
    return cues


def _vtt_timestamp(timestamp: re.Match[str]) -> str:
    return f"{timestamp[1]}.{timestamp[2] or 0}"


def parse_timestamp(timestamp: str) -> float | None:
    """Seconds of a timestamp such as 1:02:03,450, 02:03.45 or 123.45; None if it is malformed."""
    parts = timestamp.strip().replace(",", ".").split(":")
    try:
        return sum(float(part) * 60**exponent for exponent, part in enumerate(reversed(parts)))
    except ValueError:
        return None


def _parse_table(path: Path, content: str, recording: Recording, *, is_required: bool) -> list[Cue]:
    """Cues of the rows that name the recording; of all rows if a table of its name has no column of recordings."""
    try:
        rows = list(csv.DictReader(io.StringIO(content), restval="", dialect=_dialect(content)))
    except csv.Error as error:
        raise UserError(f"{path}: is no table: {error}") from None
    columns = {name.strip().lower().replace(" ", "_"): name for name in (rows[0] if rows else ()) if name}
    text = next((columns[name] for name in TEXT_COLUMNS if name in columns), None)
    if text is None:
        if not is_required:
            return []
        raise UserError(f"{path}: has no column of words; call it {' or '.join(TEXT_COLUMNS[:3])}")
    has_same_name = path.stem == recording.path.stem
    matching = [row for row in rows if _names(row, columns, text, recording, has_same_name=has_same_name)]
    for row in matching:
        if any(cell.strip() for cell in row.get(None) or ()):  # the cells beyond the header's
            raise UserError(
                f"{path}: the row {', '.join(str(row[name]) for name in columns.values())!r} goes on beyond the "
                f"{len(columns)} columns of the header; put cells with commas in quotes"
            )
    return [_cue(row, columns, text) for row in matching if (row[text] or "").strip()]


def _dialect(content: str) -> type[csv.Dialect] | str:
    try:
        return csv.Sniffer().sniff(content.split("\n", 1)[0], delimiters=",;\t")
    except csv.Error:
        return "excel"


def _names(row: dict, columns: dict[str, str], text: str, recording: Recording, *, has_same_name: bool) -> bool:
    """Whether a row names the recording by MELD's ids or file name; without these columns: `has_same_name`."""
    meld = MELD.fullmatch(recording.path.stem)
    if "dialogue_id" in columns and "utterance_id" in columns:
        ids = (row[columns["dialogue_id"]].strip(), row[columns["utterance_id"]].strip())
        return bool(meld) and ids == meld.groups()
    column = next((columns[name] for name in NAME_COLUMNS if name in columns and columns[name] != text), None)
    if column is None:
        return has_same_name
    file_name = Path(row[column].strip().replace("\\", "/")).name
    return file_name in (recording.path.name, recording.path.stem)


def _cue(row: dict, columns: dict[str, str], text: str) -> Cue:
    def value(names: Sequence[str]) -> str:
        return next(((row[columns[name]] or "").strip() for name in names if name in columns), "")

    start, end = (parse_timestamp(value(names)) if value(names) else None for names in (START_COLUMNS, END_COLUMNS))
    if "dialogue_id" in columns:  # MELD's times are those of the episode
        start = end = None
    has_times = start is not None and end is not None and end > start
    return Cue(row[text].strip(), value(SPEAKER_COLUMNS), start if has_times else None, end if has_times else None)


def reason_for_none(recording_cues: Sequence[Cue], spans: Sequence[tuple[float, float]]) -> str:
    """Why a span has no cue although the user gave some; empty if that has no reason of its own."""
    has_untimed = any(cue.start is None or cue.end is None for cue in recording_cues)
    return UNTIMED_REASON if has_untimed and len(spans) > 1 else ""


def assign_cues(recording_cues: Sequence[Cue], spans: Sequence[tuple[float, float]]) -> list[list[Cue]]:
    """Assign each cue to the span (start and end in seconds) that overlaps it most."""
    assigned: list[list[Cue]] = [[] for _ in spans]
    for cue in recording_cues:
        if cue.start is None or cue.end is None:
            if len(spans) == 1:
                assigned[0].append(cue)
            continue
        overlaps = [min(cue.end, end) - max(cue.start, start) for start, end in spans]
        best = max(range(len(spans)), key=overlaps.__getitem__, default=None)
        if best is not None and overlaps[best] > 0:
            assigned[best].append(cue)
    return assigned
