"""Adds what paper and cuts leave around a character, digit or not: a rule, a speck, a patch of other paper."""

import cv2
import numpy as np

from digitjax.drawing.canvas import SIDE, Canvas
from digitjax.pictures.shapes import Box, ink_box

# The shares of characters on a rule, beside a speck, and on a patch.
RULE_SHARE, SPECK_SHARE, PATCH_SHARE = 0.25, 0.06, 0.03


def add_paper(rng: np.random.Generator, canvas: Canvas, text: str) -> None:
    """Adds to a character what worse paper would have added; most stay as they are."""
    box = ink_box(canvas > 0)
    if rng.random() < RULE_SHARE:
        _add_rule(rng, canvas, box, is_below=text == "1")  # elsewhere it would turn a 1 into a T or a t
    if rng.random() < SPECK_SHARE:
        _add_speck(rng, canvas, box)
    if rng.random() < PATCH_SHARE:
        _add_patch(rng, canvas, box)


def _add_rule(rng: np.random.Generator, canvas: Canvas, box: Box, *, is_below: bool) -> None:
    """Draws a rule, mostly under the character, otherwise above it or through it; sometimes a double one."""
    left, top, right, bottom = box
    low, high = (bottom - 6, bottom + 10) if is_below or rng.random() < 0.75 else (top - 4, bottom)
    y, light, width = int(rng.integers(low, high)), int(rng.integers(80, 256)), int(rng.choice([1, 2, 3, 4, 6, 8]))
    (before, after), tilt = rng.integers(-12, 18, 2), rng.normal(0, 2)
    for _ in range(rng.choice([1, 2], p=(0.8, 0.2))):
        ends = (int(left - before), round(y - tilt)), (int(right + after), round(y + tilt))
        cv2.line(canvas, *ends, light, width, cv2.LINE_AA)
        y += width + int(rng.integers(2, 6))


def _add_speck(rng: np.random.Generator, canvas: Canvas, box: Box) -> None:
    """Draws the remains of something else: a dot at the foot, or a block beside the character or at its corner."""
    left, top, right, bottom = box
    is_right, away, size = rng.random() < 0.6, int(rng.integers(2, 10)), int(rng.integers(2, 6))
    x = right + away if is_right else left - away
    if rng.random() < 0.5:
        cv2.circle(canvas, (x, bottom - int(rng.integers(-2, 10))), size, 255, -1, cv2.LINE_AA)
    else:
        y, (wide, high) = int(rng.integers(top, bottom)), rng.integers(2, 9, 2).tolist()
        cv2.rectangle(canvas, (x - wide, y - high), (x + wide, y + high), int(rng.integers(150, 256)), -1)


def _add_patch(rng: np.random.Generator, canvas: Canvas, box: Box) -> None:
    """Lays a darker patch of paper under the character."""
    left, top, right, bottom = box
    margins = rng.integers(-4, 14, 4).tolist()
    corners = (left - margins[0], top - margins[1]), (right + margins[2], bottom + margins[3])
    patch = cv2.rectangle(np.zeros((SIDE, SIDE), np.uint8), *corners, int(rng.integers(60, 140)), -1)
    np.maximum(canvas, patch, out=canvas)
