"""Example dialogues of the page: from the test split of the bundled corpus `sample`, once it has been generated."""

from dataclasses import dataclass
from pathlib import Path

from merc.corpora.meld_layout.utterances import read_layout
from merc.data.records.listing import Utterance
from merc.serve.web.jobs import JobClip

FOLDER = Path("data/raw/sample")
MAX_EXAMPLES = 4
TURNS = range(4, 9)  # utterances of an example: enough for a conversation, few enough to be read quickly
HINT = "Run `dvc repro sample` (or `make repro`) once, and the bundled conversations appear here."


@dataclass(frozen=True)
class ExampleDialogue:
    """A dialogue whose clips are stored on the server."""

    name: str
    title: str
    clips: list[JobClip]


def find_examples(folder: Path = FOLDER) -> dict[str, ExampleDialogue]:
    """The first dialogues with a suitable number of turns and no missing clip; none without the corpus."""
    if not (folder / "test_sent_emo.csv").is_file():
        return {}
    dialogues: dict[str, list[Utterance]] = {}
    for utterance in read_layout("sample", folder, folder, twins="evidence").utterances:
        if utterance.split == "test":
            dialogues.setdefault(utterance.dialogue, []).append(utterance)
    suitable = [turns for turns in dialogues.values() if len(turns) in TURNS and all(turn.media for turn in turns)]
    return {f"example-{number}": _example(number, turns) for number, turns in enumerate(suitable[:MAX_EXAMPLES], 1)}


def _example(number: int, turns: list[Utterance]) -> ExampleDialogue:
    speakers = list(dict.fromkeys(turn.speaker for turn in turns))
    clips = [
        JobClip(turn.media.name, turn.text, turn.media, turn.speaker, has_arrived=True)
        for turn in turns
        if turn.media
    ]
    names = " and ".join([", ".join(speakers[:-1]), speakers[-1]] if speakers[1:] else speakers)
    return ExampleDialogue(f"example-{number}", names, clips)
