"""Non-digits, drawn for training, so that a network learns to refuse them."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from digitjax.data.arrays import Character, Dataset
from digitjax.drawing.canvas import (
    EXTENT,
    SIDE,
    WRITTEN_SHAKE,
    Canvas,
    center_ink,
    enlarge_ink,
    finish_drawing,
    stack_images,
)
from digitjax.drawing.characters import draw_character, draw_print
from digitjax.drawing.doodles import draw_bars, draw_blots, draw_face, draw_scribble, draw_shape, draw_sign, draw_spiral
from digitjax.drawing.hands import draw_hand, pick_characters

# With how many digits a drawing is compared, and how alike the two may be: most of MNIST's digits have one among as
# many others that is more alike to them.
NUM_COMPARED = 3_000
MAX_ALIKENESS = 0.93

# How many of the letters are by hands, where there are any; the others are a font's.
WRITTEN_SHARE = 0.8

# After so many drawings of a kind that were left out, letters are drawn instead: of one's own "digits", as of dice, all
# may look the same when they are mirrored. Of MNIST's digits no kind came near that.
MAX_MISSES = 1_000


def draw_negatives(
    rng: np.random.Generator, n: int, digits: Dataset, others: Sequence[Character] = ()
) -> UInt8[np.ndarray, "n 28 28 1"]:
    """Draws images without a digit, as `preprocess_image` would leave them, kind by kind.

    Args:
      rng: Decides all of them.
      n: How many.
      digits: Some are made of these, and what comes out too like one of these is left out. Where none of them can be
        turned or none is a 0, letters take the places of what would be made of those.
      others: Characters by hands, none of them a digit.
    """
    looks = _measure_looks(digits.images[:NUM_COMPARED, ..., 0])
    picks = pick_characters(rng, others)

    def finish(canvas: Canvas, shake: float = 5) -> UInt8[np.ndarray, "28 28"] | None:
        return finish_drawing(rng, canvas, shake)

    def finish_unlike(canvas: Canvas) -> UInt8[np.ndarray, "28 28"] | None:
        return _unless_alike(finish(canvas), looks)

    def draw_one_letter() -> UInt8[np.ndarray, "28 28"] | None:
        if not others or rng.random() > WRITTEN_SHARE:
            return finish(draw_character(rng))
        return finish(draw_hand(rng, next(picks)), WRITTEN_SHAKE)

    can_turn, can_halve = np.isin(digits.labels, list(TURNS)).any(), (digits.labels == 0).any()
    kinds: list[tuple[float, Callable[[], UInt8[np.ndarray, "28 28"] | None]]] = [
        (0.59, draw_one_letter),
        (0.10, lambda: finish_unlike(draw_sign(rng))),
        (0.04, lambda: finish(draw_print(rng))),
        (0.04, lambda: finish_unlike(draw_scribble(rng))),
        (0.02, lambda: finish_unlike(draw_spiral(rng))),
        (0.03, lambda: finish_unlike(draw_shape(rng))),
        (0.02, lambda: finish(draw_bars(rng))),
        (0.02, lambda: finish(draw_face(rng))),
        (0.03, lambda: finish_unlike(draw_blots(rng))),
        (0.06, (lambda: finish_unlike(turn_digit(rng, digits))) if can_turn else draw_one_letter),
        (0.04, lambda: finish(join_digits(rng, digits))),
        (0.01, (lambda: finish(halve_zero(rng, digits))) if can_halve else draw_one_letter),
    ]
    counts = rng.multinomial(n, [share for share, _ in kinds])
    images: list[UInt8[np.ndarray, "28 28"]] = []
    for count, (_, draw) in zip(np.cumsum(counts), kinds, strict=True):
        misses = 0
        while len(images) < count:
            if (image := draw() if misses < MAX_MISSES else draw_one_letter()) is None:
                misses += 1
            else:
                images.append(image)
    return stack_images(images)


def _unless_alike(
    image: UInt8[np.ndarray, "28 28"] | None, looks: Float32[np.ndarray, "n 196"]
) -> UInt8[np.ndarray, "28 28"] | None:
    """Returns the image, or None where it came out like a digit."""
    return None if image is None or (looks @ _measure_looks(image[None])[0]).max() > MAX_ALIKENESS else image


def _measure_looks(images: UInt8[np.ndarray, "n 28 28"]) -> Float32[np.ndarray, "n 196"]:
    """Returns images blurred, at half the size, as vectors of length 1: their products tell how alike they are."""
    looks = [cv2.resize(cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.5), (14, 14)).ravel() for image in images]
    return np.stack([look / np.linalg.norm(look) for look in looks])


# How each digit may be turned or mirrored without another digit coming out.
TURNS: dict[int, tuple[Callable[[np.ndarray], np.ndarray], ...]] = {
    2: (np.rot90,),
    3: (np.fliplr, np.rot90, lambda ink: np.rot90(ink, 2)),
    4: (np.fliplr, np.rot90, lambda ink: np.rot90(ink, 2)),
    5: (np.rot90,),
    6: (np.fliplr,),
    7: (np.fliplr, lambda ink: np.rot90(ink, 2)),
    9: (np.fliplr,),
}


def turn_digit(rng: np.random.Generator, digits: Dataset) -> Canvas:
    """A digit mirrored, upside down or on its side, where that isn't a digit again."""
    while (label := int(digits.labels[i := rng.integers(len(digits.labels))])) not in TURNS:
        pass
    turns = TURNS[label]
    return center_ink(turns[rng.integers(len(turns))](enlarge_ink(rng, digits.images[i, ..., 0], EXTENT)))


def join_digits(rng: np.random.Generator, digits: Dataset) -> Canvas:
    """Two or three digits side by side, touching or not."""
    canvas, x = np.zeros((SIDE, 3 * SIDE), np.uint8), 0
    for i in rng.integers(len(digits.labels), size=int(rng.choice([2, 2, 3]))):
        ink = enlarge_ink(rng, digits.images[i, ..., 0], int(rng.integers(50, EXTENT)))
        x = max(0, x + int(rng.integers(-6, 10)))
        top = (SIDE - ink.shape[0]) // 2
        part = canvas[top : top + ink.shape[0], x : x + ink.shape[1]]
        np.maximum(part, ink, out=part)
        x += ink.shape[1]
    return center_ink(enlarge_ink(rng, canvas[:, :x], SIDE - 4))


def halve_zero(rng: np.random.Generator, digits: Dataset) -> Canvas:
    """The left or the right half of a 0, as a wrong cut leaves it; halves of others may pass for digits."""
    zeros = np.flatnonzero(digits.labels == 0)
    ink = enlarge_ink(rng, digits.images[rng.choice(zeros), ..., 0], EXTENT)
    middle = round(ink.shape[1] * rng.uniform(0.4, 0.6))
    return center_ink(ink[:, :middle] if rng.random() < 0.5 else ink[:, middle:])
