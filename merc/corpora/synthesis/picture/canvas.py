"""Drawing primitives in face coordinates, on an oversized picture that is scaled down afterwards."""

import cv2
import numpy as np

UNIT = 84  # pixels per unit of the oversized picture; a unit is half a face's height
WIDTH, HEIGHT = 3.2, 4.2  # of the oversized picture, in units
CENTRE = (WIDTH / 2, 1.5)  # position of the face's centre, in units
SHAPE = (int(HEIGHT * UNIT), int(WIDTH * UNIT))
SHIFT = 4  # fractional bits of OpenCV's fixed-point coordinates


def pixels(points) -> np.ndarray:
    """Convert face coordinates (n, 2) to OpenCV's fixed-point pixels."""
    return np.round((np.asarray(points) + CENTRE) * UNIT * (1 << SHIFT)).astype(np.int32)


def fill(picture: np.ndarray, points, colour) -> None:
    """Fill a polygon given in face coordinates."""
    cv2.fillPoly(picture, [pixels(points)], colour, cv2.LINE_AA, SHIFT)


def stroke(picture: np.ndarray, points, colour, thickness: float) -> None:
    """Draw an open line given in face coordinates."""
    width = max(1, round(thickness * UNIT))
    cv2.polylines(picture, [pixels(points)], False, colour, width, cv2.LINE_AA, SHIFT)


def oval(centre: tuple[float, float], width: float, height: float, count: int = 40) -> np.ndarray:
    """(count, 2) points of an ellipse; width and height are its radii."""
    angle = np.linspace(0.0, 2 * np.pi, count, endpoint=False)
    return np.stack([centre[0] + width * np.cos(angle), centre[1] + height * np.sin(angle)], axis=1)


def blurred(layer: np.ndarray, radius: float) -> np.ndarray:
    """Blur a layer; the radius is in units."""
    return cv2.GaussianBlur(layer, (0, 0), radius * UNIT)


def grid() -> tuple[np.ndarray, np.ndarray]:
    """Face coordinates of every pixel: x (h, w) and y (h, w)."""
    rows, columns = np.indices(SHAPE, dtype=np.float32)
    return columns / UNIT - CENTRE[0], rows / UNIT - CENTRE[1]


def shade(picture: np.ndarray, darkness: np.ndarray) -> None:
    """Darken a picture in place by a (h, w) fraction from 0 to 1 (below 0: lighten)."""
    np.copyto(picture, np.clip(picture * (1.0 - darkness[..., None]), 0, 255).astype(np.uint8))
