"""Example corpus: chat logs, a line `dialogue <tab> speaker <tab> emotion <tab> text` per utterance, no media."""

from pathlib import Path

from merc.data.records.listing import Listing, Utterance
from merc.data.records.manifest import SPLITS
from merc.runtime.params import StrictModel


class Options(StrictModel):
    """Section `data.chat` of params.yaml: no options."""


def read(folder: Path, scratch: Path, options: Options) -> Listing:
    """The utterances of <folder>/<split>.txt in order; the lines of a dialogue are contiguous."""
    return Listing([utterance for split in SPLITS for utterance in _read_split(folder / f"{split}.txt", split)])


def _read_split(path: Path, split: str) -> list[Utterance]:
    utterances = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        dialogue, speaker, emotion, text = line.split("\t")
        utterances.append(
            Utterance(
                split=split,
                dialogue=dialogue,
                name=f"{dialogue}_{number}",  # unique within the split; names the extracted files
                group=f"chat/{split}/{dialogue}",  # unit of the bootstrap; unique across splits
                speaker=speaker,
                text=text,
                emotion=emotion,
                sentiment=None,
                start=None,
                end=None,
                media=None,
                clip=None,
                absent="a chat has no recording",
            )
        )
    return utterances
