"""Reader of EmoryNLP: scenes of the series Friends, seven emotions, as its authors' JSON or as MELD's authors' CSV.

Zahiri & Choi, 2018: Emotion Detection on TV Show Transcripts with Sequence-based Convolutional Neural Networks.
"""

import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from merc.corpora.forms import acted, splits, table
from merc.data.records import transcripts
from merc.data.records.listing import Listing, Utterance, add_note
from merc.data.records.manifest import SPLITS
from merc.runtime.errors import UserError
from merc.runtime.params import StrictModel

JSON_PATTERN = re.compile(r"emotion-detection-(trn|dev|tst)\.json")
CSV_PATTERN = re.compile(r"emorynlp_(train|dev|test)(?:_final)?\.csv")
ID_PATTERN = re.compile(r"s(\d+)_e(\d+)_c(\d+)_u(\d+)")
CLIP_PATTERN = re.compile(r"sea(\d+)_ep(\d+)_sc(\d+)_utt(\d+)")
CSV_COLUMNS = ("utterance", "speaker", "emotion", "season", "episode", "scene_id", "utterance_id")
NO_CLIP = "no clip of this name"
Key = tuple[int, ...]  # season, episode, scene, utterance


class Options(StrictModel):
    """Section `data.emorynlp` of params.yaml: no options, as the files are the splits."""


def read(folder: Path, scratch: Path, options: Options) -> Listing:
    """Read the three files of either form anywhere below data/raw/emorynlp; clips are used where they are."""
    listing, files = Listing([]), _files(folder)
    if not files:
        raise UserError(
            f"{folder}: holds neither emotion-detection-trn.json nor emorynlp_train_final.csv; see docs/data.md"
        )
    clips = _clips(folder)
    for split in SPLITS:
        if split not in files:
            add_note(listing.decided, split, "table", "is not there: the split is empty")
            continue
        path = files[split]
        seen: dict[Key, dict[str, str]] = {}
        for key, cells in _from_json(path) if path.suffix == ".json" else _from_csv(path):
            if key in seen:
                add_note(listing.ignored, split, _name(key), f"{path.name}: a second row of this utterance")
            seen.setdefault(key, cells)
        listing.utterances += [_utterance(key, seen[key], split, clips, folder) for key in sorted(seen)]
    return listing


def _files(folder: Path) -> dict[str, Path]:
    """split -> its file; JSON comes before CSV."""
    found = {}
    for pattern, suffix in ((CSV_PATTERN, "csv"), (JSON_PATTERN, "json")):
        for path in sorted(folder.rglob(f"*.{suffix}")):
            if match := pattern.fullmatch(path.name):
                found[splits.split_of(match[1])] = path
    return found


def _clips(folder: Path) -> dict[Key, dict[str, Path]]:
    """Utterance -> suffix -> file."""
    clips: dict[Key, dict[str, Path]] = defaultdict(dict)
    for path in acted.recordings(folder):
        if match := CLIP_PATTERN.fullmatch(path.stem):
            clips[tuple(map(int, match.groups()))][path.suffix.lower()] = path
    return clips


def _from_json(path: Path) -> Iterator[tuple[Key, dict[str, str]]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        for episode in content["episodes"]:
            for scene in episode["scenes"]:
                for utterance in scene["utterances"]:
                    yield (
                        _key(path, utterance),
                        {
                            "text": str(utterance["transcript"]),
                            "speaker": " & ".join(utterance["speakers"]),
                            "emotion": str(utterance.get("emotion") or ""),
                        },
                    )
    except (ValueError, KeyError, TypeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{path}: is not EmoryNLP's JSON of episodes, scenes, utterances: {reason}") from None


def _key(path: Path, utterance: dict[str, Any]) -> Key:
    match = ID_PATTERN.fullmatch(str(utterance["utterance_id"]))
    if match is None:
        raise UserError(f"{path}: utterance_id = {utterance['utterance_id']!r}: is none like s01_e02_c01_u002")
    return tuple(map(int, match.groups()))


def _from_csv(path: Path) -> Iterator[tuple[Key, dict[str, str]]]:
    for row in table.read_table(path, CSV_COLUMNS).rows:
        numbers = [re.fullmatch(r"\D*(\d{1,6})(?:\.0)?", row[column]) for column in CSV_COLUMNS[3:]]
        for column, number in zip(CSV_COLUMNS[3:], numbers, strict=True):
            if number is None:
                raise row.problem(column, "is no number; bring EmoryNLP's own CSV")
        key = tuple(int(number[1]) for number in numbers if number)
        yield (
            key,
            {"text": row["utterance"], "speaker": _speakers(row["speaker"]), "emotion": row["emotion"]},
        )


def _speakers(cell: str) -> str:
    """ "['Monica Geller']" as the names in it."""
    try:
        names = ast.literal_eval(cell)
    except (ValueError, SyntaxError):
        return cell
    return " & ".join(map(str, names)) if isinstance(names, list) else cell


def _name(key: Key) -> str:
    return "s{:02}_e{:02}_c{:02}_u{:03}".format(*key)


def _utterance(
    key: Key, cells: dict[str, str], split: str, clips: dict[Key, dict[str, Path]], folder: Path
) -> Utterance:
    clip, sound = acted.media_and_sound(clips.get(key, {}))
    dialogue = _name(key).rpartition("_")[0]
    transcript, num_repaired = transcripts.repair(cells["text"])
    return Utterance(
        split=split,
        dialogue=dialogue,
        name=_name(key),
        group=f"emorynlp/{split}/{dialogue}",
        speaker=cells["speaker"],
        text=transcript.strip(),
        emotion=cells["emotion"].lower() or None,
        sentiment=None,
        start=None,
        end=None,
        media=clip,
        clip=clip and clip.relative_to(folder).as_posix(),
        absent="" if clip else NO_CLIP,
        sound=sound,
        num_repaired=num_repaired,
    )
