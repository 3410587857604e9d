"""Reader of IEMOCAP, as released: five sessions of two actors each.

Busso et al., 2008: IEMOCAP: Interactive emotional dyadic motion capture database.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from merc.corpora.forms import label_columns, table
from merc.corpora.forms.table import TableRow
from merc.data.records import transcripts
from merc.data.records.listing import Label, Listing, Utterance, Window, add_note
from merc.data.records.manifest import SPLITS
from merc.runtime.errors import UserError
from merc.runtime.params import StrictModel

SESSIONS = range(1, 6)
# [6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5000, 2.5000, 2.5000]
TURN_PATTERN = re.compile(r"\[\s*([\d.]+)\s*-\s*([\d.]+)\s*\]\s+(\S+)\s+(\S+)\s+\[(.*)\]\s*")
# Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.
TRANSCRIPT_PATTERN = re.compile(r"(Ses\S+?)\s*\[[\d.]+\s*-\s*[\d.]+\]:\s*(.*)")
# dialogue: session and actor with the motion capture markers, scene; then speaker and number of the turn
NAME_PATTERN = re.compile(r"(Ses0[1-5][FM]_\w+)_([FM])\w*\d+")
DIALOGUE_PATTERN = re.compile(r"Ses0[1-5][FM]_\w+")
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
DIMENSIONS = ("valence", "arousal", "dominance")  # 1 to 5, means of the raters
TABLE = "utterances"
TABLE_COLUMNS = ("utterance", "text", "emotion", "start", "end")  # every other column holds labels
NO_RECORDING = "the table has no recordings"
LEFT, RIGHT = (0.0, 0.5), (0.5, 1.0)  # the video shows both actors, the one with the markers on the left


class Options(StrictModel):
    """Section `data.iemocap` of params.yaml: the sessions for testing and validation."""

    test_session: int = Field(ge=1, le=5)
    dev_session: int = Field(ge=0, le=5)  # 0: only the dialogues below
    dev_dialogues: list[str] = Field(default=[])  # dev, too: Ses01F_impro01

    def split(self, dialogue: str) -> str:
        """Split of a dialogue."""
        session = int(dialogue[4])
        is_dev = dialogue in self.dev_dialogues or session == self.dev_session
        return "test" if session == self.test_session else "dev" if is_dev else "train"


@dataclass(frozen=True)
class _Turn:
    start: float
    end: float
    name: str
    emotion: str
    speaker: str
    labels: dict[str, Label | None]


def read(folder: Path, scratch: Path, options: Options) -> Listing:
    """Read IEMOCAP from data/raw/iemocap, or from IEMOCAP_full_release in it."""
    _check(options)
    inner = folder / "IEMOCAP_full_release"
    root = inner if inner.is_dir() else folder
    listing = Listing([])
    path = table.find_table(folder, TABLE)
    if path is not None:
        listing.utterances = _read_table(path, options)
    else:
        for session in SESSIONS:
            _read_session(root / f"Session{session}", options, listing)
    if not listing.utterances:
        raise UserError(
            f"{folder}: neither {TABLE}.csv nor Session1 to Session5 with dialog/EmoEvaluation/*.txt; "
            "see docs/data.md"
        )
    known = {utterance.dialogue for utterance in listing.utterances}
    if unknown := [name for name in options.dev_dialogues if name not in known]:
        raise UserError(f"params.yaml: data.iemocap.dev_dialogues: {unknown[0]} is not there; take it out")
    listing.utterances.sort(key=lambda utterance: SPLITS.index(utterance.split))  # stable: dialogues stay together
    return listing


def _check(options: Options) -> None:
    place = "params.yaml: data.iemocap"
    if options.test_session == options.dev_session:
        raise UserError(f"{place}: session {options.dev_session} cannot be both test and dev")
    if not options.dev_session and not options.dev_dialogues:
        raise UserError(f"{place}: dev is empty; name a dev_session, or dev_dialogues")
    for name in options.dev_dialogues:
        if not DIALOGUE_PATTERN.fullmatch(name):
            raise UserError(f"{place}.dev_dialogues: {name!r} is no dialogue; write it as Ses01F_impro01")
        if options.split(name) == "test":
            raise UserError(f"{place}.dev_dialogues: {name} is of session {options.test_session}, which is test")


def _read_table(path: Path, options: Options) -> list[Utterance]:
    """Utterances of a table in place of the release: turns by their names, and labels; for imported features."""
    found = table.read_table(path, ("utterance", "emotion"))
    columns = [name for name in found.columns if name not in TABLE_COLUMNS]
    kinds = label_columns.label_kinds(found, columns, {}, "params.yaml: data.iemocap.kinds")
    dialogues: dict[str, dict[str, Utterance]] = {}
    for row in found.rows:
        utterance = _table_utterance(row, options, kinds)
        turns = dialogues.setdefault(utterance.dialogue, {})
        if utterance.name in turns:
            raise row.problem("utterance", "stands twice; keep one row of each utterance")
        turns[utterance.name] = utterance
    return [utterance for turns in dialogues.values() for utterance in turns.values()]


def _table_utterance(row: TableRow, options: Options, kinds: dict[str, label_columns.Kind]) -> Utterance:
    match = NAME_PATTERN.fullmatch(row["utterance"])
    if match is None:
        raise row.problem("utterance", "is no turn; write it as Ses01F_impro01_F000")
    dialogue, speaker = match.groups()
    start, end = (_seconds(row, column) for column in ("start", "end"))
    transcript, num_repaired = transcripts.repair(row["text"])
    return Utterance(
        split=options.split(dialogue),
        dialogue=dialogue,
        name=row["utterance"],
        group=f"iemocap/{dialogue}",
        speaker=f"Session{dialogue[4]}-{speaker}",
        text=transcript,
        emotion=EMOTIONS.get(row["emotion"], row["emotion"] or None),
        sentiment=row["sentiment"] or None,
        start=start,
        end=end,
        source=dialogue,
        media=None,
        clip=None,
        absent=NO_RECORDING,
        num_repaired=num_repaired,
        labels={
            name: label_columns.read_label(row, name, kind) for name, kind in kinds.items() if name != "sentiment"
        },
        place=row.place,
    )


def _seconds(row: TableRow, column: str) -> float | None:
    if not row[column]:
        return None
    if not re.fullmatch(r"\d+(\.\d+)?", row[column]):
        raise row.problem(column, "write seconds, or nothing")
    return float(row[column])


def _read_session(session: Path, options: Options, listing: Listing) -> None:
    tables = sorted((session / "dialog/EmoEvaluation").glob("[!.]*.txt"))
    if not tables:
        split = options.split(f"Ses0{session.name[-1]}")
        add_note(listing.decided, split, session.name, "is not there, or has no dialog/EmoEvaluation/*.txt")
    files = sorted((session / "dialog/avi").rglob("[!.]*.*"))
    videos = {path.stem: path for path in files if path.suffix.lower() in (".avi", ".mp4")}
    for rated in tables:
        split = options.split(rated.stem)
        texts = _transcript(session / "dialog/transcriptions" / rated.name, split, listing)
        turns = _turns(rated, split, listing)
        for turn in turns:
            listing.utterances.append(_utterance(turn, rated.stem, session, split, texts, videos, listing))
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
            turns[match[3]] = _Turn(
                float(match[1]), float(match[2]), match[3], match[4], name[2], _ratings(match[5])
            )
    return sorted(turns.values(), key=lambda turn: (turn.start, turn.name))


def _ratings(cell: str) -> dict[str, Label | None]:
    """Valence, arousal and dominance: 2.5000, 2.5000, 2.5000."""
    numbers = [float(part) if re.fullmatch(r"\s*\d+(\.\d+)?\s*", part) else None for part in cell.split(",")]
    return dict(zip(DIMENSIONS, numbers if len(numbers) == len(DIMENSIONS) else [None] * 3, strict=True))


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
        labels=turn.labels,
    )
