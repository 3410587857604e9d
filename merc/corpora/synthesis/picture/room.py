"""Random backgrounds: a wall in a colour and light, with furniture."""

import cv2
import numpy as np

from merc.corpora.synthesis.plan.randomness import pick

WIDTH, HEIGHT = 320, 180  # pixels
WALLS = ((150, 165, 175), (188, 176, 150), (132, 148, 128), (172, 150, 150), (116, 124, 144), (196, 194, 186))
OBJECTS = ((92, 70, 52), (70, 92, 110), (120, 96, 70), (64, 84, 62), (140, 60, 50), (206, 210, 214), (60, 60, 66))
GRAIN = 2.0  # standard deviation of the noise, of 255


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
