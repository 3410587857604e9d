"""A drawn face with natural skin, light and shadow, so that ordinary face detectors detect it."""

import cv2
import numpy as np

from merc.corpora.synthesis.picture import canvas, features
from merc.corpora.synthesis.picture.features import Expression
from merc.corpora.synthesis.plan.cast import Person

SHADOW_BLUR, LIGHT = 0.045, 0.16


class Face:
    """One person with one expression, drawn once except for the mouth and blinking."""

    def __init__(self, person: Person, expression: Expression, shirt, light: float) -> None:
        self.person, self.expression = person, expression
        self.still, self.mask = _still(person, expression, shirt, light)

    def picture(self, mouth: float, height: float, *, blink: bool = False) -> np.ndarray:
        """(h, w, 3) uint8 RGB with the face `height` pixels tall."""
        picture = self.still.copy()
        features.draw_mouth(picture, self.expression, self.person, mouth)
        if blink:
            features.draw_blink(picture, self.person)
        return _shrink(picture, height)

    def opacity(self, height: float) -> np.ndarray:
        """(h, w, 1) float32: 1 where the person hides the background."""
        return _shrink(self.mask, height)[..., None].astype(np.float32) / 255.0


def face_centre(height: float) -> tuple[float, float]:
    """Position x, y of the face's centre in a picture scaled down to this face height."""
    return canvas.CENTRE[0] * height / 2, canvas.CENTRE[1] * height / 2


def _shrink(picture: np.ndarray, height: float) -> np.ndarray:
    """Scale down so that the face is `height` pixels tall."""
    size = (round(canvas.WIDTH * height / 2), round(canvas.HEIGHT * height / 2))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _still(person: Person, expression: Expression, shirt, light: float) -> tuple[np.ndarray, np.ndarray]:
    """The face without its mouth, and the mask of the person."""
    picture = np.zeros((*canvas.SHAPE, 3), np.uint8)
    mask = np.zeros(canvas.SHAPE, np.uint8)
    features.draw_back_hair(picture, mask, person)
    features.draw_body(picture, mask, person, shirt)
    outline = features.head_outline(person)
    canvas.fill(picture, outline, person.skin)
    canvas.fill(mask, outline, 255)
    _shade_head(picture, outline, light)
    features.shade_face(picture, expression, person, SHADOW_BLUR)
    features.draw_nose(picture, person)
    features.draw_eyes(picture, expression, person)
    features.draw_front_hair(picture, mask, person)
    features.draw_brows(picture, expression, person)
    return picture, mask


def _shade_head(picture: np.ndarray, outline: np.ndarray, light: float) -> None:
    """Shade the flat outline to look like a head: light from one side, darker edges."""
    x, y = _GRID
    inside = np.zeros(canvas.SHAPE, np.uint8)
    canvas.fill(inside, outline, 255)
    edges = np.clip((x / 0.78) ** 2 + (y / 1.05) ** 2, 0.0, 1.2) ** 2 * 0.26
    side = -LIGHT * light * x + 0.05 * y
    canvas.shade(picture, (edges + side - 0.04) * (inside / 255.0))


_GRID = canvas.grid()
