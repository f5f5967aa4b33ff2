"""Images drawn by program for training: what is no digit, 1s and 7s as much of the world writes them, digits redrawn.

A classifier that has only ever seen digits is sure of one in anything (Hein et al. 2019,
https://arxiv.org/abs/1812.05720). So training shows it letters and signs, shapes, scribbles, print, and digits that are
turned, joined or cut. And MNIST's writers, Americans, draw a 1 as a plain stroke; one with an upstroke they would take
for a 7.

All go the way of every picture through `preprocess.draw_digit`. But MNIST's digits have the jagged edges of the scans
that they were made from, and by smooth ones a network tells the drawings at once, whatever they show; then it doubts
the digits of other people too. So drawn edges are roughened at random, and some digits are redrawn with smoothed ones,
or are a font's, as the letters are. Digits and others alike are photographed now and then, on paper in uneven light.
"""

from collections.abc import Callable, Sequence
from functools import partial

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8

from digitjax.canvas import EXTENT, SIDE, Canvas, center_ink, draw_line, draw_strokes, enlarge_ink, finish_drawing
from digitjax.characters import draw_character, draw_letter, draw_print, draw_unfamiliar
from digitjax.config import TrainConfig
from digitjax.doodles import draw_bars, draw_blots, draw_face, draw_scribble, draw_shape, draw_sign, draw_spiral
from digitjax.idx import ALL, Dataset, Part
from digitjax.ink import ink_box

NO_DIGIT = 10
"""The label of what is no digit, next to 0 to 9."""

Box = tuple[int, int, int, int]  # left, top, right, bottom, the last two exclusive

# How many redrawn digits hold something that isn't theirs or lack something, and how much ink of a neighbour's at most.
NEIGHBOUR_SHARE, LINK_SHARE, RULE_SHARE, TRIMMED_SHARE = 0.2, 0.2, 0.15, 0.15
MAX_NEIGHBOUR = 0.25

# With how many digits a drawing is compared, and how alike the two may be: most of MNIST's digits have one among as
# many others that is more alike to them.
NUM_COMPARED = 3_000
MAX_ALIKENESS = 0.93


def add_drawn(digits: Dataset, config: TrainConfig, part: Part = ALL, num_digits: int | None = None) -> Dataset:
    """Returns the digits with 1s and 7s, redrawn digits and images without one, as many as the config says.

    Its seed decides all of them; images without a digit are labelled NO_DIGIT. Digits come in blocks, each followed by
    what is drawn of its own digits, so that a part can be had without the rest.

    Args:
      digits: The digits of a part.
      config: The shares, and the seed.
      part: Which part they are.
      num_digits: How many all parts have together; None: as many as these.
    """
    blocks = part.blocks(len(digits.labels) if num_digits is None else num_digits)
    drawn = [Dataset(digits.images[:0], digits.labels[:0])]
    for i, start, stop in blocks:
        block = Dataset(*(array[start - blocks[0][1] : stop - blocks[0][1]] for array in digits))
        drawn.append(_add_drawn(block, config, np.random.default_rng((config.seed, i))))
    return Dataset(*(np.concatenate(arrays) for arrays in zip(*drawn, strict=True)))


def find_drawn(config: TrainConfig, num_digits: int) -> Bool[np.ndarray, "n"]:
    """Returns which images are drawn ones, among those that `add_drawn` returns of all parts together."""
    counts = [(stop - start, sum(_count_drawn(config, stop - start))) for _, start, stop in ALL.blocks(num_digits)]
    return np.repeat(np.tile([False, True], len(counts)), np.ravel(counts))


def _count_drawn(config: TrainConfig, num_digits: int) -> tuple[int, int, int]:
    """Returns how many 1s and 7s, redrawn digits and images without a digit come to so many digits."""
    shares = (config.one_seven_share, config.redrawn_share, config.negative_share)
    one_sevens, redrawn, negatives = (round(num_digits / (1 - sum(shares)) * share) for share in shares)
    return one_sevens, redrawn, negatives


def _add_drawn(digits: Dataset, config: TrainConfig, rng: np.random.Generator) -> Dataset:
    num_one_sevens, num_redrawn, num_negatives = _count_drawn(config, len(digits.labels))
    ones = draw_ones_and_sevens(rng, num_one_sevens)
    redrawn = redraw_digits(rng, num_redrawn, digits)
    negatives = draw_negatives(rng, num_negatives, digits)
    return Dataset(
        np.concatenate([digits.images, ones.images, redrawn.images, negatives]),
        np.concatenate([digits.labels, ones.labels, redrawn.labels, np.full(len(negatives), NO_DIGIT, np.int32)]),
    )


# ---------------------------------------------------------------- 1s and 7s


def draw_ones_and_sevens(rng: np.random.Generator, n: int) -> Dataset:
    """Draws 1s with an upstroke, with and without a foot, and 7s with and without a bar, in turn."""
    labels = np.where(np.arange(n) % 2 == 0, 1, 7).astype(np.int32)
    images = [_finish_one(rng, draw_one if label == 1 else draw_seven) for label in labels]
    return _to_dataset(images, labels)


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


def redraw_digits(rng: np.random.Generator, n: int, digits: Dataset) -> Dataset:
    """Draws digits anew, as what is no digit is drawn: or these could be told by their edges, which aren't MNIST's.

    Every fourth is of a font, for the letters are. The others come with what is left where a digit is found among
    others or on ruled paper: a neighbour's stroke, a piece of a rule, a side that is cut too short.
    """
    chosen = rng.integers(len(digits.labels), size=n)
    labels, images = digits.labels[chosen], []
    for i, k in enumerate(chosen):
        if i % 4 == 0:
            labels[i] = i // 4 % 10
            images.append(_finish_one(rng, partial(draw_character, characters=str(labels[i]))))
        else:
            images.append(_finish_one(rng, partial(cut_out, digits=digits, k=int(k))))
    return _to_dataset(images, labels)


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


def _finish_one(rng: np.random.Generator, draw: Callable[[np.random.Generator], Canvas]) -> UInt8[np.ndarray, "28 28"]:
    """Draws a digit until something is left of it; digits are shaken less than what is none, or they would be none."""
    while (image := finish_drawing(rng, draw(rng), shake=2)) is None:
        pass
    return image


def _to_dataset(images: Sequence[UInt8[np.ndarray, "28 28"]], labels: Int32[np.ndarray, "n"]) -> Dataset:
    return Dataset(np.stack(images)[..., None] if images else np.zeros((0, 28, 28, 1), np.uint8), labels)


# ---------------------------------------------------------------- what is no digit


def draw_negatives(rng: np.random.Generator, n: int, digits: Dataset) -> UInt8[np.ndarray, "n 28 28 1"]:
    """Draws images without a digit, as `preprocess_image` would leave them, kind by kind.

    Args:
      rng: Decides all of them.
      n: How many.
      digits: Some are made of these, and what comes out too like one of these is left out; at least one is a 0.
    """
    looks = _measure_looks(digits.images[:NUM_COMPARED, ..., 0])

    def finish(canvas: Canvas) -> UInt8[np.ndarray, "28 28"] | None:
        return finish_drawing(rng, canvas)

    def finish_unlike(canvas: Canvas) -> UInt8[np.ndarray, "28 28"] | None:
        return _unless_alike(finish_drawing(rng, canvas), looks)

    kinds: list[tuple[float, Callable[[], UInt8[np.ndarray, "28 28"] | None]]] = [
        (0.42, lambda: finish(draw_letter(rng))),
        (0.10, lambda: finish_unlike(draw_unfamiliar(rng))),
        (0.12, lambda: finish_unlike(draw_sign(rng))),
        (0.04, lambda: finish(draw_print(rng))),
        (0.05, lambda: finish_unlike(draw_scribble(rng))),
        (0.02, lambda: finish_unlike(draw_spiral(rng))),
        (0.04, lambda: finish_unlike(draw_shape(rng))),
        (0.02, lambda: finish(draw_bars(rng))),
        (0.02, lambda: finish(draw_face(rng))),
        (0.03, lambda: finish_unlike(draw_blots(rng))),
        (0.08, lambda: finish_unlike(turn_digit(rng, digits))),
        (0.05, lambda: finish(join_digits(rng, digits))),
        (0.01, lambda: finish(halve_zero(rng, digits))),
    ]
    counts = rng.multinomial(n, [share for share, _ in kinds])
    images: list[UInt8[np.ndarray, "28 28"]] = []
    for count, (_, draw) in zip(np.cumsum(counts), kinds, strict=True):
        while len(images) < count:
            if (image := draw()) is not None:
                images.append(image)
    return np.stack(images)[..., None] if images else np.zeros((0, 28, 28, 1), np.uint8)


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
