"""A drawn face: natural skin, light and shadow, so that ordinary face detectors find it."""

import cv2
import numpy as np

from merc.synthesis import canvas, features
from merc.synthesis.cast import Person
from merc.synthesis.expressions import Expression

SHADOW_BLUR, LIGHT = 0.045, 0.16


class Face:
    """One person with one expression, ready to be drawn with the mouth more or less open."""

    def __init__(self, person: Person, expression: Expression, shirt, light: float) -> None:
        self.person, self.expression = person, expression
        self.still, self.mask = _still(person, expression, shirt, light)

    def picture(self, mouth: float, height: float, *, blink: bool = False) -> np.ndarray:
        """(h, w, 3) uint8 RGB with the face `height` pixels tall."""
        drawn = self.still.copy()
        features.mouth(drawn, self.expression, self.person, mouth)
        if blink:
            features.blink(drawn, self.person)
        return _shrink(drawn, height)

    def opacity(self, height: float) -> np.ndarray:
        """(h, w, 1) float32: 1 where the person hides the background."""
        return _shrink(self.mask, height)[..., None].astype(np.float32) / 255.0


def centre(height: float) -> tuple[float, float]:
    """Where in a shrunk picture the face's centre lies: x, y."""
    return canvas.CENTRE[0] * height / 2, canvas.CENTRE[1] * height / 2


def _shrink(picture: np.ndarray, height: float) -> np.ndarray:
    size = (round(canvas.WIDTH * height / 2), round(canvas.HEIGHT * height / 2))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _still(person: Person, expression: Expression, shirt, light: float) -> tuple[np.ndarray, np.ndarray]:
    picture = np.zeros((*canvas.SHAPE, 3), np.uint8)
    mask = np.zeros(canvas.SHAPE, np.uint8)
    features.hair_behind(picture, mask, person)
    features.body(picture, mask, person, shirt)
    outline = features.head_outline(person)
    canvas.fill(picture, outline, person.skin)
    canvas.fill(mask, outline, 255)
    _round_off(picture, outline, light)
    features.soft_shadows(picture, expression, person, SHADOW_BLUR)
    features.nose(picture, person)
    features.eyes(picture, expression, person)
    features.hair_before(picture, mask, person)
    features.brows(picture, expression, person)
    return picture, mask


def _round_off(picture: np.ndarray, outline: np.ndarray, light: float) -> None:
    """Light from one side and darker edges make the flat outline look like a head."""
    x, y = _GRID
    inside = np.zeros(canvas.SHAPE, np.uint8)
    canvas.fill(inside, outline, 255)
    edge = np.clip((x / 0.78) ** 2 + (y / 1.05) ** 2, 0.0, 1.2) ** 2 * 0.26
    side = -LIGHT * light * x + 0.05 * y
    canvas.shade(picture, (edge + side - 0.04) * (inside / 255.0))


_GRID = canvas.grid()
