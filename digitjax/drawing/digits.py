"""Digits drawn for training: in styles of much of the world, and as pictures show them."""

from collections.abc import Callable, Sequence
from functools import partial

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from digitjax.data.arrays import Character, Dataset
from digitjax.drawing.canvas import (
    EXTENT,
    SIDE,
    WRITTEN_SHAKE,
    Canvas,
    center_ink,
    draw_line,
    draw_strokes,
    enlarge_ink,
    finish_drawing,
    round_corners,
    stack_images,
)
from digitjax.drawing.characters import draw_character
from digitjax.drawing.hands import draw_hand
from digitjax.drawing.styles import vary_character
from digitjax.pictures.shapes import Box, ink_box

# How many redrawn digits hold something that isn't theirs or lack something, and how much ink of a neighbour's at most.
NEIGHBOUR_SHARE, LINK_SHARE, TRIMMED_SHARE = 0.2, 0.2, 0.15
MAX_NEIGHBOUR = 0.25


# ---------------------------------------------------------------- styles


def draw_styles(rng: np.random.Generator, n: int) -> Dataset:
    """Draws digits in styles of much of the world, as many of each.

    1s with an upstroke, with and without a foot; 4s in one stroke, which come out like a φ or an LA; 7s with and
    without a bar; 8s of two rings; 9s with a small ring on a straight stem.
    """
    labels = np.array([1, 7, 4, 1, 7, 8, 1, 7, 9], np.int32)[np.arange(n) % 9]
    images = [_finish_one(rng, STYLES[int(label)], shake=2) for label in labels]
    return Dataset(stack_images(images), labels)


def draw_one(rng: np.random.Generator) -> Canvas:
    """A 1 whose upstroke rises steeply, where the top of a 7 lies."""
    rise, length = np.deg2rad(rng.uniform(32, 70)), rng.uniform(0.2, 0.55)
    top, foot = np.zeros(2), np.array([rng.uniform(-0.1, 0.1), 1])
    strokes = [np.stack([top + length * np.array([-np.cos(rise), np.sin(rise)]), top, foot])]
    if rng.random() < 0.3:
        half = np.array([rng.uniform(0.12, 0.35), rng.uniform(-0.05, 0.05)])
        strokes.append(np.stack([foot - half, foot + half]))
    return draw_strokes(rng, strokes)


def draw_seven(rng: np.random.Generator) -> Canvas:
    """A 7 with a top that lies, and often with a bar through its stem."""
    corner, foot = np.zeros(2), np.array([-rng.uniform(0, 0.5), 1])
    tilt, length = np.deg2rad(rng.uniform(-10, 10)), rng.uniform(0.4, 0.8)
    left = length * np.array([-np.cos(tilt), np.sin(tilt)])
    hook = [left + np.array([rng.uniform(-0.03, 0.03), rng.uniform(0.06, 0.2)])] if rng.random() < 0.3 else []
    strokes = [np.stack([*hook, left, corner, foot])]
    if rng.random() < 0.6:
        middle, half = foot * rng.uniform(0.4, 0.6), np.array([rng.uniform(0.12, 0.3), rng.uniform(-0.06, 0.06)])
        strokes.append(np.stack([middle - half, middle + half]))
    return draw_strokes(rng, strokes)


def draw_four(rng: np.random.Generator) -> Canvas:
    """A 4 in one stroke: down, to the right, up to a tip and down again; with round corners it comes out like a φ."""
    elbow, tip = np.array([rng.uniform(0, 0.2), rng.uniform(0.5, 0.75)]), np.array([rng.uniform(0.55, 0.85), 0])
    start = np.array([elbow[0] + rng.uniform(-0.15, 0.1), rng.uniform(0, 0.35)])
    turn = np.array([rng.uniform(0.8, 1.1), elbow[1] + rng.uniform(-0.15, 0.1)])
    foot = np.array([tip[0] + rng.uniform(-0.2, 0.1), 1])
    way = np.stack([start, elbow, turn, tip, foot]) + rng.normal(0, 0.02, (5, 2))
    return draw_strokes(rng, [round_corners(way) if rng.random() < 0.6 else way])


def draw_eight(rng: np.random.Generator) -> Canvas:
    """An 8 of two rings, which touch, overlap or stand a little apart."""
    widths, heights = rng.uniform(0.3, 0.6, 2), rng.uniform(0.4, 0.55, 2)
    gap, shift = rng.uniform(-0.1, 0.08), rng.normal(0, 0.04)
    upper = _ring(rng, np.array([0, heights[0] / 2]), widths[0], heights[0])
    lower = _ring(rng, np.array([shift, heights[0] + gap + heights[1] / 2]), widths[1], heights[1])
    return draw_strokes(rng, [upper, lower])


def draw_nine(rng: np.random.Generator) -> Canvas:
    """A 9 with a ring, often a small one, on a straight stem that begins at its side or under it."""
    size = rng.uniform(0.2, 0.5)
    ring = _ring(rng, np.array([0, size / 2]), size * rng.uniform(0.7, 1.1), size)
    top = ring[np.argmin(abs(ring - [size * rng.uniform(0, 0.5), size * rng.uniform(0.3, 1)]).sum(axis=1))]
    return draw_strokes(rng, [ring, np.stack([top, np.array([top[0] + rng.uniform(-0.15, 0.1), 1])])])


def _ring(
    rng: np.random.Generator, center: Float[np.ndarray, "2"], width: float, height: float
) -> Float[np.ndarray, "32 2"]:
    """A ring that begins anywhere and may not quite close, or closes twice."""
    angles = rng.uniform(0, 2 * np.pi) + np.linspace(0, 2 * np.pi + rng.normal(0, 0.2), 32)
    return center + np.stack([width / 2 * np.cos(angles), height / 2 * np.sin(angles)], axis=1)


STYLES: dict[int, Callable[[np.random.Generator], Canvas]] = {
    1: draw_one,
    4: draw_four,
    7: draw_seven,
    8: draw_eight,
    9: draw_nine,
}


# ---------------------------------------------------------------- digits as pictures show them


def redraw_digits(rng: np.random.Generator, n: int, digits: Dataset, written: Sequence[Character] = ()) -> Dataset:
    """Draws digits anew, as what is no digit is drawn: or these could be told by their edges, which aren't MNIST's.

    Every tenth is of a font, for some letters are. Of the others, three in four are by the other hands, where there are
    any; the rest are the data's own, with what is left where a digit is found among others or on ruled paper: a
    neighbour's stroke, a piece of a rule, a side that is cut too short.

    Args:
      rng: Decides all of them.
      n: How many.
      digits: The data's own.
      written: Digits by other hands.
    """
    labels, images = np.zeros(n, np.int32), []
    for i in range(n):
        if i % 10 == 0:
            labels[i] = i // 10 % 10
            images.append(_finish_one(rng, partial(draw_character, characters=str(labels[i])), shake=2))
        elif written and rng.random() < 0.75:
            digit = written[int(rng.integers(len(written)))]
            labels[i] = int(digit.text)
            images.append(_finish_one(rng, partial(draw_hand, character=digit), shake=WRITTEN_SHAKE))
        else:
            k = int(rng.integers(len(digits.labels)))
            labels[i] = digits.labels[k]
            images.append(_finish_one(rng, partial(cut_out, digits=digits, k=k), shake=2))
    return Dataset(stack_images(images), labels)


def cut_out(rng: np.random.Generator, digits: Dataset, k: int) -> Canvas:
    """A digit, enlarged, as it is found in a number; the others are its neighbours.

    In a number digits are written narrower or wider, above all zeros, and linked; and they aren't found without errors.
    """
    ink = enlarge_ink(rng, digits.images[k, ..., 0], EXTENT - 8)
    stretch = rng.uniform(0.75, 1.8 if digits.labels[k] == 0 else 1.25)
    scale = min(1.0, (EXTENT - 8) / (stretch * ink.shape[1]))
    ink = cv2.resize(ink, None, fx=scale * stretch, fy=scale, interpolation=cv2.INTER_AREA)
    width = ink.shape[1]
    if rng.random() < TRIMMED_SHARE:
        left, right = rng.uniform(0, 0.12, 2) * width
        ink = ink[:, round(left) : width - round(right)]
    canvas = center_ink(ink)
    box = ink_box(canvas > 0)
    if rng.random() < NEIGHBOUR_SHARE:
        _add_neighbour(rng, canvas, box, digits.images[rng.integers(len(digits.labels)), ..., 0])
    if rng.random() < LINK_SHARE:
        _add_link(rng, canvas, box)
    vary_character(rng, canvas, str(digits.labels[k]))
    return canvas


def _add_neighbour(rng: np.random.Generator, canvas: Canvas, box: Box, image: UInt8[np.ndarray, "28 28"]) -> None:
    """Puts the near side of another digit beside the ink."""
    other = enlarge_ink(rng, image, EXTENT - 8)
    wide, apart, y = int(rng.integers(4, 14)), int(rng.integers(-4, 4)), int(rng.integers(SIDE - len(other)))
    left, _, right, _ = box
    stroke, x = (other[:, :wide], right + apart) if rng.random() < 0.5 else (other[:, -wide:], left - wide - apart)
    if stroke.sum() < MAX_NEIGHBOUR * canvas.sum():  # more may be a digit itself
        x = int(np.clip(x, 0, SIDE - stroke.shape[1]))
        place = canvas[y : y + len(stroke), x : x + stroke.shape[1]]
        np.maximum(place, stroke, out=place)


def _add_link(rng: np.random.Generator, canvas: Canvas, box: Box) -> None:
    """Draws the beginning of the stroke that links a digit with the one before it or after it."""
    left, _, right, _ = box
    rows, columns = np.nonzero(canvas > 127)
    is_right = rng.random() < 0.5
    near = np.flatnonzero(columns > 0.6 * right + 0.4 * left if is_right else columns < 0.4 * right + 0.6 * left)
    if not len(near):
        return
    i = near[rng.integers(len(near))]
    outwards = 1 if is_right else -1
    steps = np.stack([outwards * rng.uniform(2, 8, 3), rng.uniform(-5, 5) + rng.uniform(-2, 2, 3)], axis=1)
    way = np.array([columns[i], rows[i]]) + np.cumsum(np.concatenate([np.zeros((1, 2)), steps]), axis=0)
    draw_line(canvas, way, int(rng.integers(2, 6)))


def _finish_one(
    rng: np.random.Generator, draw: Callable[[np.random.Generator], Canvas], shake: float
) -> UInt8[np.ndarray, "28 28"]:
    """Draws a digit until something is left of it; digits are shaken less than what is none, or they would be none."""
    while (image := finish_drawing(rng, draw(rng), shake)) is None:
        pass
    return image
