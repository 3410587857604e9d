"""Generative process of a dialogue: speakers, their moods, and the modalities that show them.

merc/studies/optimum computes the Bayes optimal recogniser of this process.
"""

from dataclasses import dataclass

import numpy as np

from merc.corpora.synthesis.plan.cast import CAST
from merc.corpora.synthesis.plan.randomness import named_generator
from merc.data.records.manifest import MODALITIES

# Surprise has two sentiments, so there is one mood more than emotions.
MOODS = ("neutral", "joy", "glad surprise", "bad surprise", "anger", "sadness", "disgust", "fear")
EMOTION = tuple(mood.split()[-1] for mood in MOODS)
SENTIMENT = ("neutral", "positive", "positive", *["negative"] * 5)
NEUTRAL = 0

# Probability that a modality shows a mood other than neutral; otherwise it appears neutral.
SHOWN_PROBABILITIES = {"text": 0.38, "audio": 0.36, "vision": 0.36}

# Mood distribution of each character without context, in the order of MOODS.
TENDENCIES = {
    "Mara": (0.36, 0.26, 0.08, 0.04, 0.06, 0.06, 0.06, 0.08),
    "Tobias": (0.34, 0.08, 0.03, 0.06, 0.24, 0.07, 0.12, 0.06),
    "Ines": (0.32, 0.08, 0.05, 0.08, 0.06, 0.10, 0.07, 0.24),
    "Viktor": (0.36, 0.06, 0.02, 0.07, 0.14, 0.08, 0.22, 0.05),
    "Lena": (0.34, 0.08, 0.04, 0.05, 0.06, 0.26, 0.08, 0.09),
    "Okoro": (0.38, 0.24, 0.10, 0.04, 0.08, 0.06, 0.06, 0.04),
    "Priya": (0.32, 0.12, 0.14, 0.12, 0.07, 0.07, 0.09, 0.07),
    "Jonas": (0.46, 0.10, 0.05, 0.05, 0.09, 0.09, 0.08, 0.08),
}
# Distribution of the next mood (column) given that of the previous utterance (row).
CONTAGION = (
    (0.66, 0.09, 0.04, 0.03, 0.05, 0.05, 0.04, 0.04),
    (0.14, 0.72, 0.08, 0.01, 0.01, 0.01, 0.02, 0.01),
    (0.12, 0.60, 0.20, 0.02, 0.02, 0.01, 0.02, 0.01),
    (0.12, 0.01, 0.02, 0.18, 0.21, 0.14, 0.12, 0.20),
    (0.10, 0.01, 0.01, 0.12, 0.48, 0.12, 0.06, 0.10),
    (0.18, 0.02, 0.01, 0.05, 0.04, 0.60, 0.02, 0.08),
    (0.18, 0.07, 0.01, 0.10, 0.14, 0.04, 0.44, 0.02),
    (0.18, 0.03, 0.02, 0.12, 0.05, 0.08, 0.04, 0.48),
)
# Mixture weights of the next mood's distribution: TENDENCIES, CONTAGION, the speaker's last mood.
TENDENCY_WEIGHT, CONTAGION_WEIGHT, INERTIA_WEIGHT = 0.20, 0.45, 0.35
KEEP_TALKING = 0.2  # probability that the same speaker continues
SHORTEST, LONGEST = 5, 12  # utterances in a dialogue


@dataclass(frozen=True)
class DialogueTurn:
    """One utterance of the process."""

    speaker: str
    mood: int
    shown: tuple[str, ...]  # modalities that show the mood


def next_mood(speaker: str, previous: int | None, last_mood: int | None) -> np.ndarray:
    """(moods,) distribution of the next mood, given the previous utterance's and the speaker's own last mood."""
    probabilities = TENDENCY_WEIGHT * np.array(TENDENCIES[speaker])
    if previous is not None:
        probabilities = probabilities + CONTAGION_WEIGHT * np.array(CONTAGION[previous])
    if last_mood is not None:
        probabilities = probabilities + INERTIA_WEIGHT * np.eye(len(MOODS))[last_mood]
    return probabilities / probabilities.sum()


def dialogue_length(seed: int, split: str, dialogue: int) -> int:
    """Number of utterances of a dialogue, unless the split ends before."""
    return int(named_generator(seed, split, dialogue, "length").integers(SHORTEST, LONGEST + 1))


def dialogue_lines(seed: int, split: str, dialogue: int, utterances: list[int]) -> list[DialogueTurn]:
    """Draw the lines of a dialogue; a longer list of utterance numbers begins with the same lines."""
    random = named_generator(seed, split, dialogue, "people")
    people = [CAST[index].name for index in random.permutation(len(CAST))[: random.integers(2, 4)]]
    lines: list[DialogueTurn] = []
    for utterance in utterances:
        lines.append(_draw_line(lines, people, named_generator(seed, split, dialogue, utterance, "process")))
    return lines


def _draw_line(lines: list[DialogueTurn], people: list[str], random: np.random.Generator) -> DialogueTurn:
    speaker = _draw_speaker(lines, people, random)
    previous = lines[-1].mood if lines else None
    last_mood = next((line.mood for line in reversed(lines) if line.speaker == speaker), None)
    mood = int(random.choice(len(MOODS), p=next_mood(speaker, previous, last_mood)))
    shown = [modality for modality in MODALITIES if random.random() < SHOWN_PROBABILITIES[modality]]
    return DialogueTurn(speaker, mood, tuple(shown) if mood != NEUTRAL else ())


def _draw_speaker(lines: list[DialogueTurn], people: list[str], random: np.random.Generator) -> str:
    keep_draw, speaker_draw = random.random(), random.random()
    if lines and keep_draw < KEEP_TALKING:
        return lines[-1].speaker
    others = [name for name in people if not lines or name != lines[-1].speaker]
    return others[int(speaker_draw * len(others))]
