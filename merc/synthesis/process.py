"""The dialogue process: who speaks, what they feel, and which modality shows it. `optimum.py` inverts it."""

from dataclasses import dataclass

import numpy as np

from merc.manifest import MODALITIES
from merc.synthesis.cast import CAST
from merc.synthesis.chance import generator

# Surprise is one emotion of two sentiments, so the process has one mood more than there are emotions.
MOODS = ("neutral", "joy", "glad surprise", "bad surprise", "anger", "sadness", "disgust", "fear")
EMOTION = tuple(mood.split()[-1] for mood in MOODS)
SENTIMENT = ("neutral", "positive", "positive", *["negative"] * 5)
NEUTRAL = 0

# Chance that a modality shows a mood that is not neutral; otherwise it looks neutral.
SHOWS = {"text": 0.38, "audio": 0.36, "vision": 0.36}

# What each person feels of their own accord, in the order of MOODS.
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
# What the previous utterance's mood (row) calls forth in the next (column).
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
# How much of the next mood is the speaker's own accord, contagion, or the mood they were last in.
ACCORD, CATCH, INERTIA = 0.20, 0.45, 0.35
KEEP_TALKING = 0.2
SHORTEST, LONGEST = 5, 12  # utterances in a dialogue


@dataclass(frozen=True)
class Line:
    """One utterance as the process knows it."""

    speaker: str
    mood: int
    shown: tuple[str, ...]  # modalities that show the mood


def next_mood(speaker: str, previous: int | None, own: int | None) -> np.ndarray:
    """(moods,) chances of the next mood, after the previous utterance's and the speaker's own last mood."""
    chances = ACCORD * np.array(TENDENCIES[speaker])
    if previous is not None:
        chances = chances + CATCH * np.array(CONTAGION[previous])
    if own is not None:
        chances = chances + INERTIA * np.eye(len(MOODS))[own]
    return chances / chances.sum()


def length(seed: int, split: str, dialogue: int) -> int:
    """How many utterances a dialogue has, unless the corpus ends before it."""
    return int(generator(seed, split, dialogue, "length").integers(SHORTEST, LONGEST + 1))


def dialogue_lines(seed: int, split: str, dialogue: int, utterances: list[int]) -> list[Line]:
    """The lines of a dialogue; a longer list of utterances begins with the same lines."""
    random = generator(seed, split, dialogue, "people")
    people = [CAST[index].name for index in random.permutation(len(CAST))[: random.integers(2, 4)]]
    lines: list[Line] = []
    for utterance in utterances:
        lines.append(_next_line(lines, people, generator(seed, split, dialogue, utterance, "process")))
    return lines


def _next_line(lines: list[Line], people: list[str], random: np.random.Generator) -> Line:
    speaker = _next_speaker(lines, people, random)
    previous = lines[-1].mood if lines else None
    own = next((line.mood for line in reversed(lines) if line.speaker == speaker), None)
    mood = int(random.choice(len(MOODS), p=next_mood(speaker, previous, own)))
    shown = [modality for modality in MODALITIES if random.random() < SHOWS[modality]]
    return Line(speaker, mood, tuple(shown) if mood != NEUTRAL else ())


def _next_speaker(lines: list[Line], people: list[str], random: np.random.Generator) -> str:
    draw, choice = random.random(), random.random()
    if lines and draw < KEEP_TALKING:
        return lines[-1].speaker
    others = [name for name in people if not lines or name != lines[-1].speaker]
    return others[int(choice * len(others))]
