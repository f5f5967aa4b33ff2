"""Characters by other hands, drawn with any pen."""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from digitjax.config import DIGITS
from digitjax.data.arrays import Character, Dataset
from digitjax.drawing.canvas import EXTENT, Canvas, center_ink, draw_strokes, enlarge_ink, stack_images
from digitjax.drawing.characters import LOOK_ALIKES, OMNIGLOT_LOOK_ALIKES
from digitjax.drawing.paper import add_paper
from digitjax.drawing.styles import add_style
from digitjax.pictures.preprocess import draw_digit


class Hands(NamedTuple):
    """Characters by other hands."""

    digits: list[Character]
    others: list[Character]  # what nobody takes for a digit


def divide_hands(characters: Sequence[Character]) -> Hands:
    """Divides characters into digits and others; what passes for a digit, such as an O or an l, is left out."""
    drawable = [character for character in characters if _has_extent(character)]
    digits = [character for character in drawable if character.text in DIGITS and not _is_number(character)]
    left_out = LOOK_ALIKES | OMNIGLOT_LOOK_ALIKES | set(DIGITS)
    return Hands(digits, [character for character in drawable if character.text not in left_out])


def _has_extent(character: Character) -> bool:
    """Whether a pen was moved, and not just put down."""
    return isinstance(character.ink, np.ndarray) or bool(np.ptp(np.concatenate(character.ink), axis=0).any())


def _is_number(character: Character) -> bool:
    """Whether two strokes, both of nearly the full height, stand beside each other: UNIPEN has 00 labelled as 0."""
    if isinstance(character.ink, np.ndarray):
        return False
    high = 0.85 * np.ptp(np.concatenate(character.ink)[:, 1])
    spans = sorted((stroke[:, 0].min(), stroke[:, 0].max()) for stroke in character.ink if np.ptp(stroke[:, 1]) > high)
    return any(right < next_left for (_, right), (next_left, _) in itertools.pairwise(spans))


def pick_characters(rng: np.random.Generator, characters: Sequence[Character]) -> Iterator[Character]:
    """Picks characters for ever, each class of each data set as often as the root of its size says.

    So scripts and data sets of few examples, whose hands and shapes are others, come more often than their size says.
    """
    sizes = Counter((character.dataset, character.text) for character in characters)
    weights = np.array([sizes[character.dataset, character.text] ** -0.5 for character in characters])
    while characters:
        for i in rng.choice(len(characters), 1_000, p=weights / weights.sum()):
            yield characters[i]


def draw_hand(rng: np.random.Generator, character: Character) -> Canvas:
    """Draws a character as it was written, with another pen, and with what other hands and worse paper add."""
    if isinstance(character.ink, np.ndarray):
        canvas = center_ink(enlarge_ink(rng, character.ink, EXTENT))
    else:
        canvas = draw_strokes(rng, character.ink)
    add_style(rng, canvas, character.text)
    add_paper(rng, canvas, character.text)
    return canvas


def draw_plain(characters: Sequence[Character]) -> Dataset:
    """Brings characters to MNIST's form as they were written, to measure by; non-digits have the label 10."""
    rng, images = np.random.default_rng(0), []
    for character in characters:
        if isinstance(character.ink, np.ndarray):
            images.append(character.ink)
        else:
            canvas = draw_strokes(rng, character.ink)
            images.append(draw_digit(canvas.astype(np.float32), canvas > 64))
    labels = [DIGITS.index(character.text) if character.text in DIGITS else len(DIGITS) for character in characters]
    return Dataset(stack_images(images), np.array(labels, np.int32))
