"""Parts and expressions of a drawn face: x right, y down in halves of its height, 0 between nose and eyes."""

from dataclasses import dataclass

import numpy as np

from merc.corpora.synthesis.picture import canvas
from merc.corpora.synthesis.plan.cast import Colour, Person
from merc.corpora.synthesis.plan.randomness import clipped_normal

EYE_X, EYE_Y, EYE_WIDTH, EYE_HEIGHT = 0.32, -0.14, 0.165, 0.125
BROW_Y, MOUTH_Y = -0.37, 0.60
WHITE, DARK, INSIDE, TEETH = (238, 234, 230), (34, 24, 22), (70, 22, 24), (240, 236, 226)
MOUTH_HEIGHT = 0.34  # height of the mouth at the widest opening


@dataclass(frozen=True)
class Expression:
    """A facial expression; lengths in units of half a face's height, openings of mouth and lids from 0 to 1."""

    brow_inner: float = 0.0  # raised by this much at the nose
    brow_outer: float = 0.0  # and at the temples
    brow_close: float = 0.0  # moved towards the nose
    lids: float = 0.55  # opening of the eyes
    lower_lids: float = 0.0  # pushed up
    corners: float = 0.02  # of the mouth, raised
    mouth: float = 0.30  # half of its width
    opening: float = 0.0
    teeth: float = 0.0
    upper_lip: float = 0.0  # raised, more on one side
    wrinkle: float = 0.0  # darkness of the folds of nose and forehead
    cheeks: float = 0.0  # raised and coloured


EXPRESSIONS = {
    "neutral": Expression(),
    "joy": Expression(0.02, 0.03, 0, 0.45, 0.10, 0.17, 0.40, 0.22, 1.0, 0, 0, 1.0),
    "surprise": Expression(0.17, 0.17, 0, 1.0, 0, -0.02, 0.19, 0.60, 0, 0, 0.5, 0),
    "anger": Expression(-0.13, 0.05, 0.05, 0.50, 0.05, -0.07, 0.26, 0.0, 0, 0, 0.9, 0),
    "sadness": Expression(0.13, -0.07, 0.03, 0.34, 0, -0.15, 0.27, 0.0, 0, 0, 0.4, 0),
    "disgust": Expression(-0.08, -0.05, 0.02, 0.30, 0.12, -0.08, 0.29, 0.10, 0.7, 0.10, 1.0, 0.6),
    "fear": Expression(0.16, 0.07, 0.05, 0.90, 0, -0.10, 0.38, 0.20, 0.8, 0, 0.6, 0),
}


def draw_expression(emotion: str, random: np.random.Generator) -> Expression:
    """Draw the expression of an emotion, with random strength and variation."""
    rest, full, strength = EXPRESSIONS["neutral"], EXPRESSIONS[emotion], random.uniform(0.65, 1.1)
    mixed = {name: value + strength * (getattr(full, name) - value) for name, value in vars(rest).items()}
    for name, spread in (("brow_inner", 0.012), ("brow_outer", 0.012), ("lids", 0.05), ("corners", 0.015)):
        mixed[name] += clipped_normal(random, spread)
    return Expression(**mixed)


def tint(colour: Colour, factor: float, red: float = 1.0) -> Colour:
    """Scale a colour: darker or lighter, redder or paler."""
    scaled = (colour[0] * factor, colour[1] * factor / red, colour[2] * factor / red)
    r, g, b = (int(min(max(channel, 0), 255)) for channel in scaled)
    return r, g, b


def head_outline(person: Person) -> np.ndarray:
    """(n, 2) outline: a skull above, a narrower jaw below."""
    points = canvas.oval((0.0, 0.0), 0.74 * person.width, 1.0, 80)
    jaw = np.clip(points[:, 1], 0.0, 1.0)
    points[:, 0] *= 1.0 - 0.12 * jaw**2
    return points


def draw_body(picture: np.ndarray, mask: np.ndarray, person: Person, shirt: Colour) -> None:
    """Draw shoulders, and a neck in the chin's shadow."""
    torso = [(-1.35, 2.15), (1.35, 2.15), (1.42, 3.0), (-1.42, 3.0)]
    for layer, colour in ((picture, shirt), (mask, 255)):
        canvas.fill(layer, canvas.oval((0.0, 2.15), 1.35, 0.85), colour)
        canvas.fill(layer, torso, colour)
    neck = [(-0.34, 0.6), (0.34, 0.6), (0.42, 1.42), (0.0, 1.66), (-0.42, 1.42)]
    canvas.fill(picture, neck, tint(person.skin, 0.74))
    canvas.fill(mask, neck, 255)


def draw_back_hair(picture: np.ndarray, mask: np.ndarray, person: Person) -> None:
    """Draw the hair visible beside and above the head."""
    width = 0.84 * person.width
    shapes = {
        "short": [canvas.oval((0.0, -0.22), width, 0.93)],
        "fringe": [canvas.oval((0.0, -0.15), width + 0.04, 0.98)],
        "bun": [canvas.oval((0.0, -0.18), width, 0.96), canvas.oval((0.0, -1.12), 0.33, 0.27)],
        "long": [canvas.oval((0.0, -0.1), width + 0.08, 1.04), canvas.oval((0.0, 0.75), width + 0.04, 0.85)],
    }
    for shape in shapes[person.style]:
        canvas.fill(picture, shape, tint(person.hair, 0.8))
        canvas.fill(mask, shape, 255)


def draw_front_hair(picture: np.ndarray, mask: np.ndarray, person: Person) -> None:
    """Draw the hairline over the forehead."""
    width = 0.80 * person.width
    depth = {"short": 0.06, "fringe": 0.16, "bun": 0.02, "long": 0.08}[person.style]
    x = np.linspace(-1.0, 1.0, 30)
    line = np.stack([x * width, -0.72 + depth - 0.10 * (1 - x**2) + 0.55 * np.abs(x) ** 6], axis=1)
    crown = np.stack([x[::-1] * width, -0.1 - 0.98 * np.sqrt(np.clip(1.02 - x**2, 0, 1))], axis=1)
    canvas.fill(picture, np.concatenate([line, crown]), person.hair)
    canvas.fill(mask, np.concatenate([line, crown]), 255)
    canvas.stroke(picture, crown[6:16] + np.array([0.0, 0.13]), tint(person.hair, 1.35), 0.05)


def shade_face(picture: np.ndarray, expression: Expression, person: Person, blur: float) -> None:
    """Shade eye sockets, the sides of the nose, folds, the chin and the cheeks."""
    dark = np.zeros(canvas.SHAPE, np.float32)
    for side in (-1, 1):
        canvas.fill(dark, canvas.oval((side * EYE_X * person.eyes, EYE_Y - 0.06), 0.23, 0.17), 0.30)
        canvas.stroke(dark, [(side * 0.09, -0.18), (side * 0.10, 0.12), (side * 0.15, 0.24)], 0.20, 0.07)
        fold = [(side * 0.19, 0.22), (side * (0.33 + 0.06 * expression.cheeks), 0.46)]
        canvas.stroke(dark, fold, 0.12 + 0.22 * max(expression.cheeks, expression.wrinkle * 0.5), 0.05)
        canvas.stroke(dark, [(side * 0.05, -0.42), (side * 0.06, -0.26)], 0.45 * expression.wrinkle, 0.035)
    canvas.fill(dark, canvas.oval((0.0, MOUTH_Y + 0.20), 0.17, 0.05), 0.22)
    canvas.fill(dark, canvas.oval((0.0, 0.31 * person.nose), 0.17, 0.05), 0.25)
    if person.beard:
        canvas.fill(dark, canvas.oval((0.0, 0.74), 0.50, 0.30), 0.45 * person.beard)
    light = np.zeros(canvas.SHAPE, np.float32)
    canvas.stroke(light, [(0.0, -0.2), (0.0, 0.16)], 0.16, 0.08)
    for side in (-1, 1):
        canvas.fill(light, canvas.oval((side * 0.42, 0.20 - 0.05 * expression.cheeks), 0.17, 0.12), 0.10)
    canvas.fill(light, canvas.oval((0.0, -0.52), 0.40, 0.14), 0.08)
    canvas.shade(picture, canvas.blurred(dark - light, blur))


def draw_nose(picture: np.ndarray, person: Person) -> None:
    """Draw the nostrils and the line of the tip."""
    y = 0.25 * person.nose
    for side in (-1, 1):
        canvas.fill(picture, canvas.oval((side * 0.075, y + 0.015), 0.045, 0.026), tint(person.skin, 0.42))
    wing = [(-0.15, y - 0.05), (-0.13, y + 0.03), (0.0, y + 0.06), (0.13, y + 0.03), (0.15, y - 0.05)]
    canvas.stroke(picture, wing, tint(person.skin, 0.68), 0.025)


def draw_eyes(picture: np.ndarray, expression: Expression, person: Person) -> None:
    """Draw white, iris, pupil and lids, open as far as the expression says."""
    for side in (-1, 1):
        x = side * EYE_X * person.eyes
        upper, lower = _lids(x, expression.lids, expression.lower_lids)
        opening = np.zeros(canvas.SHAPE, np.uint8)
        canvas.fill(opening, np.concatenate([upper, lower[::-1]]), 255)
        ball = picture.copy()
        canvas.fill(ball, canvas.oval((x, EYE_Y), 0.25, 0.25), WHITE)
        canvas.fill(ball, canvas.oval((x, EYE_Y), 0.088, 0.088), tint(person.hair, 0.9))
        canvas.fill(ball, canvas.oval((x, EYE_Y), 0.045, 0.045), DARK)
        canvas.fill(ball, canvas.oval((x - 0.025, EYE_Y - 0.03), 0.016, 0.016, 12), WHITE)
        np.copyto(picture, ball, where=opening[..., None] > 127)
        canvas.stroke(picture, upper, DARK, 0.034)
        canvas.stroke(picture, lower, tint(person.skin, 0.58), 0.014)


def _lids(x: float, upper: float, lower: float) -> tuple[np.ndarray, np.ndarray]:
    """Edges of the upper and the lower lid of an eye centred at x."""
    across = np.linspace(-1.0, 1.0, 17)
    arc = 1.0 - across**2
    top = EYE_Y + 0.02 - EYE_HEIGHT * (0.25 + 1.05 * upper) * arc
    bottom = EYE_Y + 0.02 + (EYE_HEIGHT * 0.62 - lower * 0.6) * arc
    columns = x + across * EYE_WIDTH
    return np.stack([columns, top], 1), np.stack([columns, np.maximum(bottom, top)], 1)


def draw_blink(picture: np.ndarray, person: Person) -> None:
    """Draw the lids shut over the eyes."""
    for side in (-1, 1):
        x = side * EYE_X * person.eyes
        canvas.fill(picture, canvas.oval((x, EYE_Y), EYE_WIDTH + 0.01, 0.15), tint(person.skin, 0.82))
        line, _ = _lids(x, -0.8, 0.0)
        canvas.stroke(picture, line, DARK, 0.03)


def draw_brows(picture: np.ndarray, expression: Expression, person: Person) -> None:
    """Draw the brows, arcs whose ends move independently."""
    along = np.linspace(0.0, 1.0, 9)  # from the nose to the temple
    x = 0.13 - expression.brow_close + along * 0.40
    lift = expression.brow_inner * (1 - along) + expression.brow_outer * along
    y = BROW_Y - lift - 0.055 * np.sin(np.pi * along)
    for side in (-1, 1):
        line = np.stack([side * x * person.eyes, y], axis=1)
        canvas.stroke(picture, line, tint(person.hair, 0.75), 0.055 * person.brows)
        canvas.stroke(picture, line[:6], tint(person.hair, 0.7), 0.072 * person.brows)


def draw_mouth(picture: np.ndarray, expression: Expression, person: Person, speaking: float) -> None:
    """Draw lips, mouth cavity and teeth; speech opens the mouth further than the expression."""
    columns, top, bottom, thickness = _lips(expression, speaking)
    lips = tint(person.skin, 0.74, red=1.35)
    canvas.fill(picture, _between(columns, top - thickness, bottom + 1.3 * thickness), lips)
    canvas.fill(picture, _between(columns, top, bottom), INSIDE)
    inner = slice(3, -3)
    bite = np.minimum(bottom - top, 0.03 + 0.09 * expression.teeth)[inner]
    canvas.fill(picture, _between(columns[inner], top[inner], top[inner] + bite), TEETH)
    canvas.stroke(picture, np.stack([columns, top], 1), tint(lips, 0.5), 0.02)


def _lips(expression: Expression, speaking: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x of the columns, the lips' inner edges (upper, lower) in them, and the lips' thickness."""
    opening = expression.opening + (1.0 - 0.5 * expression.opening) * 0.75 * speaking
    x = np.linspace(-1.0, 1.0, 21)
    half = expression.mouth * (1.0 - 0.18 * speaking * (expression.opening < 0.4))
    middle = MOUTH_Y - expression.corners * (x**2 * 1.4 - 0.4)
    gap = MOUTH_HEIGHT * opening * np.sqrt(np.clip(1 - x**2, 0, 1))
    sneer = expression.upper_lip * np.clip(1 - (x - 0.3) ** 2 * 2.0, 0, 1)
    thickness = (0.050 + 0.012 * np.cos(3 * np.pi * x)) * (1 - x**2)
    return x * half, middle - 0.35 * gap - sneer, middle + 0.65 * gap, thickness


def _between(columns: np.ndarray, upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Outline of the area between two edges."""
    return np.concatenate([np.stack([columns, upper], 1), np.stack([columns, lower], 1)[::-1]])
