"""Digits drawn for training: 1s and 7s as much of the world writes them, and digits as pictures show them."""

from collections.abc import Callable, Sequence
from functools import partial

import cv2
import numpy as np
from jaxtyping import UInt8

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
    stack_images,
)
from digitjax.drawing.characters import draw_character
from digitjax.drawing.hands import draw_hand
from digitjax.pictures.shapes import Box, ink_box

# How many redrawn digits hold something that isn't theirs or lack something, and how much ink of a neighbour's at most.
NEIGHBOUR_SHARE, LINK_SHARE, RULE_SHARE, TRIMMED_SHARE = 0.2, 0.2, 0.15, 0.15
MAX_NEIGHBOUR = 0.25


# ---------------------------------------------------------------- 1s and 7s


def draw_ones_and_sevens(rng: np.random.Generator, n: int) -> Dataset:
    """Draws 1s with an upstroke, with and without a foot, and 7s with and without a bar, in turn."""
    labels = np.where(np.arange(n) % 2 == 0, 1, 7).astype(np.int32)
    images = [_finish_one(rng, draw_one if label == 1 else draw_seven, shake=2) for label in labels]
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
    if rng.random() < RULE_SHARE:
        left, top, right, bottom = box
        y, (before, after) = int(rng.integers(top, bottom)), rng.integers(-12, 16, 2).tolist()
        cv2.line(canvas, (left - before, y), (right + after, y), int(rng.integers(120, 256)), 2)
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
