"""Reader of IEMOCAP, as released: five sessions of two actors each.

Busso et al., 2008: IEMOCAP: Interactive emotional dyadic motion capture database.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from merc.data.records import transcripts
from merc.data.records.listing import Listing, Utterance, Window, add_note
from merc.data.records.manifest import SPLITS
from merc.runtime.errors import UserError
from merc.runtime.params import StrictModel

SESSIONS = range(1, 6)
# [6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5000, 2.5000, 2.5000]
TURN_PATTERN = re.compile(r"\[\s*([\d.]+)\s*-\s*([\d.]+)\s*\]\s+(\S+)\s+(\S+)\s+\[.*\]\s*")
# Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.
TRANSCRIPT_PATTERN = re.compile(r"(Ses\S+?)\s*\[[\d.]+\s*-\s*[\d.]+\]:\s*(.*)")
# dialogue: session and actor with the motion capture markers, scene; then speaker and number of the turn
NAME_PATTERN = re.compile(r"(Ses0[1-5][FM]_\w+)_([FM])\w*\d+")
EMOTIONS = {
    "neu": "neutral",
    "hap": "happy",
    "sad": "sad",
    "ang": "angry",
    "exc": "excited",
    "fru": "frustrated",
    "sur": "surprised",
    "fea": "fearful",
    "dis": "disgusted",
    "oth": "other",
    "xxx": None,  # no agreement among the raters
}
LEFT, RIGHT = (0.0, 0.5), (0.5, 1.0)  # the video shows both actors, the one with the markers on the left


class Options(StrictModel):
    """Section `data.iemocap` of params.yaml: the sessions for testing and validation."""

    test_session: int = Field(ge=1, le=5)
    dev_session: int = Field(ge=1, le=5)


@dataclass(frozen=True)
class _Turn:
    start: float
    end: float
    name: str
    emotion: str
    speaker: str


def read(folder: Path, scratch: Path, options: Options) -> Listing:
    """Read IEMOCAP from data/raw/iemocap, or from IEMOCAP_full_release in it."""
    if options.test_session == options.dev_session:
        raise UserError(f"params.yaml: data.iemocap: session {options.dev_session} cannot be both test and dev")
    inner = folder / "IEMOCAP_full_release"
    root = inner if inner.is_dir() else folder
    listing = Listing([])
    for session in SESSIONS:
        split = {options.test_session: "test", options.dev_session: "dev"}.get(session, "train")
        _read_session(root / f"Session{session}", split, listing)
    if not listing.utterances:
        raise UserError(f"{folder}: no Session1 to Session5 with dialog/EmoEvaluation/*.txt; see docs/data.md")
    listing.utterances.sort(key=lambda utterance: SPLITS.index(utterance.split))  # stable: dialogues stay together
    return listing


def _read_session(session: Path, split: str, listing: Listing) -> None:
    tables = sorted((session / "dialog/EmoEvaluation").glob("[!.]*.txt"))
    if not tables:
        add_note(listing.decided, split, session.name, "is not there, or has no dialog/EmoEvaluation/*.txt")
    files = sorted((session / "dialog/avi").rglob("[!.]*.*"))
    videos = {path.stem: path for path in files if path.suffix.lower() in (".avi", ".mp4")}
    for table in tables:
        texts = _transcript(session / "dialog/transcriptions" / table.name, split, listing)
        turns = _turns(table, split, listing)
        for turn in turns:
            listing.utterances.append(_utterance(turn, table.stem, session, split, texts, videos, listing))
        for name in sorted(texts.keys() - {turn.name for turn in turns}):
            add_note(listing.ignored, split, name, "transcribed, and not in EmoEvaluation")


def _turns(path: Path, split: str, listing: Listing) -> list[_Turn]:
    """Read the rated turns of a dialogue, by start time."""
    turns: dict[str, _Turn] = {}
    for number, line in enumerate(transcripts.decode(path.read_bytes()).splitlines(), start=1):
        if not line.startswith("["):
            continue  # individual ratings, comments
        match = TURN_PATTERN.fullmatch(line.strip())
        name = NAME_PATTERN.fullmatch(match[3]) if match else None
        if match is None or name is None or name[1] != path.stem:
            reason = f"line {number}: {line.strip()[:60]!r} is no turn of this dialogue"
            add_note(listing.ignored, split, path.name, reason)
        elif match[3] in turns:
            add_note(listing.ignored, split, match[3], f"{path.name} line {number}: a second row of this utterance")
        else:
            turns[match[3]] = _Turn(float(match[1]), float(match[2]), match[3], match[4], name[2])
    return sorted(turns.values(), key=lambda turn: (turn.start, turn.name))


def _transcript(path: Path, split: str, listing: Listing) -> dict[str, str]:
    """Read a transcription: turn name -> text."""
    if not path.is_file():
        add_note(listing.decided, split, path.stem, "has no transcription")
        return {}
    lines = transcripts.decode(path.read_bytes()).splitlines()
    return {match[1]: match[2].strip() for line in lines if (match := TRANSCRIPT_PATTERN.fullmatch(line.strip()))}


def _utterance(
    turn: _Turn,
    dialogue: str,
    session: Path,
    split: str,
    texts: dict[str, str],
    videos: dict[str, Path],
    listing: Listing,
) -> Utterance:
    if turn.emotion not in EMOTIONS:
        add_note(listing.decided, split, turn.name, f"emotion {turn.emotion!r} is unknown: kept, not trained on")
    wav = session / "sentences/wav" / dialogue / f"{turn.name}.wav"
    audio, video = (wav if wav.is_file() else None), videos.get(dialogue)
    recording = video or audio
    transcript, num_repaired = transcripts.repair(texts.get(turn.name, ""))
    return Utterance(
        split=split,
        dialogue=dialogue,
        name=turn.name,
        group=f"iemocap/{dialogue}",
        speaker=f"{session.name}-{turn.speaker}",
        text=transcript,
        emotion=EMOTIONS.get(turn.emotion, turn.emotion),
        sentiment=None,
        start=turn.start,
        end=turn.end,
        source=dialogue,
        media=video,
        clip=recording and recording.relative_to(session.parent).as_posix(),
        absent="" if video else "no video of this dialogue" if audio else "neither video nor wav of this utterance",
        sound=audio,
        window=video and Window(turn.start, turn.end, LEFT if dialogue[5] == turn.speaker else RIGHT),
        num_repaired=num_repaired,
    )
