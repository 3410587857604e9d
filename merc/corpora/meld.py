"""MELD, in every form that users have it; the bundled sample has the same layout.

Poria et al., 2019: MELD: A Multimodal Multi-Party Dataset for Emotion Recognition in Conversations.
"""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from merc import media, text
from merc.corpora import Listing, Utterance, meld_archives, note
from merc.corpora.meld_files import Clip, Files, find, without_clips
from merc.labels import MELD_EMOTIONS, MELD_SENTIMENTS
from merc.manifest import SPLITS
from merc.params import Strict
from merc.problem import Problem

TEXT_COLUMNS = ("Utterance", "Text")  # the second in copies from Kaggle
COLUMNS = ("Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "StartTime", "EndTime")
TIME = re.compile(r"(\d+):(\d+):(\d+)[,.](\d+)")


class Options(Strict):
    """Section `data.meld` of params.yaml."""

    twins: Literal["evidence", "plain", "final"]
    media: Literal["clips", "none"]


@dataclass(frozen=True)
class _Row:
    split: str
    dialogue: int
    number: int
    cells: dict[str, str]

    @property
    def name(self) -> str:
        return f"dia{self.dialogue}_utt{self.number}"


def read(folder: Path, scratch: Path, options: Options) -> Listing:
    """MELD under data/raw/meld."""
    if options.media == "none":
        return without_media(folder)
    return read_layout("meld", folder, scratch, options.twins)


def without_media(folder: Path) -> Listing:
    """MELD's annotations alone: every clip is missing, whatever lies there, and no archive is opened."""
    files = find(folder)
    files = Files(tables=files.tables, ignored=[one for one in files.ignored if one["item"].endswith(".csv")])
    return _listing("meld", _with_tables(folder, files), "plain", absent="data.meld.media is none")


def read_layout(corpus: str, folder: Path, scratch: Path, twins: str) -> Listing:
    """A corpus in MELD's layout; archives unpack into `scratch`."""
    return _listing(corpus, _find(folder, scratch), twins, absent="no clip of this name")


def _listing(corpus: str, files: Files, twins: str, absent: str) -> Listing:
    listing = Listing([], ignored=files.ignored, decided=files.decided)
    for split in SPLITS:
        rows = _rows(files.tables[split], split, listing) if split in files.tables else []
        listing.utterances += [_utterance(row, corpus, files, twins, absent, listing) for row in rows]
        _report_gaps(rows, split, listing)
        _report_extras(rows, split, files, listing)
    return listing


def _find(folder: Path, scratch: Path) -> Files:
    """What lies there, and what archives have of the splits that are not unpacked."""
    unpacked = without_clips(find(folder))
    notes = meld_archives.unpack(folder, scratch, unpacked) if unpacked else []
    files = find(folder, scratch)
    files.ignored += notes
    return _with_tables(folder, files)


def _with_tables(folder: Path, files: Files) -> Files:
    if not files.tables:
        names = ", ".join(f"{split}_sent_emo.csv" for split in SPLITS)
        raise Problem(f"{folder}: holds none of {names}; see docs/data.md for how to obtain MELD")
    return files


def _rows(path: Path, split: str, listing: Listing) -> list[_Row]:
    """The rows of a CSV by dialogue and utterance number; of two with one key the first counts."""
    rows: dict[tuple[int, int], _Row] = {}
    for line, cells in _cells(path):
        dialogue, number = (_number(cells, key, path, line) for key in ("Dialogue_ID", "Utterance_ID"))
        row = _Row(split, dialogue, number, cells)
        if (row.dialogue, row.number) in rows:
            note(listing.ignored, split, row.name, f"{path.name} line {line}: a second row of this utterance")
        rows.setdefault((row.dialogue, row.number), row)
    return [rows[key] for key in sorted(rows)]


def _cells(path: Path) -> list[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(text.decode(path.read_bytes()), newline=""))
    reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
    missing = [name for name in COLUMNS if name not in reader.fieldnames]
    if not any(name in reader.fieldnames for name in TEXT_COLUMNS):
        missing.append(" or ".join(TEXT_COLUMNS))
    if missing:
        raise Problem(f"{path}: lacks the columns {', '.join(missing)}; use MELD's own CSV")
    return [(reader.line_num, {key: value or "" for key, value in row.items() if key}) for row in reader]


def _number(cells: dict[str, str], key: str, path: Path, line: int) -> int:
    value = cells[key].strip()
    if not re.fullmatch(r"\d{1,9}(\.0)?", value):
        raise Problem(f"{path} line {line}: {key} = {value!r}: not a number; correct or remove the line")
    return int(value.split(".")[0])


def _utterance(row: _Row, corpus: str, files: Files, twins: str, absent: str, listing: Listing) -> Utterance:
    raw = next(row.cells[name] for name in TEXT_COLUMNS if name in row.cells)
    repaired, count = text.repair(raw)
    start, end = (_seconds(row, key, listing) for key in ("StartTime", "EndTime"))
    clip = _choose(row, files, twins, None if start is None or end is None else end - start, listing)
    return Utterance(
        split=row.split,
        dialogue=str(row.dialogue),
        name=row.name,
        group=f"{corpus}/{row.split}/{row.dialogue}",
        speaker=text.repair(row.cells["Speaker"].strip())[0],
        text=repaired.strip(),
        emotion=_label(row, "Emotion", MELD_EMOTIONS, listing),
        sentiment=_label(row, "Sentiment", MELD_SENTIMENTS, listing),
        start=start,
        end=end,
        source=_episode(row),
        media=clip and clip.path,
        clip=clip and clip.name,
        absent="" if clip else absent,
        text_flags=("repaired",) if count else (),
        text_reason=f"{count} characters read as cp1252" if count else "",
    )


def _label(row: _Row, column: str, known: tuple[str, ...], listing: Listing) -> str | None:
    label = row.cells[column].strip().lower()
    if label not in known:
        note(listing.decided, row.split, row.name, f"{column} = {label!r} is none of MELD's: kept, not trained on")
    return label or None


def _episode(row: _Row) -> str | None:
    """What StartTime and EndTime are times of; copies may lack the columns."""
    season, episode = (row.cells.get(name, "").strip() for name in ("Season", "Episode"))
    return f"season {season} episode {episode}" if season and episode else None


def _seconds(row: _Row, column: str, listing: Listing) -> float | None:
    match = TIME.fullmatch(row.cells[column].strip())
    if match is None:
        note(listing.decided, row.split, row.name, f"{column} = {row.cells[column]!r} is no time: left out")
        return None
    hours, minutes, whole, thousandths = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + int(whole) + float(f"0.{thousandths}")


def _choose(row: _Row, files: Files, twins: str, span: float | None, listing: Listing) -> Clip | None:
    """Of a plain clip and its `final_videos_test` twin, the one whose length is the CSV's."""
    found = files.clips.get((row.split, row.dialogue, row.number), {})
    if len(found) < 2:
        return next(iter(found.values()), None)
    choice, why = (twins, "data.meld.twins") if twins != "evidence" else _by_evidence(found, span)
    note(listing.decided, row.split, row.name, f"of {len(found)} twins {found[choice].name} is used: {why}")
    return found[choice]


def _by_evidence(found: dict[str, Clip], span: float | None) -> tuple[str, str]:
    lengths = {kind: media.seconds(clip.path) for kind, clip in sorted(found.items(), reverse=True)}
    distances = {
        kind: float("inf") if length is None else abs(length - (span if span is not None else length))
        for kind, length in lengths.items()
    }
    words = [f"{kind} {'broken' if length is None else f'{length:.2f} s'}" for kind, length in lengths.items()]
    table = "no times" if span is None else f"{span:.2f} s"
    return min(distances, key=distances.__getitem__), f"{', '.join(words)}; in the CSV {table}"


def _report_gaps(rows: list[_Row], split: str, listing: Listing) -> None:
    """Numbers that a dialogue skips: its turns are counted without them."""
    numbers: dict[int, set[int]] = {}
    for row in rows:
        numbers.setdefault(row.dialogue, set()).add(row.number)
    for dialogue, there in numbers.items():
        if skipped := sorted(set(range(max(there))) - there):
            note(listing.decided, split, f"dia{dialogue}", f"utterances {skipped} are skipped; turns have no gaps")


def _report_extras(rows: list[_Row], split: str, files: Files, listing: Listing) -> None:
    labelled = {(split, row.dialogue, row.number) for row in rows}
    for key in sorted(key for key in files.clips if key[0] == split and key not in labelled):
        for clip in files.clips[key].values():
            note(listing.ignored, split, clip.name, "no row in the CSV")
