"""Reader of EmoDB: ten German actors, ten sentences, seven emotions.

Burkhardt et al., 2005: A Database of German Emotional Speech.
"""

import re
from pathlib import Path

from pydantic import Field

from merc.corpora.forms import acted
from merc.data.records.listing import Listing, Utterance, add_note
from merc.runtime.params import StrictModel

# speaker, sentence, emotion by its German initial, version: 03a01Fa.wav
NAME_PATTERN = re.compile(r"(\d\d)([ab]\d\d)([WLEAFTN])([a-z]*)")
EMOTIONS = {
    "W": "angry",
    "L": "bored",
    "E": "disgusted",
    "A": "fearful",
    "F": "happy",
    "T": "sad",
    "N": "neutral",
}
SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
FOLDS = 5  # of two speakers each


class Options(StrictModel):
    """Section `data.emodb` of params.yaml."""

    # the two speakers of this fold are test, those of the next one dev
    fold: int = Field(ge=1, le=FOLDS)


def read(folder: Path, scratch: Path, options: Options) -> Listing:
    """Read every recording below data/raw/emodb."""
    listing, matches = Listing([]), {}
    for path in acted.recordings(folder):
        match = NAME_PATTERN.fullmatch(path.stem)
        if match is None:
            add_note(listing.ignored, None, path.name, "not a name of EmoDB's: 03a01Fa")
        elif path.stem in matches:
            add_note(listing.ignored, None, path.name, f"a second copy of {matches[path.stem][0].name}")
        else:
            matches[path.stem] = path, match
    if not matches:
        return acted.by_split(listing, [], folder, "03a01Fa.wav")
    split = acted.speaker_splits(folder, (match[1] for _, match in matches.values()), FOLDS, options.fold)
    utterances = [_utterance(path, match, folder, split[match[1]]) for path, match in matches.values()]
    return acted.by_split(listing, utterances, folder, "03a01Fa.wav")


def _utterance(path: Path, match: re.Match[str], folder: Path, split: str) -> Utterance:
    return Utterance(
        split=split,
        dialogue=path.stem,
        name=path.stem,
        group=f"emodb/{match[1]}",
        speaker=f"speaker-{match[1]}",
        text=SENTENCES.get(match[2], ""),
        emotion=EMOTIONS[match[3]],
        sentiment=None,
        start=None,
        end=None,
        media=path,
        clip=path.relative_to(folder).as_posix(),
        language="de",
    )
