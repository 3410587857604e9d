"""Synthesis of one utterance: write its clip, return its ground truth."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from merc.corpora.synthesis import defects
from merc.corpora.synthesis.picture import scene
from merc.corpora.synthesis.plan.cast import CAST, PEOPLE
from merc.corpora.synthesis.plan.process import EMOTION, MOODS
from merc.corpora.synthesis.plan.randomness import clipped_normal, named_generator, pick
from merc.corpora.synthesis.sentences import Sentence, draw_sentence
from merc.corpora.synthesis.voice.voice import mouth_opening, synthesise_voice

MUTTER_PROBABILITY = 0.5  # probability that a silent character's mouth moves
LISTENER_OPENING = 1.3  # how far it opens, relative to a speaker's


@dataclass(frozen=True)
class Utterance:
    """Specification of an utterance to synthesise, and the path of its clip."""

    seed: int
    split: str
    dialogue: int
    number: int
    speaker: str
    mood: int  # index into process.MOODS
    shown: tuple[str, ...]  # modalities that show the mood
    path: Path
    defect: str = ""

    @property
    def name(self) -> str:
        return f"dia{self.dialogue}_utt{self.number}"

    def random(self, purpose: str) -> np.random.Generator:
        """Random generator of this utterance for one purpose."""
        return named_generator(self.seed, self.split, self.dialogue, self.number, purpose)

    def shown_mood(self, modality: str) -> int:
        """Mood that a modality shows: the utterance's, or neutral."""
        return self.mood if modality in self.shown else 0


@dataclass(frozen=True)
class SynthesisedClip:
    """Result of synthesising an utterance."""

    text: str
    seconds: float
    truth: dict[str, Any]


def synthesise(utterance: Utterance) -> SynthesisedClip:
    """Write the clip, with its defect, and return text, duration and ground truth."""
    spoken = utterance_sentence(utterance)
    person = PEOPLE[utterance.speaker]
    sound = synthesise_voice(spoken.text, person, EMOTION[utterance.shown_mood("audio")], utterance.random("voice"))
    random = utterance.random("scene")
    mouths = [
        mouth_opening(sound),
        *(_listener_mouth(len(mouth_opening(sound)), random) for _ in range(scene.draw_num_people(random) - 1)),
    ]
    composed = scene.compose_scene(utterance.speaker, EMOTION[utterance.shown_mood("vision")], mouths, random)
    seconds = defects.write_clip(utterance.path, utterance.defect, composed, sound)
    return SynthesisedClip(spoken.text, seconds, _truth(utterance, spoken, composed))


def utterance_sentence(utterance: Utterance) -> Sentence:
    """The sentence of an utterance."""
    return draw_sentence(MOODS[utterance.shown_mood("text")], utterance.split, utterance.random("text"))


def _listener_mouth(length: int, random: np.random.Generator) -> np.ndarray:
    """(frames,) mouth opening of a silent character: shut, or moving as in another sentence."""
    if random.random() >= MUTTER_PROBABILITY:
        return np.zeros(length)
    other = draw_sentence("neutral", "train", random)
    opening = mouth_opening(synthesise_voice(other.text, pick(random, CAST), pick(random, EMOTION), random))
    opening = np.roll(np.tile(opening, -(-length // len(opening)))[:length], int(random.integers(length)))
    return np.round(np.clip(opening * (LISTENER_OPENING + clipped_normal(random, 0.2)), 0, 1) * 8) / 8


def _truth(utterance: Utterance, spoken: Sentence, composed: scene.Scene) -> dict[str, Any]:
    """Row of the ground truth table (merc/data/records/truth.py)."""
    speaker = composed.people[composed.speaker]
    shown = defects.still_shown(utterance.shown, utterance.defect)
    return {
        "utterance": utterance.name,
        "informative": list(shown),
        "words": [{"start": start, "end": end} for start, end in spoken.carriers],
        "boxes": [{"character": index, **person.box()} for index, person in enumerate(composed.people)],
        "speaker_face": composed.speaker,
        "region": speaker.features() if "vision" in shown else None,
        "mouth": speaker.mouth[: defects.frames_left(utterance.defect, len(speaker.mouth))].tolist(),
        "faces": len(composed.people),
    }
