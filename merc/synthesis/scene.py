"""The picture of an utterance: a room, one to three people in it, one of whom speaks."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from merc.labels import MELD_EMOTIONS
from merc.synthesis.cast import PEOPLE
from merc.synthesis.chance import pick
from merc.synthesis.expressions import expression
from merc.synthesis.face import Face, centre
from merc.synthesis.room import HEIGHT, WIDTH, room

SHIRTS = ((70, 90, 130), (120, 60, 60), (60, 104, 78), (150, 136, 110), (88, 80, 96), (52, 56, 64), (168, 120, 70))
CROWD = (0.40, 0.35, 0.25)  # chances of one, two and three people in the picture
SMALLEST, TALLEST = 52, 80  # pixels from chin to hairline; three people leave less room
TALLEST_OF = {1: 84, 2: 80, 3: 70}
MOODY = 0.3  # chance that a listener pulls a face, whatever the utterance's emotion
BLINK, BLINK_EVERY = 3, 70  # pictures
SWAY = 1.6  # pixels


@dataclass(frozen=True)
class Character:
    """One person in the picture: the face's centre and height in pixels, and the mouth over time."""

    face: Face
    x: float
    y: float
    height: float
    mouth: np.ndarray  # (pictures,)
    sway: np.ndarray  # (pictures, 2) whole pixels
    blinks: np.ndarray  # (pictures,) bool

    def box(self) -> dict[str, int]:
        """The face at rest, from hairline to chin and from cheek to cheek."""
        return _box(self.x, self.y, self.height, (-0.74, -0.90, 0.74, 1.0))

    def features(self) -> dict[str, int]:
        """Brows to lower lip: where an expression is."""
        return _box(self.x, self.y, self.height, (-0.60, -0.62, 0.60, 0.86))


@dataclass(frozen=True)
class Scene:
    """The room and the people, who are drawn from left to right."""

    background: np.ndarray
    people: tuple[Character, ...]
    speaker: int  # index into people

    def pictures(self):
        """Every picture, (HEIGHT, WIDTH, 3) uint8 RGB."""
        for number in range(len(self.people[0].mouth)):
            picture = self.background.copy()
            for person in self.people:
                _paste(picture, person, number)
            yield picture


def compose(name: str, emotion: str, mouths: list[np.ndarray], random: np.random.Generator) -> Scene:
    """A scene in which the first of `mouths` is the speaker's and the others are listeners'."""
    names = [name, *random.permutation([other for other in PEOPLE if other != name])[: len(mouths) - 1]]
    places = random.permutation(len(mouths))
    light = float(random.choice([-1, 1]) * random.uniform(0.2, 1.1))
    moods = [emotion, *(_listening(random) for _ in mouths[1:])]
    people = [
        _character(*about, int(place), len(mouths), light, random)
        for *about, place in zip(names, moods, mouths, places, strict=True)
    ]
    order = np.argsort(places)
    return Scene(room(random), tuple(people[index] for index in order), int(places[0]))


def crowd(random: np.random.Generator) -> int:
    """How many people are in the picture."""
    return 1 + int(random.choice(len(CROWD), p=CROWD))


def _listening(random: np.random.Generator) -> str:
    return pick(random, MELD_EMOTIONS) if random.random() < MOODY else "neutral"


def _character(
    name: str, mood: str, mouth: np.ndarray, place: int, count: int, light: float, random: np.random.Generator
) -> Character:
    height = random.uniform(SMALLEST, TALLEST_OF[count])
    share = WIDTH / count
    x = share * (place + 0.5) + random.uniform(-0.12, 0.12) * share
    y = HEIGHT - random.uniform(0.95, 1.3) * height
    face = Face(PEOPLE[name], expression(mood, random), pick(random, SHIRTS), light)
    return Character(face, x, y, height, mouth, _swaying(len(mouth), random), _blinking(len(mouth), random))


def _swaying(length: int, random: np.random.Generator) -> np.ndarray:
    time = np.arange(length)[:, None] / 25.0
    speed, phase = random.uniform(0.15, 0.6, 2), random.uniform(0, 2 * np.pi, 2)
    return np.round(SWAY * np.sin(2 * np.pi * speed * time + phase) * (1.0, 0.5)).astype(int)


def _blinking(length: int, random: np.random.Generator) -> np.ndarray:
    return (np.arange(length) + random.integers(BLINK_EVERY)) % BLINK_EVERY < BLINK


def _box(x: float, y: float, height: float, edges: tuple[float, float, float, float]) -> dict[str, int]:
    left, top, right, bottom = (round(edge * height / 2) for edge in edges)
    return {"left": round(x) + left, "top": round(y) + top, "width": right - left, "height": bottom - top}


def _paste(picture: np.ndarray, person: Character, number: int) -> None:
    drawn, cover = _layers(person.face, person.height, float(person.mouth[number]), bool(person.blinks[number]))
    across, down = centre(person.height)
    left = round(person.x - across) + int(person.sway[number, 0])
    top = round(person.y - down) + int(person.sway[number, 1])
    rows = slice(max(top, 0), min(top + drawn.shape[0], HEIGHT))
    columns = slice(max(left, 0), min(left + drawn.shape[1], WIDTH))
    inner = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    below = picture[rows, columns]
    picture[rows, columns] = (drawn[inner] + below * cover[inner]).astype(np.uint8)


@lru_cache(maxsize=64)
def _layers(face: Face, height: float, mouth: float, blink: bool) -> tuple[np.ndarray, np.ndarray]:
    """What the person adds to the picture, and how much of the background is seen through it."""
    opacity = face.opacity(height)
    return face.picture(mouth, height, blink=blink) * opacity, 1.0 - opacity
