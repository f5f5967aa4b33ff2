"""Styles of digits that MNIST's writers hardly ever used, and much of the world does.

Some are drawn whole: 1s with an upstroke, 4s in one stroke, 7s with a bar, 8s of two rings, 9s on a stem. Others are a
stroke more on a digit that somebody wrote: a slash or a dot in a 0, a foot under a 1, a bar through a 7.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from digitjax.drawing.canvas import Canvas, draw_line, round_corners
from digitjax.pictures.shapes import Box, find_runs, ink_box, measure_stroke_width

Strokes = list[Float[np.ndarray, "n 2"]]
"""What a pen does, one after the other: places (x, y), y downwards; the digit is about 1 high."""

# ---------------------------------------------------------------- drawn whole


def shape_one(rng: np.random.Generator) -> Strokes:
    """A 1 whose upstroke rises steeply, where the top of a 7 lies; as long as its stem, it comes out like a Λ."""
    rise, length = np.deg2rad(rng.uniform(32, 70)), rng.uniform(0.2, 0.55)
    if rng.random() < 0.3:
        rise, length = np.deg2rad(rng.uniform(50, 78)), rng.uniform(0.55, 1)
    top, foot = np.zeros(2), np.array([rng.uniform(-0.1, 0.1), 1])
    strokes = [np.stack([top + length * np.array([-np.cos(rise), np.sin(rise)]), top, foot])]
    if rng.random() < 0.3:
        half = np.array([rng.uniform(0.12, 0.35), rng.uniform(-0.05, 0.05)])
        strokes.append(np.stack([foot - half, foot + half]))
    return strokes


def shape_seven(rng: np.random.Generator) -> Strokes:
    """A 7 with a top that lies, and often with a bar through its stem."""
    corner, foot = np.zeros(2), np.array([-rng.uniform(0, 0.5), 1])
    tilt, length = np.deg2rad(rng.uniform(-10, 10)), rng.uniform(0.4, 0.8)
    left = length * np.array([-np.cos(tilt), np.sin(tilt)])
    hook = [left + np.array([rng.uniform(-0.03, 0.03), rng.uniform(0.06, 0.2)])] if rng.random() < 0.3 else []
    strokes = [np.stack([*hook, left, corner, foot])]
    if rng.random() < 0.6:
        middle, half = foot * rng.uniform(0.4, 0.6), np.array([rng.uniform(0.12, 0.3), rng.uniform(-0.06, 0.06)])
        strokes.append(np.stack([middle - half, middle + half]))
    return strokes


def shape_four(rng: np.random.Generator) -> Strokes:
    """A 4 in one stroke: down, to the right, up to a tip and down again; with round corners it comes out like a φ."""
    elbow, tip = np.array([rng.uniform(0, 0.2), rng.uniform(0.5, 0.75)]), np.array([rng.uniform(0.55, 0.85), 0])
    start = np.array([elbow[0] + rng.uniform(-0.15, 0.1), rng.uniform(0, 0.35)])
    turn = np.array([rng.uniform(0.8, 1.1), elbow[1] + rng.uniform(-0.15, 0.1)])
    foot = np.array([tip[0] + rng.uniform(-0.2, 0.1), 1])
    way = np.stack([start, elbow, turn, tip, foot]) + rng.normal(0, 0.02, (5, 2))
    return [round_corners(way) if rng.random() < 0.6 else way]


def shape_eight(rng: np.random.Generator) -> Strokes:
    """An 8 of two rings, which touch, overlap or stand a little apart."""
    widths, heights = rng.uniform(0.3, 0.6, 2), rng.uniform(0.4, 0.55, 2)
    gap, shift = rng.uniform(-0.1, 0.15), rng.normal(0, 0.04)
    upper = _ring(rng, np.array([0, heights[0] / 2]), widths[0], heights[0])
    lower = _ring(rng, np.array([shift, heights[0] + gap + heights[1] / 2]), widths[1], heights[1])
    return [upper, lower]


def shape_nine(rng: np.random.Generator) -> Strokes:
    """A 9 with a ring, often a small one, on a straight stem that begins at its side or under it."""
    size = rng.uniform(0.2, 0.5)
    ring = _ring(rng, np.array([0, size / 2]), size * rng.uniform(0.7, 1.1), size)
    top = ring[np.argmin(abs(ring - [size * rng.uniform(0, 0.5), size * rng.uniform(0.3, 1)]).sum(axis=1))]
    return [ring, np.stack([top, np.array([top[0] + rng.uniform(-0.15, 0.1), 1])])]


def _ring(
    rng: np.random.Generator, center: Float[np.ndarray, "2"], width: float, height: float
) -> Float[np.ndarray, "32 2"]:
    """A ring that begins anywhere and may not quite close, or closes twice."""
    angles = rng.uniform(0, 2 * np.pi) + np.linspace(0, 2 * np.pi + rng.normal(0, 0.2), 32)
    return center + np.stack([width / 2 * np.cos(angles), height / 2 * np.sin(angles)], axis=1)


STYLES: dict[int, Callable[[np.random.Generator], Strokes]] = {
    1: shape_one,
    4: shape_four,
    7: shape_seven,
    8: shape_eight,
    9: shape_nine,
}


# ---------------------------------------------------------------- a stroke more

# How many digits get one, where their class has a style with one.
STYLE_SHARE = 0.3


def add_style(rng: np.random.Generator, canvas: Canvas, text: str) -> None:
    """Draws onto a digit what other hands would have added; most digits, and all non-digits, stay as they are."""
    add = {"0": _slash_zero, "1": _add_foot, "7": _bar_seven}.get(text)
    if add and rng.random() < STYLE_SHARE:
        add(rng, canvas, ink_box(canvas > 0))


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
