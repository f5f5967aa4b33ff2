"""Digits drawn for training: in styles of much of the world, by other hands, and as pictures show them."""

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
from digitjax.drawing.hands import draw_hand, pick_characters
from digitjax.drawing.paper import add_paper
from digitjax.drawing.styles import STYLES, add_style
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
    images = [_finish_one(rng, lambda rng, label=label: draw_strokes(rng, STYLES[int(label)](rng))) for label in labels]
    return Dataset(stack_images(images), labels)


# ---------------------------------------------------------------- digits as pictures show them


def redraw_digits(rng: np.random.Generator, n: int, digits: Dataset, written: Sequence[Character] = ()) -> Dataset:
    """Draws digits anew, as non-digits are drawn, which could else be told by their edges: those aren't MNIST's.

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
    picks = pick_characters(rng, written)
    for i in range(n):
        if i % 10 == 0:
            labels[i] = i // 10 % 10
            images.append(_finish_one(rng, partial(draw_character, characters=str(labels[i]))))
        elif written and rng.random() < 0.75:
            digit = next(picks)
            labels[i] = int(digit.text)
            images.append(_finish_one(rng, partial(draw_hand, character=digit), shake=WRITTEN_SHAKE))
        else:
            k = int(rng.integers(len(digits.labels)))
            labels[i] = digits.labels[k]
            images.append(_finish_one(rng, partial(cut_out, digits=digits, k=k)))
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
    add_style(rng, canvas, str(digits.labels[k]))
    add_paper(rng, canvas, str(digits.labels[k]))
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
    rng: np.random.Generator, draw: Callable[[np.random.Generator], Canvas], shake: float = 2
) -> UInt8[np.ndarray, "28 28"]:
    """Draws a digit until something is left of it, shaken less than non-digits, or it would become one."""
    while (image := finish_drawing(rng, draw(rng), shake)) is None:
        pass
    return image
