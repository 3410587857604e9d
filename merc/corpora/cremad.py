"""Reader of CREMA-D: 91 actors, twelve sentences, six emotions, and the votes of 2,443 raters.

Cao et al., 2014: CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset.
"""

import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import cast

from pydantic import Field

from merc.corpora.forms import acted, table
from merc.data.records.listing import Listing, Utterance, add_note
from merc.runtime.errors import UserError
from merc.runtime.params import StrictModel

# actor, sentence, emotion, level: 1001_IEO_ANG_HI
NAME_PATTERN = re.compile(r"(1\d\d\d)_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX|X)")
EMOTIONS = {
    "ANG": "angry",
    "DIS": "disgusted",
    "FEA": "fearful",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
VOTES = {code[0]: emotion for code, emotion in EMOTIONS.items()}  # A, D, F, H, N, S
LEVELS = {"LO": "low", "MD": "medium", "HI": "high"}
SENTENCES = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
FOLDS = 5
TABULATED, RESPONSES = "processedResults/tabulatedVotes.csv", "finishedResponses.csv"
# queryType of a rating -> column of the manifest
QUERIES = {"1": "votes_voice", "2": "votes_face", "3": "votes"}
Votes = dict[str, dict[str, dict[str, float]]]  # recording -> column -> emotion -> raters


class Options(StrictModel):
    """Section `data.cremad` of params.yaml."""

    # the actors of this fold are test, those of the next one dev
    fold: int = Field(ge=1, le=FOLDS)


def read(folder: Path, scratch: Path, options: Options) -> Listing:
    """Read every recording below data/raw/cremad, and the votes, if they are there."""
    listing, files = Listing([]), defaultdict(dict)
    for path in acted.recordings(folder):
        if NAME_PATTERN.fullmatch(path.stem) is None:
            add_note(listing.ignored, None, path.name, "not a name of CREMA-D's: 1001_IEO_ANG_HI")
        else:
            files[path.stem].setdefault(path.suffix.lower(), path)
    if not files:
        return acted.by_split(listing, [], folder, "1001_IEO_ANG_HI.wav")
    votes = _votes(folder, listing)
    split = acted.speaker_splits(folder, (name[:4] for name in files), FOLDS, options.fold)
    utterances = [_utterance(name, files[name], folder, split[name[:4]], votes) for name in sorted(files)]
    return acted.by_split(listing, utterances, folder, "1001_IEO_ANG_HI.wav")


def _utterance(name: str, files: dict[str, Path], folder: Path, split: str, votes: Votes) -> Utterance:
    actor, sentence, emotion, level = cast("re.Match[str]", NAME_PATTERN.fullmatch(name)).groups()
    found, sound = acted.media_and_sound(files)
    media = cast("Path", found)
    cast_votes = {column: votes.get(name, {}).get(column) for column in QUERIES.values()}
    return Utterance(
        split=split,
        dialogue=name,
        name=name,
        group=f"cremad/{actor}",
        speaker=f"actor-{actor}",
        text=SENTENCES.get(sentence, ""),
        emotion=EMOTIONS[emotion],
        sentiment=None,
        start=None,
        end=None,
        media=media,
        clip=media.relative_to(folder).as_posix(),
        sound=sound,
        intensity=LEVELS.get(level),
        labels={"perceived": _majority(cast_votes["votes"]), **cast_votes},
    )


def _majority(votes: dict[str, float] | None) -> str | None:
    """The emotion that most raters of sound and picture saw; None if two are level."""
    ordered = Counter(votes or {}).most_common(2)
    if not ordered or (len(ordered) > 1 and ordered[0][1] == ordered[1][1]):
        return None
    return ordered[0][0]


def _votes(folder: Path, listing: Listing) -> Votes:
    """The raters' votes for each recording, as tabulated by the authors, else counted."""
    tabulated = next(folder.rglob(Path(TABULATED).name), None)
    responses = next(folder.rglob(RESPONSES), None)
    if tabulated is not None:
        return _tabulated(tabulated)
    if responses is not None:
        return _counted(responses)
    add_note(listing.decided, None, "votes", f"neither {TABULATED} nor {RESPONSES} is there: no soft labels")
    return {}


def _tabulated(path: Path) -> Votes:
    """A row per recording and kind of rating; its unnamed first cell is 100,000 times queryType, plus a number."""
    votes: Votes = defaultdict(dict)
    for row in table.read_table(path, ("", *map(str.lower, VOTES), "filename")).rows:
        column = QUERIES.get(row[""][:1]) if re.fullmatch(r"[123]\d{5}", row[""]) else None
        if column is None:
            raise row.problem("", "is no number of a rating, such as 300001; bring CREMA-D's own table")
        counts = {emotion: _count(row, code.lower()) for code, emotion in VOTES.items()}
        votes[row["filename"]][column] = {emotion: count for emotion, count in counts.items() if count}
    return votes


def _count(row: table.TableRow, column: str) -> float:
    if not re.fullmatch(r"\d*", row[column]):
        raise row.problem(column, "is no number of raters; bring CREMA-D's own table")
    return float(row[column] or 0)


def _counted(path: Path) -> Votes:
    """A row per rating."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for row in table.read_table(path, ("clipname", "querytype", "respemo")).rows:
        if row["querytype"] in QUERIES and row["respemo"][:1].upper() in VOTES:
            counts[row["clipname"], QUERIES[row["querytype"]]][VOTES[row["respemo"][:1].upper()]] += 1
    votes: Votes = defaultdict(dict)
    for (name, column), counter in counts.items():
        votes[name][column] = {emotion: float(count) for emotion, count in sorted(counter.items())}
    if not votes:
        raise UserError(f"{path}: has no rating of the query types 1 to 3; bring CREMA-D's own table")
    return votes
