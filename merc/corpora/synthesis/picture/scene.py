"""The video of an utterance: a room with one to three people, one of whom speaks."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from merc.corpora.synthesis.picture.face import Face, face_centre
from merc.corpora.synthesis.picture.features import draw_expression
from merc.corpora.synthesis.plan.cast import PEOPLE
from merc.corpora.synthesis.plan.randomness import pick
from merc.data.records.labels import MELD_EMOTIONS

WIDTH, HEIGHT = 320, 180  # pixels
WALLS = ((150, 165, 175), (188, 176, 150), (132, 148, 128), (172, 150, 150), (116, 124, 144), (196, 194, 186))
OBJECTS = ((92, 70, 52), (70, 92, 110), (120, 96, 70), (64, 84, 62), (140, 60, 50), (206, 210, 214), (60, 60, 66))
GRAIN = 2.0  # standard deviation of the noise, of 255
SHIRTS = ((70, 90, 130), (120, 60, 60), (60, 104, 78), (150, 136, 110), (88, 80, 96), (52, 56, 64), (168, 120, 70))
NUM_PEOPLE_PROBABILITIES = (0.40, 0.35, 0.25)  # probabilities of one, two and three people in the picture
SMALLEST, TALLEST_OF = 52, {1: 84, 2: 80, 3: 70}  # pixels from chin to hairline; three people leave less room
# probability that a listener shows a random emotion, independent of the utterance's
LISTENER_EMOTION_PROBABILITY = 0.3
BLINK, BLINK_EVERY = 3, 70  # duration and period in frames
SWAY = 1.6  # amplitude in pixels


@dataclass(frozen=True)
class Character:
    """One person in the picture: the face's centre and height in pixels, and its motion over time."""

    face: Face
    x: float
    y: float
    height: float
    mouth: np.ndarray  # (frames,) opening, 0 to 1
    sway: np.ndarray  # (frames, 2) int, pixels
    blinks: np.ndarray  # (frames,) bool

    def box(self) -> dict[str, int]:
        """Bounding box of the face at rest, from hairline to chin and from cheek to cheek."""
        return _box(self.x, self.y, self.height, (-0.74, -0.90, 0.74, 1.0))

    def features(self) -> dict[str, int]:
        """Bounding box of the facial features that show an expression, from brows to lower lip."""
        return _box(self.x, self.y, self.height, (-0.60, -0.62, 0.60, 0.86))


@dataclass(frozen=True)
class Scene:
    """A room and its people, who are drawn from left to right."""

    background: np.ndarray
    people: tuple[Character, ...]
    speaker: int  # index into people

    def pictures(self):
        """Yield the frames, (HEIGHT, WIDTH, 3) uint8 RGB."""
        for number in range(len(self.people[0].mouth)):
            picture = self.background.copy()
            for person in self.people:
                _paste(picture, person, number)
            yield picture


def compose_scene(name: str, emotion: str, mouths: list[np.ndarray], random: np.random.Generator) -> Scene:
    """Compose a scene; the first of `mouths` is the speaker's, the others are listeners'."""
    names = [name, *random.permutation([other for other in PEOPLE if other != name])[: len(mouths) - 1]]
    positions = random.permutation(len(mouths))
    light = float(random.choice([-1, 1]) * random.uniform(0.2, 1.1))
    moods = [emotion, *(_listener_emotion(random) for _ in mouths[1:])]
    people = [
        _character(name, mood, mouth, int(position), len(mouths), light, random)
        for name, mood, mouth, position in zip(names, moods, mouths, positions, strict=True)
    ]
    order = np.argsort(positions)
    return Scene(draw_room(random), tuple(people[index] for index in order), int(positions[0]))


def draw_room(random: np.random.Generator) -> np.ndarray:
    """Draw a background: (HEIGHT, WIDTH, 3) uint8 RGB."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:] = pick(random, WALLS)
    for _ in range(int(random.integers(3, 8))):
        _furnish(picture, random)
    picture = cv2.GaussianBlur(picture, (0, 0), random.uniform(1.0, 3.0))
    first, last = random.uniform(0.65, 1.15, 2)
    light = np.linspace(first, last, WIDTH)[None, :, None]
    light = light * np.linspace(1.05, 0.85, HEIGHT)[:, None, None]
    return np.clip(picture * light + random.normal(0.0, GRAIN, picture.shape), 0, 255).astype(np.uint8)


def _furnish(picture: np.ndarray, random: np.random.Generator) -> None:
    """Add a window, shelf, picture frame or lamp: a box or a disc with a lighter or darker inside."""
    left, top = int(random.integers(-20, WIDTH)), int(random.integers(-10, HEIGHT - 40))
    width, height = int(random.integers(18, 90)), int(random.integers(10, 90))
    outer, inner = pick(random, OBJECTS), pick(random, (*OBJECTS, *WALLS))
    if random.random() < 0.75:
        cv2.rectangle(picture, (left, top), (left + width, top + height), outer, -1)
        cv2.rectangle(picture, (left + 4, top + 4), (left + width - 4, top + height - 4), inner, -1)
    else:
        cv2.circle(picture, (left, top), width // 3, inner, -1, cv2.LINE_AA)


def draw_num_people(random: np.random.Generator) -> int:
    """Draw the number of people in the picture."""
    return 1 + int(random.choice(len(NUM_PEOPLE_PROBABILITIES), p=NUM_PEOPLE_PROBABILITIES))


def _listener_emotion(random: np.random.Generator) -> str:
    return pick(random, MELD_EMOTIONS) if random.random() < LISTENER_EMOTION_PROBABILITY else "neutral"


def _character(
    name: str, mood: str, mouth: np.ndarray, position: int, count: int, light: float, random: np.random.Generator
) -> Character:
    """Character at one of `count` positions from left to right, with random size, offset and motion."""
    height = random.uniform(SMALLEST, TALLEST_OF[count])
    width = WIDTH / count
    x = width * (position + 0.5) + random.uniform(-0.12, 0.12) * width
    y = HEIGHT - random.uniform(0.95, 1.3) * height
    face = Face(PEOPLE[name], draw_expression(mood, random), pick(random, SHIRTS), light)
    return Character(face, x, y, height, mouth, _draw_sway(len(mouth), random), _draw_blinks(len(mouth), random))


def _draw_sway(length: int, random: np.random.Generator) -> np.ndarray:
    """(frames, 2) offset of the head in pixels: a slow oscillation."""
    time = np.arange(length)[:, None] / 25.0
    speed, phase = random.uniform(0.15, 0.6, 2), random.uniform(0, 2 * np.pi, 2)
    return np.round(SWAY * np.sin(2 * np.pi * speed * time + phase) * (1.0, 0.5)).astype(int)


def _draw_blinks(length: int, random: np.random.Generator) -> np.ndarray:
    """(frames,) bool: periodic blinks with random phase."""
    return (np.arange(length) + random.integers(BLINK_EVERY)) % BLINK_EVERY < BLINK


def _box(x: float, y: float, height: float, edges: tuple[float, float, float, float]) -> dict[str, int]:
    """Box in pixels from its edges (left, top, right, bottom) in units of half a face's height."""
    left, top, right, bottom = (round(edge * height / 2) for edge in edges)
    return {"left": round(x) + left, "top": round(y) + top, "width": right - left, "height": bottom - top}


def _paste(picture: np.ndarray, person: Character, number: int) -> None:
    """Blend a person into frame `number`."""
    foreground, transparency = _layers(
        person.face, person.height, float(person.mouth[number]), bool(person.blinks[number])
    )
    centre_x, centre_y = face_centre(person.height)
    left = round(person.x - centre_x) + int(person.sway[number, 0])
    top = round(person.y - centre_y) + int(person.sway[number, 1])
    rows = slice(max(top, 0), min(top + foreground.shape[0], HEIGHT))
    columns = slice(max(left, 0), min(left + foreground.shape[1], WIDTH))
    inner = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    background = picture[rows, columns]
    picture[rows, columns] = (foreground[inner] + background * transparency[inner]).astype(np.uint8)


@lru_cache(maxsize=64)
def _layers(face: Face, height: float, mouth: float, blink: bool) -> tuple[np.ndarray, np.ndarray]:
    """The person's premultiplied colours, and the transparency (1 - opacity) for the background."""
    opacity = face.opacity(height)
    return face.picture(mouth, height, blink=blink) * opacity, 1.0 - opacity
