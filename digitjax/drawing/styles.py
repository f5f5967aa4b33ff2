"""What hands and paper add to a character: a slash in a zero, a foot under a 1, a rule, a speck, a patch of paper."""

import cv2
import numpy as np
from jaxtyping import Float

from digitjax.drawing.canvas import SIDE, Canvas, draw_line
from digitjax.pictures.shapes import Box, find_runs, ink_box, measure_stroke_width

# How many digits get a stroke more, where their class has a style with one.
STYLE_SHARE = 0.2

# How many characters, digits or not, stand on a rule, beside a speck, on a patch of another paper.
RULE_SHARE, SPECK_SHARE, PATCH_SHARE = 0.25, 0.06, 0.03


def vary_character(rng: np.random.Generator, canvas: Canvas, text: str) -> None:
    """Draws onto a character what other hands and worse paper would have added; most stay as they are."""
    box = ink_box(canvas > 0)
    if rng.random() < STYLE_SHARE:
        match text:
            case "0":
                _slash_zero(rng, canvas, box)
            case "1":
                _add_foot(rng, canvas, box)
            case "7":
                _bar_seven(rng, canvas, box)
    if rng.random() < RULE_SHARE:
        _add_rule(rng, canvas, box, is_below=text == "1")  # elsewhere it would make a T or a t of a 1
    if rng.random() < SPECK_SHARE:
        _add_speck(rng, canvas, box)
    if rng.random() < PATCH_SHARE:
        _add_patch(rng, canvas, box)


# ---------------------------------------------------------------- a stroke more


def _slash_zero(rng: np.random.Generator, canvas: Canvas, box: Box) -> None:
    """A slash, seldom a backslash, that ends within the ring or goes far beyond it; or a dot."""
    left, top, right, bottom = box
    center, size = np.array([left + right, top + bottom]) / 2 + rng.normal(0, 2, 2), max(right - left, bottom - top)
    if rng.random() < 0.2:
        _draw(rng, canvas, center, rng.uniform(-0.04, 0.04, 2) * size)
        return
    angle = np.deg2rad(rng.uniform(35, 95))  # from the right upwards
    half = size * rng.uniform(0.3, 0.9) * np.array([np.cos(angle), -np.sin(angle)])
    _draw(rng, canvas, center, half * [-1 if rng.random() < 0.12 else 1, 1])


def _add_foot(rng: np.random.Generator, canvas: Canvas, box: Box) -> None:
    _, top, _, bottom = box
    foot = np.array([np.flatnonzero(canvas[bottom - 1]).mean(), bottom - 1])
    _draw(rng, canvas, foot, rng.uniform([0.12, -0.05], [0.35, 0.05]) * (bottom - top))


def _bar_seven(rng: np.random.Generator, canvas: Canvas, box: Box) -> None:
    _, top, _, bottom = box
    y = top + int(rng.uniform(0.4, 0.65) * (bottom - top))
    if runs := find_runs(canvas[y] > 127):
        _draw(rng, canvas, np.array([np.mean(runs[-1]), y]), rng.uniform([0.12, -0.08], [0.3, 0.08]) * (bottom - top))


def _draw(
    rng: np.random.Generator, canvas: Canvas, center: Float[np.ndarray, "2"], half: Float[np.ndarray, "2"]
) -> None:
    """Draws a line with the pen that drew the character, more or less."""
    pen = max(2, round(measure_stroke_width(canvas > 127) * rng.uniform(0.7, 1.1)))
    draw_line(canvas, np.stack([center - half, center + half]), pen)


# ---------------------------------------------------------------- what the paper adds


def _add_rule(rng: np.random.Generator, canvas: Canvas, box: Box, *, is_below: bool) -> None:
    """Draws a rule, mostly where the character stands on it, else above it or through it; now and then a double one."""
    left, top, right, bottom = box
    low, high = (bottom - 6, bottom + 10) if is_below or rng.random() < 0.75 else (top - 4, bottom)
    y, light, width = int(rng.integers(low, high)), int(rng.integers(80, 256)), int(rng.choice([1, 2, 3, 4, 6, 8]))
    (before, after), tilt = rng.integers(-12, 18, 2), rng.normal(0, 2)
    for _ in range(rng.choice([1, 2], p=(0.8, 0.2))):
        ends = (int(left - before), round(y - tilt)), (int(right + after), round(y + tilt))
        cv2.line(canvas, *ends, light, width, cv2.LINE_AA)
        y += width + int(rng.integers(2, 6))


def _add_speck(rng: np.random.Generator, canvas: Canvas, box: Box) -> None:
    """Draws what is left of something else: a dot at the foot, or a block beside the character or at its corner."""
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
