"""What is said: from --text, or from a .txt, .srt, .vtt or .csv beside the recording."""

import csv
import html
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from merc.problem import Problem
from merc.serve.inputs import MELD, Recording

NO_WORDS = "none was given"  # why there is no text
SUFFIXES = (".txt", ".srt", ".vtt", ".csv")
TEXT = ("text", "transcript", "transcription", "sentence", "utterance")  # columns of a CSV, the first that is there
NAME = ("file", "filename", "file_name", "clip", "path", "video", "audio", "name", "id", "utterance")
SPEAKER = ("speaker", "speaker_name", "character")
START, END = ("start", "start_time", "starttime", "begin"), ("end", "end_time", "endtime", "stop")
TIMES = re.compile(r"\s*([\d:.,]+)\s*-->\s*([\d:.,]+)")
VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")  # WebVTT's voice tag
TAG = re.compile(r"<[^>]*>|\{\\[^}]*\}")
LARGEST = 50_000_000  # bytes of a transcript

Texts = str | Path | Sequence[str | None] | Mapping[str, str] | None


@dataclass(frozen=True)
class Cue:
    """Something said; from `start` to `end` seconds of the recording, or all through it."""

    text: str
    speaker: str = ""
    start: float | None = None
    end: float | None = None


def cues(recording: Recording, texts: Texts) -> list[Cue]:
    """What is known to be said in a recording, in order."""
    if isinstance(texts, str | Path) and (file := _file(texts)):
        return _read(file, recording, needed=True)
    if isinstance(texts, Mapping):
        said = texts.get(recording.name, texts.get(recording.path.name, ""))
        return [Cue(said)] if said.strip() else []
    return [] if texts is not None else _beside(recording)


def literal(texts: Texts, count: int) -> list[str] | None:
    """One text for each of `count` utterances, where `texts` are the words themselves; None where they are not."""
    if isinstance(texts, str) and not _file(texts):
        texts = [texts]
    if texts is None or isinstance(texts, str | Path | Mapping):
        return None
    if len(texts) != count:
        raise Problem(f"{len(texts)} texts for {count} utterances: give one for each, or a .srt, .vtt or .csv")
    return [one or "" for one in texts]


def _file(texts: str | Path) -> Path | None:
    """The file that is named, if a file is: words themselves do not end like one."""
    if Path(texts).suffix.lower() not in SUFFIXES or "\n" in str(texts):
        return None
    if not Path(texts).is_file():
        if isinstance(texts, Path) or " " not in texts:
            raise Problem(f"{texts}: no such file")
        return None
    return Path(texts)


def _beside(recording: Recording) -> list[Cue]:
    """Of the same name first, then a table of the whole folder."""
    path = recording.path
    for suffix in SUFFIXES:
        for own in (path.with_suffix(suffix), path.with_suffix(suffix.upper())):
            if own.is_file() and own != path:
                return _read(own, recording, needed=False)
    tables = sorted(one for one in path.parent.glob("*.csv") if one.is_file())
    found = {table: said for table in tables if (said := _read(table, recording, needed=False))}
    if len(found) > 1:
        names = " and ".join(one.name for one in found)
        raise Problem(f"{path}: {names} both say what is said in it; keep one, or name it with --text")
    return next(iter(found.values()), [])


def _read(file: Path, recording: Recording, *, needed: bool) -> list[Cue]:
    content = _content(file)
    kind = file.suffix.lower()
    if kind == ".txt":
        return [Cue(" ".join(content.split()))] if content.strip() else []
    if kind == ".csv":
        return _table(file, content, recording, needed=needed)
    found = subtitles(content)
    if content.strip() and not found and "-->" not in content:
        raise Problem(f"{file}: holds no subtitle (00:00:01,000 --> 00:00:02,000)")
    return found


def _content(file: Path) -> str:
    try:
        if file.stat().st_size > LARGEST:
            raise Problem(f"{file}: is larger than {LARGEST // 1_000_000} MB; this is no transcript")
        coded = file.read_bytes()
    except OSError as error:
        raise Problem(f"{file}: cannot be read: {error.strerror}") from None
    for encoding in ("utf-16",) if coded[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252"):
        try:
            return coded.decode(encoding)
        except UnicodeDecodeError:
            continue
    return coded.decode("utf-8", errors="replace")


def subtitles(content: str) -> list[Cue]:
    """The cues of SubRip or WebVTT, those without words left out."""
    found = []
    for block in re.split(r"\n[ \t]*\n", content.replace("\r\n", "\n").replace("\r", "\n")):
        lines = block.strip().split("\n")
        number = next((index for index, line in enumerate(lines) if TIMES.match(line)), None)
        if number is None or lines[0].startswith(("NOTE", "STYLE", "REGION")):
            continue
        start, end = (seconds(one) for one in TIMES.match(lines[number]).groups())
        words = " ".join(lines[number + 1 :])
        voice = VOICE.search(words)
        words = " ".join(html.unescape(TAG.sub("", words)).split())
        if words and start is not None and end is not None and end > start:
            found.append(Cue(words, voice[1].strip() if voice else "", start, end))
    return found


def seconds(stamp: str) -> float | None:
    """Seconds of 1:02:03,450, 02:03.45 or 123.45; None if it is none of them."""
    parts = stamp.strip().replace(",", ".").split(":")
    try:
        return sum(float(part) * 60**place for place, part in enumerate(reversed(parts)))
    except ValueError:
        return None


def _table(file: Path, content: str, recording: Recording, *, needed: bool) -> list[Cue]:
    """The rows that are about this recording; all rows of a table that names no recording and no dialogue."""
    try:
        rows = list(csv.DictReader(io.StringIO(content), restval="", dialect=_dialect(content)))
    except csv.Error as error:
        raise Problem(f"{file}: is no table: {error}") from None
    columns = {(name or "").strip().lower().replace(" ", "_"): name for name in (rows[0] if rows else ())}
    text = next((columns[one] for one in TEXT if one in columns), None)
    if text is None:
        if not needed:
            return []
        raise Problem(f"{file}: has no column of words; call it {' or '.join(TEXT[:3])}")
    own = [row for row in rows if _about(row, columns, text, recording, alone=file.stem == recording.path.stem)]
    return [_cue(row, columns, text) for row in own if (row[text] or "").strip()]


def _dialect(content: str) -> type[csv.Dialect] | str:
    try:
        return csv.Sniffer().sniff(content.split("\n", 1)[0], delimiters=",;\t")
    except csv.Error:
        return "excel"


def _about(row: dict, columns: dict[str, str], text: str, recording: Recording, *, alone: bool) -> bool:
    meld = MELD.fullmatch(recording.path.stem)
    if "dialogue_id" in columns and "utterance_id" in columns:
        ids = (row[columns["dialogue_id"]].strip(), row[columns["utterance_id"]].strip())
        return bool(meld) and ids == meld.groups()
    name = next((columns[one] for one in NAME if one in columns and columns[one] != text), None)
    if name is None:
        return alone
    said = Path(row[name].strip().replace("\\", "/")).name
    return said in (recording.path.name, recording.path.stem)


def _cue(row: dict, columns: dict[str, str], text: str) -> Cue:
    def value(names: Sequence[str]) -> str:
        return next(((row[columns[one]] or "").strip() for one in names if one in columns), "")

    start, end = (seconds(value(names)) if value(names) else None for names in (START, END))
    if "dialogue_id" in columns:  # MELD's times are those of the episode
        start = end = None
    timed = start is not None and end is not None and end > start
    return Cue(row[text].strip(), value(SPEAKER), start if timed else None, end if timed else None)


def share(found: Sequence[Cue], spans: Sequence[tuple[float, float]]) -> list[list[Cue]]:
    """For each span of a recording the cues said in it: a cue belongs where most of it is heard."""
    shared: list[list[Cue]] = [[] for _ in spans]
    for cue in found:
        if cue.start is None:
            if len(spans) == 1:
                shared[0].append(cue)
            continue
        heard = [min(cue.end, end) - max(cue.start, start) for start, end in spans]
        best = max(range(len(spans)), key=heard.__getitem__, default=None)
        if best is not None and heard[best] > 0:
            shared[best].append(cue)
    return shared
