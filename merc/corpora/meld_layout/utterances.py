"""Listing of a corpus in MELD's layout from its tables and clips: labels, times, duplicate clips, gaps."""

import csv
import io
import itertools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from merc.corpora.forms import table
from merc.corpora.meld_layout import archives
from merc.corpora.meld_layout.files import ClipFile, LayoutFiles, find_files, splits_without_clips
from merc.data.records import transcripts
from merc.data.records.labels import MELD_EMOTIONS, MELD_SENTIMENTS
from merc.data.records.listing import Listing, Utterance, add_note
from merc.data.records.manifest import SPLITS
from merc.media import clip_reader
from merc.runtime.errors import UserError

TEXT_COLUMNS = ("Utterance", "Text")  # the second in copies from Kaggle
TIME_COLUMNS = ("StartTime", "EndTime")
COLUMNS = ("Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", *TIME_COLUMNS)
EPISODE_COLUMNS = ("Season", "Episode")
MAX_NAMES = 5  # in a note
TIME = re.compile(r"(\d+):(\d+):(\d+)[,.](\d+)")


@dataclass(frozen=True, slots=True)
class _LabelRow:
    """One row of a split's CSV."""

    split: str
    dialogue: int
    number: int
    cells: dict[str, str]

    @property
    def name(self) -> str:
        return f"dia{self.dialogue}_utt{self.number}"


def without_media(folder: Path) -> Listing:
    """Read MELD's annotations only: every clip counts as missing, and no archive is opened."""
    files = find_files(folder)
    files = LayoutFiles(
        tables=files.tables, ignored=[entry for entry in files.ignored if entry["item"].endswith(".csv")]
    )
    return _listing("meld", _check_tables(folder, files), "plain", absent="data.meld.media is none")


def read_layout(corpus: str, folder: Path, scratch: Path, twins: str) -> Listing:
    """Read a corpus in MELD's layout; archives are unpacked into `scratch`."""
    return _listing(corpus, _find(folder, scratch), twins, absent="no clip of this name")


def _listing(corpus: str, files: LayoutFiles, twins: str, absent: str) -> Listing:
    listing = Listing([], ignored=files.ignored, decided=files.decided)
    for split in SPLITS:
        rows = _rows(files.tables[split], split, listing) if split in files.tables else []
        listing.utterances += [_utterance(row, corpus, files, twins, absent, listing) for row in rows]
        _report_times(rows, split, listing)
        _report_gaps(rows, split, listing)
        _report_extras(rows, split, files, listing)
    return listing


def _find(folder: Path, scratch: Path) -> LayoutFiles:
    """Find tables and clips; splits without clips are first unpacked from archives."""
    packed_splits = splits_without_clips(find_files(folder))
    notes = archives.unpack_archives(folder, scratch, packed_splits) if packed_splits else []
    files = find_files(folder, scratch)
    files.ignored += notes
    return _check_tables(folder, files)


def _check_tables(folder: Path, files: LayoutFiles) -> LayoutFiles:
    if not files.tables:
        names = ", ".join(f"{split}_sent_emo.csv" for split in SPLITS)
        raise UserError(f"{folder}: holds none of {names}; see docs/data.md for how to obtain MELD")
    return files


def _rows(path: Path, split: str, listing: Listing) -> list[_LabelRow]:
    """Rows of a CSV, sorted by dialogue and utterance number; of duplicates the first counts."""
    rows: dict[tuple[int, int], _LabelRow] = {}
    for line, cells in _cells(path):
        dialogue, number = (_number(cells, key, path, line) for key in ("Dialogue_ID", "Utterance_ID"))
        row = _LabelRow(split, dialogue, number, cells)
        if (row.dialogue, row.number) in rows:
            add_note(listing.ignored, split, row.name, f"{path.name} line {line}: a second row of this utterance")
        rows.setdefault((row.dialogue, row.number), row)
    return [rows[key] for key in sorted(rows)]


def _cells(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line numbers and cells of a CSV's rows, in the columns that are read: a table may have a million rows."""
    text = io.BytesIO(transcripts.decode(path.read_bytes()).encode())  # StringIO takes four bytes a character
    reader = csv.DictReader(io.TextIOWrapper(text, encoding="utf-8", newline=""))
    reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
    missing = [name for name in COLUMNS if name not in reader.fieldnames]
    if not any(name in reader.fieldnames for name in TEXT_COLUMNS):
        missing.append(" or ".join(TEXT_COLUMNS))
    if missing:
        raise UserError(f"{path}: lacks the columns {', '.join(missing)}; use MELD's own CSV")
    kept = [name for name in (*TEXT_COLUMNS, *COLUMNS, *EPISODE_COLUMNS) if name in reader.fieldnames]
    for line, row in table.named_cells(reader, path):
        yield line, {name: sys.intern(row[name] or "") for name in kept}


def _number(cells: dict[str, str], key: str, path: Path, line: int) -> int:
    value = cells[key].strip()
    if not re.fullmatch(r"\d{1,9}(\.0)?", value):
        raise UserError(f"{path} line {line}: {key} = {value!r}: not a number; correct or remove the line")
    return int(value.split(".")[0])


def _utterance(
    row: _LabelRow, corpus: str, files: LayoutFiles, twins: str, absent: str, listing: Listing
) -> Utterance:
    raw = next(row.cells[name] for name in TEXT_COLUMNS if name in row.cells)
    transcript, num_repaired = transcripts.repair(raw)
    start, end = (_seconds(row.cells[key]) for key in TIME_COLUMNS)
    clip = _choose(row, files, twins, None if start is None or end is None else end - start, listing)
    return Utterance(
        split=row.split,
        dialogue=str(row.dialogue),
        name=row.name,
        group=f"{corpus}/{row.split}/{row.dialogue}",
        speaker=transcripts.repair(row.cells["Speaker"].strip())[0],
        text=transcript.strip(),
        emotion=_label(row, "Emotion", MELD_EMOTIONS, listing),
        sentiment=_label(row, "Sentiment", MELD_SENTIMENTS, listing),
        start=start,
        end=end,
        source=_episode(row),
        media=clip and clip.path,
        clip=clip and clip.name,
        absent="" if clip else absent,
        num_repaired=num_repaired,
    )


def _label(row: _LabelRow, column: str, labels: tuple[str, ...], listing: Listing) -> str | None:
    """Label in a column; an unknown one is kept and reported."""
    label = row.cells[column].strip().lower()
    if label not in labels:
        add_note(
            listing.decided, row.split, row.name, f"{column} = {label!r} is none of MELD's: kept, not trained on"
        )
    return label or None


def _episode(row: _LabelRow) -> str | None:
    """Recording that StartTime and EndTime refer to; copies of MELD may lack the columns."""
    season, episode = (row.cells.get(name, "").strip() for name in EPISODE_COLUMNS)
    return f"season {season} episode {episode}" if season and episode else None


def _seconds(cell: str) -> float | None:
    """A time (00:16:16,059) in seconds."""
    match = TIME.fullmatch(cell.strip())
    if match is None:
        return None
    hours, minutes, seconds, fraction = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction}")


def _choose(
    row: _LabelRow, files: LayoutFiles, twins: str, duration: float | None, listing: Listing
) -> ClipFile | None:
    """Choose between a plain clip and its `final_videos_test` twin, say the one whose duration matches the CSV."""
    clips = files.clips.get((row.split, row.dialogue, row.number), {})
    if len(clips) < 2:
        return next(iter(clips.values()), None)
    kind, reason = (twins, "data.meld.twins") if twins != "evidence" else _by_duration(clips, duration)
    add_note(listing.decided, row.split, row.name, f"of {len(clips)} twins {clips[kind].name} is used: {reason}")
    return clips[kind]


def _by_duration(clips: dict[str, ClipFile], duration: float | None) -> tuple[str, str]:
    """Kind of the clip whose duration is nearest to the CSV's, and the reason for the report."""
    lengths = {kind: clip_reader.clip_duration(clip.path) for kind, clip in sorted(clips.items(), reverse=True)}
    distances = {
        kind: float("inf") if length is None else abs(length - (duration if duration is not None else length))
        for kind, length in lengths.items()
    }
    parts = [f"{kind} {'broken' if length is None else f'{length:.2f} s'}" for kind, length in lengths.items()]
    in_table = "no times" if duration is None else f"{duration:.2f} s"
    return min(distances, key=distances.__getitem__), f"{', '.join(parts)}; in the CSV {in_table}"


def _report_times(rows: list[_LabelRow], split: str, listing: Listing) -> None:
    """Report, in one line, the utterances of a split whose times are none."""
    wrong = [(row, key) for row in rows for key in TIME_COLUMNS if _seconds(row.cells[key]) is None]
    if wrong:
        names = list(dict.fromkeys(row.name for row, _ in wrong))
        row, key = wrong[0]
        shown = ", ".join(names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")
        reason = f"{len(names)} of {len(rows)} utterances have no times ({shown}); the first: {key} = "
        add_note(listing.decided, split, ", ".join(TIME_COLUMNS), f"{reason}{row.cells[key]!r}")


def _report_gaps(rows: list[_LabelRow], split: str, listing: Listing) -> None:
    """Report utterance numbers that a dialogue skips, of sorted rows; its turns are numbered without gaps."""
    for dialogue, turns in itertools.groupby(rows, key=lambda row: row.dialogue):
        expected, gaps = 0, []
        for row in turns:
            if row.number > expected:
                last = row.number - 1
                gaps.append(f"{expected}" if last == expected else f"{expected} to {last}")
            expected = row.number + 1
        if gaps:
            reason = f"utterances {', '.join(gaps)} are skipped; turns have no gaps"
            add_note(listing.decided, split, f"dia{dialogue}", reason)


def _report_extras(rows: list[_LabelRow], split: str, files: LayoutFiles, listing: Listing) -> None:
    """Report clips without a row in the table."""
    labelled = {(split, row.dialogue, row.number) for row in rows}
    for key in sorted(key for key in files.clips if key[0] == split and key not in labelled):
        for clip in files.clips[key].values():
            add_note(listing.ignored, split, clip.name, "no row in the CSV")
