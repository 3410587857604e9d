"""Dialogues that the page offers to try: the test split of the bundled corpus, when it was drawn."""

from dataclasses import dataclass
from pathlib import Path

from merc.corpora import Utterance
from merc.corpora.meld import read_layout
from merc.serve.jobs import Clip

FOLDER = Path("data/raw/sample")
SHOWN = 4
TURNS = range(4, 9)  # long enough to be a conversation, short enough to wait for
HINT = "Run `dvc repro sample` (or `make repro`) once, and the bundled conversations appear here."


@dataclass(frozen=True)
class Example:
    """One dialogue whose clips lie on the server."""

    name: str
    title: str
    clips: list[Clip]


def find(folder: Path = FOLDER) -> dict[str, Example]:
    """The first few dialogues of a handy length, all of whose clips are there; none if the corpus is not."""
    if not (folder / "test_sent_emo.csv").is_file():
        return {}
    dialogues: dict[str, list[Utterance]] = {}
    for one in read_layout("sample", folder, folder, twins="evidence").utterances:
        if one.split == "test":
            dialogues.setdefault(one.dialogue, []).append(one)
    fitting = [turns for turns in dialogues.values() if len(turns) in TURNS and all(one.media for one in turns)]
    return {f"example-{number}": _example(number, turns) for number, turns in enumerate(fitting[:SHOWN], 1)}


def _example(number: int, turns: list[Utterance]) -> Example:
    speakers = list(dict.fromkeys(one.speaker for one in turns))
    clips = [Clip(one.media.name, one.text, one.media, one.speaker, there=True) for one in turns]
    names = " and ".join([", ".join(speakers[:-1]), speakers[-1]] if speakers[1:] else speakers)
    return Example(f"example-{number}", names, clips)
