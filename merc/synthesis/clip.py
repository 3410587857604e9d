"""One utterance drawn: its clip written, its truth returned."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from merc.synthesis import defects, scene
from merc.synthesis.cast import CAST, PEOPLE
from merc.synthesis.chance import generator, near, pick
from merc.synthesis.process import EMOTION, MOODS
from merc.synthesis.sentences import Sentence, sentence
from merc.synthesis.voice import mouth, utter

MUTTERS = 0.5  # chance that a silent character's mouth moves
LIVELY = 1.3  # how far it opens, against a speaker's


@dataclass(frozen=True)
class Utterance:
    """What is to be drawn, and where to."""

    seed: int
    split: str
    dialogue: int
    number: int
    speaker: str
    mood: int
    shown: tuple[str, ...]
    path: Path
    defect: str = ""

    @property
    def name(self) -> str:
        return f"dia{self.dialogue}_utt{self.number}"

    def random(self, what: str) -> np.random.Generator:
        return generator(self.seed, self.split, self.dialogue, self.number, what)

    def appears(self, modality: str) -> int:
        """The mood that a modality shows."""
        return self.mood if modality in self.shown else 0


@dataclass(frozen=True)
class Drawn:
    """What became of an utterance."""

    text: str
    seconds: float
    truth: dict[str, Any]


def draw(utterance: Utterance) -> Drawn:
    """Write the clip (with its defect) and return the text, the length and the truth."""
    said = words(utterance)
    person = PEOPLE[utterance.speaker]
    sound = utter(said.text, person, EMOTION[utterance.appears("audio")], utterance.random("voice"))
    random = utterance.random("scene")
    mouths = [mouth(sound), *(_listener(len(mouth(sound)), random) for _ in range(scene.crowd(random) - 1))]
    drawn = scene.compose(utterance.speaker, EMOTION[utterance.appears("vision")], mouths, random)
    seconds = defects.write(utterance.path, utterance.defect, drawn, sound)
    return Drawn(said.text, seconds, _truth(utterance, said, drawn))


def words(utterance: Utterance) -> Sentence:
    """The sentence of an utterance."""
    return sentence(MOODS[utterance.appears("text")], utterance.split, utterance.random("text"))


def _listener(length: int, random: np.random.Generator) -> np.ndarray:
    """The mouth of one who is not heard: shut, or moving with the sound of another sentence."""
    if random.random() >= MUTTERS:
        return np.zeros(length)
    other = sentence("neutral", "train", random)
    moving = mouth(utter(other.text, pick(random, CAST), pick(random, EMOTION), random))
    moving = np.roll(np.tile(moving, -(-length // len(moving)))[:length], int(random.integers(length)))
    return np.round(np.clip(moving * (LIVELY + near(random, 0.2)), 0, 1) * 8) / 8


def _truth(utterance: Utterance, said: Sentence, drawn: scene.Scene) -> dict[str, Any]:
    speaker = drawn.people[drawn.speaker]
    shown = defects.still_shown(utterance.shown, utterance.defect)
    return {
        "utterance": utterance.name,
        "informative": list(shown),
        "words": [{"start": start, "end": end} for start, end in said.carriers],
        "boxes": [{"character": index, **person.box()} for index, person in enumerate(drawn.people)],
        "speaker_face": drawn.speaker,
        "region": speaker.features() if "vision" in shown else None,
        "mouth": speaker.mouth[: defects.pictures_left(utterance.defect, len(speaker.mouth))].tolist(),
        "faces": len(drawn.people),
    }
