"""Characters by other hands, drawn with any pen; and digits in styles that few of those hands write."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from digitjax.config import DIGITS
from digitjax.data.arrays import Character, Dataset, Stroke
from digitjax.drawing.canvas import EXTENT, Canvas, center_ink, draw_strokes, enlarge_ink, stack_images
from digitjax.drawing.characters import LOOK_ALIKES
from digitjax.pictures.preprocess import draw_digit
from digitjax.pictures.shapes import Box, ink_box

# How many digits are drawn in a rarer style, where their class has one.
STYLE_SHARE = 0.15

# How many characters, digits or not, stand on a rule, beside a speck, on a patch of another paper.
RULE_SHARE, SPECK_SHARE, PATCH_SHARE = 0.25, 0.06, 0.03


class Hands(NamedTuple):
    """Characters by other hands."""

    digits: list[Character]
    others: list[Character]  # what nobody takes for a digit


def divide_hands(characters: Sequence[Character]) -> Hands:
    """Divides characters into digits and others; what passes for a digit, such as an O or an l, is left out."""
    drawable = [character for character in characters if _has_extent(character)]
    digits = [character for character in drawable if character.text in DIGITS]
    return Hands(digits, [c for c in drawable if c.text not in LOOK_ALIKES and c.text not in DIGITS])


def _has_extent(character: Character) -> bool:
    """Whether a pen was moved, and not just put down."""
    return isinstance(character.ink, np.ndarray) or bool(np.ptp(np.concatenate(character.ink), axis=0).any())


def draw_hand(rng: np.random.Generator, character: Character) -> Canvas:
    """Draws a character as it was written, with another pen; and now and then in another style, or on worse paper."""
    ink = character.ink
    if isinstance(ink, np.ndarray):
        canvas = center_ink(enlarge_ink(rng, ink, EXTENT))
    else:
        styles = STYLES.get(character.text, ())
        if styles and rng.random() < STYLE_SHARE:
            ink = (*ink, styles[rng.integers(len(styles))](rng, np.concatenate(ink)))
        canvas = draw_strokes(rng, ink)
    box = ink_box(canvas > 0)
    if rng.random() < RULE_SHARE:
        _add_rule(rng, canvas, box, is_below=character.text == "1")  # elsewhere it would make a T or a t of a 1
    if rng.random() < SPECK_SHARE:
        _add_speck(rng, canvas, box)
    if rng.random() < PATCH_SHARE:
        _add_patch(rng, canvas, box)
    return canvas


def draw_plain(characters: Sequence[Character]) -> Dataset:
    """Brings characters to MNIST's form as they were written, to measure by; those of no digit have the label 10."""
    rng, images = np.random.default_rng(0), []
    for character in characters:
        if isinstance(character.ink, np.ndarray):
            images.append(character.ink)
        else:
            canvas = draw_strokes(rng, character.ink)
            images.append(draw_digit(canvas.astype(np.float32), canvas > 64))
    labels = [DIGITS.index(character.text) if character.text in DIGITS else len(DIGITS) for character in characters]
    return Dataset(stack_images(images), np.array(labels, np.int32))


# ---------------------------------------------------------------- styles: a stroke more


def _slash(rng: np.random.Generator, points: Stroke) -> Stroke:
    """A slash through a 0, seldom a backslash; it ends inside or outside."""
    low, high = points.min(axis=0), points.max(axis=0)
    half = (high - low) * rng.uniform(0.3, 0.75, 2) * [1, -1]
    half[0] = max(half[0], 0.15 * np.max(high - low)) * (-1 if rng.random() < 0.12 else 1)
    center = (low + high) / 2 + rng.normal(0, 0.05, 2) * np.max(high - low)
    return _line(center, half)


def _dot(rng: np.random.Generator, points: Stroke) -> Stroke:
    """A dot in a 0."""
    low, high = points.min(axis=0), points.max(axis=0)
    size = np.max(high - low)
    return _line((low + high) / 2 + rng.normal(0, 0.04, 2) * size, rng.uniform(-0.03, 0.03, 2) * size)


def _bar(rng: np.random.Generator, points: Stroke) -> Stroke:
    """A bar through a 7's stem."""
    height = np.ptp(points[:, 1])
    y = points[:, 1].min() + rng.uniform(0.4, 0.65) * height
    return _line(points[abs(points[:, 1] - y).argmin()], rng.uniform([0.12, -0.08], [0.3, 0.08]) * height)


def _foot(rng: np.random.Generator, points: Stroke) -> Stroke:
    """A foot under a 1."""
    return _line(points[points[:, 1].argmax()], rng.uniform([0.12, -0.05], [0.35, 0.05]) * np.ptp(points[:, 1]))


def _line(center: np.ndarray, half: np.ndarray) -> Stroke:
    return np.stack([center - half, center + half]).astype(np.float32)


STYLES: dict[str, tuple[Callable[[np.random.Generator, Stroke], Stroke], ...]] = {
    "0": (_slash, _slash, _slash, _dot),
    "1": (_foot,),
    "7": (_bar,),
}


# ---------------------------------------------------------------- what the paper adds


def _add_rule(rng: np.random.Generator, canvas: Canvas, box: Box, *, is_below: bool) -> None:
    """Draws a rule, mostly where the character stands on it, else above it or through it; now and then a double one."""
    left, top, right, bottom = box
    low, high = (bottom - 6, bottom + 8) if is_below or rng.random() < 0.75 else (top - 4, bottom)
    y = int(rng.integers(low, high))
    (before, after), tilt = rng.integers(-12, 18, 2), rng.normal(0, 2)
    for _ in range(rng.choice([1, 2], p=(0.8, 0.2))):
        ends = (int(left - before), round(y - tilt)), (int(right + after), round(y + tilt))
        cv2.line(canvas, *ends, int(rng.integers(80, 256)), int(rng.integers(1, 6)), cv2.LINE_AA)
        y += int(rng.integers(4, 9))


def _add_speck(rng: np.random.Generator, canvas: Canvas, box: Box) -> None:
    """Draws what is left of something else: a dot at the foot, or a block beside the character or at its corner."""
    left, top, right, bottom = box
    is_right, away, size = rng.random() < 0.6, int(rng.integers(2, 10)), int(rng.integers(2, 6))
    x = right + away if is_right else left - away
    if rng.random() < 0.6:
        cv2.circle(canvas, (x, bottom - int(rng.integers(-2, 10))), size, 255, -1, cv2.LINE_AA)
    else:
        y, (wide, high) = int(rng.integers(top, bottom)), rng.integers(2, 9, 2).tolist()
        cv2.rectangle(canvas, (x - wide, y - high), (x + wide, y + high), int(rng.integers(150, 256)), -1)


def _add_patch(rng: np.random.Generator, canvas: Canvas, box: Box) -> None:
    """Lays a darker patch of paper under the character."""
    left, top, right, bottom = box
    margins = rng.integers(-4, 14, 4).tolist()
    patch = np.zeros_like(canvas)
    cv2.rectangle(
        patch,
        (left - margins[0], top - margins[1]),
        (right + margins[2], bottom + margins[3]),
        int(rng.integers(60, 140)),
        -1,
    )
    np.maximum(canvas, patch, out=canvas)
