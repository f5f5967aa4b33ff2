"""A small canvas, the pens that draw on it, and the conversion to MNIST's form."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from digitjax.config import SIZE
from digitjax.pictures.ink import extract_ink
from digitjax.pictures.preprocess import draw_digit, find_digit
from digitjax.pictures.shapes import disk, ink_box

Canvas = UInt8[np.ndarray, "96 96"]
"""Light ink on a dark background, 0 to 255."""

SIDE = 96

# Drawings are about this many pixels high or wide; bending them needs a margin.
EXTENT = 64

# How far handwritten strokes, which vary by themselves, are shaken (see `bend_strokes`).
WRITTEN_SHAKE = 1.5

# The share of drawings that are photographed, and the least intersection over union of what is drawn and found.
PHOTOGRAPHED_SHARE, MIN_FOUND = 0.4, 0.6


# ---------------------------------------------------------------- drawing


def blank_canvas() -> Canvas:
    """Returns a canvas without ink."""
    return np.zeros((SIDE, SIDE), np.uint8)


def choose_pen(rng: np.random.Generator) -> int:
    """Returns a random pen width, distributed as MNIST's stroke widths are, so that it doesn't give digits away.

    These have a median of 2.5 pixels in the 20-pixel box; one in ten has 4 or more, one in fifty 5.
    """
    return int(np.clip(rng.lognormal(np.log(7.5), 0.42), 3, 18))


def draw_line(canvas: Canvas, points: Float[np.ndarray, "n 2"], pen: int) -> Canvas:
    """Joins points (x, y) with a line, precise to a sixteenth of a pixel."""
    return cv2.polylines(canvas, [np.rint(points * 16).astype(np.int32)], False, 255, pen, cv2.LINE_AA, 4)


def draw_strokes(rng: np.random.Generator, strokes: Sequence[Float[np.ndarray, "_ 2"]]) -> Canvas:
    """Draws lines through points (x, y), scaled to `EXTENT`."""
    been = np.concatenate(strokes)
    low, high = been.min(axis=0), been.max(axis=0)
    canvas, (width, height) = blank_canvas(), high - low
    pen = round(choose_pen(rng) * np.clip(height / max(width, 1e-6), 0.5, 1))  # wide drawings were written small
    for stroke in strokes:
        draw_line(canvas, (stroke - (low + high) / 2) * (EXTENT / (high - low).max()) + SIDE / 2, pen)
    return canvas


def round_corners(points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "m 2"]:
    """Rounds the corners of a line by cutting them three times (Chaikin 1974)."""
    for _ in range(3):
        cuts = np.stack([0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]], axis=1)
        points = np.concatenate([points[:1], cuts.reshape(-1, 2), points[-1:]])
    return points


def enlarge_ink(rng: np.random.Generator, image: UInt8[np.ndarray, "h w"], extent: int) -> UInt8[np.ndarray, "h2 w2"]:
    """Scales the longer side of the ink to `extent` pixels, and smooths its edges by a random amount."""
    left, top, right, bottom = ink_box(image > 0)
    scale = extent / max(right - left, bottom - top)
    large = cv2.resize(image[top:bottom, left:right], None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    if (smoothness := rng.uniform(0, 4)) < 1:
        return large
    blurred = cv2.GaussianBlur(np.pad(large, 4), (0, 0), smoothness)[4:-4, 4:-4]
    return _unless_lost(cv2.convertScaleAbs(np.maximum(blurred.astype(np.float32) - 85, 0), alpha=3), large)


def center_ink(ink: UInt8[np.ndarray, "h w"]) -> Canvas:
    """Puts ink in the middle of a canvas."""
    canvas, (height, width) = blank_canvas(), ink.shape
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    canvas[top : top + height, left : left + width] = ink
    return canvas


# ---------------------------------------------------------------- from a drawing to MNIST's form


def finish_drawing(rng: np.random.Generator, canvas: Canvas, shake: float = 5) -> UInt8[np.ndarray, "28 28"] | None:
    """Bends a drawing, sometimes photographs it, and brings it to MNIST's form; returns None if nothing is left."""
    ink = bend_strokes(rng, canvas, shake)
    mask = ink > 64
    if rng.random() < PHOTOGRAPHED_SHARE:
        found = _photograph(rng, ink)
        found_mask, wanted = find_digit(found), cv2.resize(ink, found.shape, interpolation=cv2.INTER_AREA) > 64
        # If the photo is too bad, what is found isn't what was drawn.
        if (found_mask & wanted).sum() > MIN_FOUND * (found_mask | wanted).sum():
            ink, mask = found, found_mask
    return draw_digit(ink, mask) if mask.any() else None


def stack_images(images: Sequence[UInt8[np.ndarray, "28 28"]]) -> UInt8[np.ndarray, "n 28 28 1"]:
    """Returns finished drawings as one array; there may be none."""
    return np.stack(images)[..., None] if images else np.zeros((0, SIZE, SIZE, 1), np.uint8)


def _photograph(rng: np.random.Generator, ink: Float32[np.ndarray, "96 96"]) -> Float32[np.ndarray, "side side"]:
    """Returns the ink that is found in a small photo, with uneven light, a fading pen, blur and noise."""
    side = int(rng.integers(36, SIDE + 1))
    light = rng.uniform(130, 250) + (_PLACES - SIDE / 2) @ rng.uniform(-0.6, 0.6, 2)
    pen = rng.uniform(0.3, 0.9) * cv2.resize(rng.uniform(rng.uniform(0.5, 1), 1, (5, 5)), (SIDE, SIDE))
    picture = cv2.resize(light * (1 - pen * ink / 255), (side, side), interpolation=cv2.INTER_AREA)
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.2, 1.2)) + rng.normal(0, rng.uniform(0, 5), (side, side))
    return extract_ink(picture.clip(0, 255).astype(np.float32), side / 3)


def bend_strokes(rng: np.random.Generator, canvas: Canvas, shake: float) -> Float32[np.ndarray, "96 96"]:
    """Bends strokes as a hand does: rotated, slanted, stretched, shaken; with a thinner or a thicker pen.

    Args:
      rng: Determines all of it.
      canvas: The drawing to bend.
      shake: The largest standard deviation, in pixels, of the shifts at the nodes of a grid of 4x4.
    """
    shaken = cv2.resize(rng.normal(0, rng.uniform(1, shake), (4, 4, 2)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    if (roughness := rng.uniform(-1, 1.5)) > 0:
        shaken += cv2.resize(rng.normal(0, roughness, (32, 32, 2)), (SIDE, SIDE))
    angle, slant, stretch = np.deg2rad(rng.uniform(-12, 12)), rng.uniform(-0.3, 0.3), rng.uniform(0.8, 1.2)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    places = (_PLACES - SIDE / 2) @ (rotation @ [[stretch, slant], [0, 1]]).T + SIDE / 2 + shaken
    bent = cv2.remap(canvas, places.astype(np.float32), None, cv2.INTER_LINEAR)
    change = int(rng.integers(-3, 3))
    if change > 0:
        bent = cv2.dilate(bent, disk(1 + change))
    elif change < 0:
        bent = _unless_lost(cv2.erode(bent, disk(1 - change)), bent)
    return bent.astype(np.float32)


def _unless_lost(changed: UInt8[np.ndarray, "h w"], ink: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Returns the changed ink, or the ink as it was if the change leaves only dots of thin strokes."""
    return changed if np.count_nonzero(changed > 127) > 0.5 * np.count_nonzero(ink > 127) else ink


_PLACES = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1)  # [y, x] -> (x, y)
