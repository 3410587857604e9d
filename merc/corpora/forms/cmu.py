"""The forms in which CMU-MOSI and CMU-MOSEI come: segments of videos with a sentiment, and in MOSEI six emotions.

Two forms are read. MMSA's: label.csv with the columns video_id, clip_id, text, label and mode. CMU's own, of its
Multimodal SDK: computational sequences (.csd, HDF5) of the labels and of the words with their times, one group a
video, with `features` and `intervals`; and its transcripts, where they are, which have punctuation.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from merc.corpora.forms import acted, splits, table
from merc.data.records import transcripts
from merc.data.records.listing import Label, Listing, Utterance, Window, add_note
from merc.data.records.manifest import SPLITS
from merc.runtime.errors import UserError

# of MOSEI, in the order of its labels
EMOTIONS: tuple[str, ...] = ("happy", "sad", "anger", "surprise", "disgust", "fear")
PAUSE = "sp"  # stands between words
FOLDS_FILE = "*std_folds*"
NO_CLIP = "no clip of this segment"
NEAR_SECONDS = 0.1  # by which a transcript's time may differ from the label's


@dataclass
class Segment:
    """A labelled part of a video."""

    video: str
    number: int
    text: str
    score: float | None  # sentiment, -3 to 3
    emotions: dict[str, float] = field(default_factory=dict)  # intensities, 0 to 3
    start: float | None = None
    end: float | None = None
    split: str = ""  # as the labels say; empty = as the folds say
    place: str = ""


def read(corpus: str, folder: Path, first_number: int) -> Listing:
    """The listing of a corpus in either form; segments of the SDK are counted from `first_number`."""
    listing = Listing([])
    labels = next(iter(sorted(folder.rglob("label.csv"))), None)
    segments = _from_table(labels) if labels else _from_sequences(folder, first_number, listing)
    _set_splits(segments, folder, listing)
    clips = _clips(folder)
    ordered = sorted(segments, key=lambda segment: (SPLITS.index(segment.split), segment.video, segment.number))
    listing.utterances = [_utterance(corpus, segment, clips, folder) for segment in ordered]
    return listing


def _clips(folder: Path) -> dict[str, dict[str, Path]]:
    """Name -> suffix -> file: <video>/<number> as MMSA names clips, <video>_<number> and <video> as CMU does."""
    clips: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in acted.recordings(folder):
        parts = path.relative_to(folder).with_suffix("").parts
        for count in (1, 2):
            clips["/".join(parts[-count:])][path.suffix.lower()] = path
    return clips


def _utterance(corpus: str, segment: Segment, clips: dict[str, dict[str, Path]], folder: Path) -> Utterance:
    name = f"{segment.video}_{segment.number}"
    has_times = segment.start is not None and segment.end is not None
    files = next((clips[key] for key in (f"{segment.video}/{segment.number}", name) if key in clips), {})
    clip, sound = acted.media_and_sound(files)
    # a window is cut from one file, so that a whole video keeps its own sound
    whole, _ = acted.media_and_sound(clips.get(segment.video, {}) if clip is None and has_times else {})
    media = clip or whole
    transcript, num_repaired = transcripts.repair(segment.text)
    labels: dict[str, Label | None] = {"sentiment_score": segment.score}
    if corpus == "mosei":
        held = tuple(emotion for emotion, value in segment.emotions.items() if value > 0)
        labels |= {"emotions": held if segment.emotions else None}
        labels |= {emotion: segment.emotions.get(emotion) for emotion in EMOTIONS}
    return Utterance(
        split=segment.split,
        dialogue=segment.video,
        name=name,
        group=f"{corpus}/{segment.video}",
        speaker=segment.video,
        text=transcript.strip(),
        emotion=None,
        sentiment=None if segment.score is None else _sign(segment.score),
        start=segment.start,
        end=segment.end,
        source=segment.video if has_times else None,
        media=media,
        clip=media and media.relative_to(folder).as_posix(),
        absent="" if media else NO_CLIP,
        sound=sound,
        window=Window(float(segment.start or 0), float(segment.end or 0)) if whole else None,
        num_repaired=num_repaired,
        labels=labels,
        place=segment.place,
    )


def _sign(score: float) -> str:
    return "negative" if score < 0 else "positive" if score > 0 else "neutral"


def _from_table(path: Path) -> list[Segment]:
    """MMSA's label.csv; MOSEI's emotions are read where it has their columns."""
    found = table.read_table(path, ("video_id", "clip_id", "text", "label"))
    segments: dict[tuple[str, int], Segment] = {}
    for row in found.rows:
        if not re.fullmatch(r"\d{1,6}", row["clip_id"]):
            raise row.problem("clip_id", "is no number; bring MMSA's own label.csv")
        split = splits.split_of(row["mode"]) if row["mode"] else ""
        if split is None:
            raise row.problem("mode", "write train, valid or test")
        key = row["video_id"], int(row["clip_id"])
        if key in segments:
            raise row.problem("clip_id", f"stands twice of {row['video_id']}; keep one row of each segment")
        columns = [name for name in EMOTIONS if name in found.columns and row[name]]
        emotions = {name: _number(row, name, 0, 3) for name in columns}
        score = _number(row, "label", -3, 3) if row["label"] else None
        segments[key] = Segment(*key, row["text"], score, emotions, split=split, place=row.place)
    return list(segments.values())


def _number(row: table.TableRow, column: str, low: float, high: float) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = np.nan
    if not low <= value <= high:
        raise row.problem(column, f"write a number from {low} to {high}")
    return value


def _from_sequences(folder: Path, first_number: int, listing: Listing) -> list[Segment]:
    """The SDK's labels, with the words that lie in their intervals, or the transcript of the segment."""
    files = sorted(folder.rglob("*.csd"))
    labels = next((path for path in files if "label" in path.name.lower()), None)
    words = next((path for path in files if "timestampedwords" in path.name.lower()), None)
    if labels is None:
        raise UserError(f"{folder}: holds neither label.csv nor a .csd of labels; see docs/data.md")
    spoken = {} if words is None else dict(_sequence(words))
    written = _transcripts(folder)
    if words is None and not written:
        add_note(listing.decided, None, labels.name, "no words and no transcripts are there: no text")
    segments = []
    for video, (values, times) in _sequence(labels):
        order = np.argsort(times[:, 0], kind="stable")
        for index, (row, (start, end)) in enumerate(zip(values[order], times[order], strict=True)):
            number, text = _transcribed(written.get(video, {}), index + first_number, float(start))
            text = text or _words_within(spoken.get(video), start, end)
            score, *emotions = (float(value) for value in row)
            named = dict(zip(EMOTIONS, emotions, strict=False)) if len(emotions) == len(EMOTIONS) else {}
            segments.append(Segment(video, number, text, score, named, float(start), float(end)))
    return segments


def _sequence(path: Path) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """(video, (features, intervals)) of a computational sequence."""
    import h5py

    try:
        with h5py.File(path) as opened:
            for name, group in next(iter(opened.values()))["data"].items():
                values, times = np.asarray(group["features"]), np.asarray(group["intervals"], dtype=float)
                if len(values) != len(times) or times.shape[1:] != (2,):
                    raise ValueError(f"{name}: {len(values)} features, and intervals of shape {times.shape}")
                yield name, (values, times)
    except (OSError, ValueError, KeyError, StopIteration, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: is no computational sequence of CMU's SDK: {reason}; bring it again") from None


def _words_within(sequence: tuple[np.ndarray, np.ndarray] | None, start: float, end: float) -> str:
    if sequence is None:
        return ""
    values, times = sequence
    middles = times.mean(1)
    inside = values[(start <= middles) & (middles <= end)].reshape(-1)
    words = [word.decode() if isinstance(word, bytes) else str(word) for word in inside]
    return " ".join(word for word in words if word != PAUSE)


def _transcripts(folder: Path) -> dict[str, dict[int, tuple[float | None, str]]]:
    """video -> number -> (start, text), from MOSI's <video>.annotprocessed and MOSEI's Combined/<video>.txt."""
    found: dict[str, dict[int, tuple[float | None, str]]] = {}
    for path in sorted(folder.rglob("*.annotprocessed")):
        lines = [line.split("_DELIM_", 1) for line in transcripts.decode(path.read_bytes()).splitlines()]
        found[path.stem] = {
            int(cells[0]): (None, cells[1]) for cells in lines if len(cells) == 2 and cells[0].isdigit()
        }
    for path in sorted(folder.rglob("Combined/*.txt")):
        lines = [line.split("___", 4) for line in transcripts.decode(path.read_bytes()).splitlines()]
        found[path.stem] = {
            int(cells[1]): (_seconds(cells[2]), cells[4])
            for cells in lines
            if len(cells) == 5 and cells[1].isdigit()
        }
    return found


def _seconds(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _transcribed(lines: dict[int, tuple[float | None, str]], number: int, start: float) -> tuple[int, str]:
    """Number and text of the segment: by its start where the transcript has times, else by its number."""
    timed = {key: begin for key, (begin, _) in lines.items() if begin is not None}
    if timed:
        nearest = min(timed, key=lambda key: abs(timed[key] - start))
        return (nearest, lines[nearest][1]) if abs(timed[nearest] - start) <= NEAR_SECONDS else (number, "")
    return number, lines[number][1] if number in lines else ""


def _set_splits(segments: list[Segment], folder: Path, listing: Listing) -> None:
    """The split of each segment, by its own label or by its video; one of no split is left out."""
    if any(not segment.split for segment in segments):
        path = next(iter(sorted(folder.rglob(FOLDS_FILE))), None) or splits_file(folder)
        if path is None:
            raise UserError(
                f"{folder}: nothing says which video is in which split; bring the SDK's cmu_*_std_folds.py, or "
                "splits.json or splits.csv (docs/data.md)"
            )
        named: dict[str, Any] = splits.read_split_file(path)
        for segment in segments:
            segment.split = segment.split or named.get(segment.video, "")
        for video in sorted({segment.video for segment in segments if not segment.split}):
            add_note(listing.ignored, None, video, f"{path.name} has it in no split")
        segments[:] = [segment for segment in segments if segment.split]


def splits_file(folder: Path) -> Path | None:
    """splits.json or splits.csv in the folder."""
    return next(
        (path for suffix in (".json", *table.SUFFIXES) if (path := folder / f"splits{suffix}").is_file()), None
    )
