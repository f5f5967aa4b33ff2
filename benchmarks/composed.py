"""Accuracy on composed pictures of known content: MNIST's validation digits, and drawings without a digit.

    python benchmarks/composed.py --idx-dir FOLDER      # one digit on paper, none, numbers of several digits, words
    python benchmarks/composed.py --idx-dir FOLDER --fit

Pen, paper, light, ruled lines, neighbours and the gaps between digits are drawn at random. With `--fit`, the constants
with which `Recognizer.read` weighs cuts and shapes are tried one after another, on other pictures than those reported.
"""

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from digitjax.config import DIGITS
from digitjax.data.arrays import Dataset
from digitjax.data.splits import load_splits
from digitjax.drawing.canvas import finish_drawing
from digitjax.drawing.characters import draw_character
from digitjax.drawing.negatives import draw_negatives
from digitjax.pictures import cut, segment
from digitjax.predict import Recognizer, rows

FIT_SEED, REPORT_SEED = 1, 2

# What `--fit` tries: the constants of `read` that are weights, not measurements.
CHOICES: list[tuple[ModuleType, str, tuple[float, ...]]] = [
    (segment, "LOG_CUT", (-0.5, -1.0, -1.5, -2.0, -3.0)),
    (rows, "NARROW_TOLERANCE", (1.0, 1.5, 2.0, 3.0)),
    (rows, "WIDE_TOLERANCE", (0.75, 1.0, 1.5, 2.0)),
    (segment, "LOG_BRIDGED", (-1.0, -3.0, -5.0)),
    (segment, "LOG_SKIP", (-0.5, -1.0, -2.0, -4.0)),
    (cut, "NOTCH_COST", (0.1, 0.2, 0.5, 1.0)),
    (cut, "MAX_CUT", (1.3, 1.8, 2.3)),
]


class Composed(NamedTuple):
    """A picture and what it says."""

    picture: NDArray[np.uint8]  # [h, w]
    label: str


# ---------------------------------------------------------------- composing


def draw_digit(rng: np.random.Generator, image: NDArray[np.uint8], height: float) -> NDArray[np.float32]:
    """Enlarges an MNIST digit to a height in pixels, a little wider or narrower; ink 0 to 1."""
    rows, columns = np.nonzero(image)
    ink = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.float32) / 255
    scale = height / max(len(ink), 12)
    large = cv2.resize(ink, None, fx=scale * rng.uniform(0.85, 1.1), fy=scale, interpolation=cv2.INTER_CUBIC)
    return np.clip((large - 0.3) / 0.4, 0, 1)  # makes MNIST's soft edges, now enlarged, as sharp as a pen's again


def compose_number(rng: np.random.Generator, dataset: Dataset, num_digits: int) -> tuple[NDArray[np.float32], str]:
    """Writes digits in a row, some touching, some with a dot, a comma or a dash in between; ink 0 to 1."""
    height = rng.uniform(40, 90)
    canvas = np.zeros((round(2.4 * height), round((num_digits + 1) * 1.7 * height)), np.float32)
    x, label = 0.5 * height, ""
    gap = rng.uniform(0.05, 0.35)
    for _ in range(num_digits):
        i = int(rng.integers(len(dataset.labels)))
        digit = draw_digit(rng, dataset.images[i, ..., 0], height * rng.uniform(0.85, 1.15))
        y = 0.7 * height + rng.uniform(-0.08, 0.08) * height
        touching = label and rng.random() < 0.2
        left = round(x - (rng.uniform(0.0, 0.08) * height + gap * height if touching else 0))
        part = canvas[round(y) : round(y) + digit.shape[0], left : left + digit.shape[1]]
        np.maximum(part, digit[: part.shape[0], : part.shape[1]], out=part)
        label += str(dataset.labels[i])
        x = left + digit.shape[1] + gap * height * rng.uniform(0.6, 1.4)
        if rng.random() < 0.06:
            _add_mark(rng, canvas, x, y + 0.9 * height, height)
            x += 0.35 * height
    return canvas[:, : round(x + 0.5 * height)], label


def _add_mark(rng: np.random.Generator, canvas: NDArray[np.float32], x: float, base: float, height: float) -> None:
    pen = max(2, round(0.09 * height))
    if rng.random() < 0.6:  # a dot or a comma
        end = (round(x + 0.02 * height), round(base + rng.uniform(0, 0.2) * height))
        cv2.line(canvas, (round(x + 0.06 * height), round(base)), end, 1.0, pen, cv2.LINE_AA)
    else:
        middle = round(base - 0.45 * height)
        cv2.line(canvas, (round(x), middle), (round(x + 0.22 * height), middle), 1.0, pen, cv2.LINE_AA)


def compose_digit(rng: np.random.Generator, dataset: Dataset) -> tuple[NDArray[np.float32], str]:
    """Writes one digit anywhere on its paper, sometimes with a neighbour's stroke at the edge; ink 0 to 1."""
    i = int(rng.integers(len(dataset.labels)))
    height = rng.uniform(60, 200)
    digit = draw_digit(rng, dataset.images[i, ..., 0], height)
    margins = (rng.uniform(0.15, 1.0, 4) * height).astype(int)
    canvas = np.pad(digit, (tuple(margins[:2]), tuple(margins[2:])))
    if rng.random() < 0.25:
        other = draw_digit(rng, dataset.images[int(rng.integers(len(dataset.labels))), ..., 0], height)
        width = int(min(0.5 * margins[3], 0.6 * other.shape[1]))
        rows = min(len(other), len(canvas))
        if width > 0:
            canvas[:rows, -width:] = np.maximum(canvas[:rows, -width:], other[:rows, :width])
    return canvas, str(dataset.labels[i])


def draw_letters(rng: np.random.Generator, n: int) -> Dataset:
    """Draws letters in MNIST's format."""
    drawings = (finish_drawing(rng, draw_character(rng)) for _ in itertools.count())
    images = itertools.islice((image for image in drawings if image is not None), n)
    return Dataset(np.stack(list(images))[..., None], np.full(n, len(DIGITS), np.int32))


def photograph(rng: np.random.Generator, ink: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Puts ink on paper under a lamp, in front of a camera."""
    height, width = ink.shape
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    paper = rng.uniform(140, 245) * (1 + rng.uniform(-0.3, 0.3) * (x - 0.5) + rng.uniform(-0.3, 0.3) * (y - 0.5))
    if rng.random() < 0.3:  # a shadow with a soft edge
        angle = rng.uniform(0, 2 * np.pi)
        side = (np.cos(angle) * (x - x.mean()) + np.sin(angle) * (y - y.mean())) / rng.uniform(0.02, 0.2)
        paper = paper * (1 - rng.uniform(0.1, 0.45) / (1 + np.exp(-side)))
    if rng.random() < 0.25:  # ruled or squared paper
        step, strength = rng.uniform(0.12, 0.5) * height, rng.uniform(0.05, 0.3)
        lines = (np.arange(height) % step) < max(1, 0.01 * height)
        paper = paper * (1 - strength * lines[:, None])
        if rng.random() < 0.4:
            paper = paper * (1 - strength * ((np.arange(width) % step) < max(1, 0.01 * height))[None])
    picture = paper * (1 - rng.uniform(0.35, 0.9) * ink)
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.5)) + rng.normal(0, rng.uniform(0, 5), ink.shape)
    picture = picture.clip(0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        picture = 255 - picture
    _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 96))])
    return cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE).astype(np.uint8)


def compose(seed: int, dataset: Dataset, n: int, *, numbers: bool) -> Iterator[Composed]:
    """Yields `n` pictures of one digit each, or of a number of three to seven digits each."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        ink, label = compose_number(rng, dataset, int(rng.integers(3, 8))) if numbers else compose_digit(rng, dataset)
        yield Composed(photograph(rng, ink), label)


# ---------------------------------------------------------------- measuring


def share_read(recognizer: Recognizer, pictures: list[Composed]) -> float:
    """Returns the share of numbers that are read exactly."""
    return float(np.mean([recognizer.read(picture).text == label for picture, label in pictures]))


def fit(recognizer: Recognizer, pictures: list[Composed]) -> None:
    """Sets each constant in turn to the choice that reads the most pictures, and prints what was tried."""
    for module, name, choices in CHOICES:
        present = getattr(module, name)
        shares = {}
        for choice in dict.fromkeys((present, *choices)):  # the present one first: it stays unless another is better
            setattr(module, name, choice)
            shares[choice] = share_read(recognizer, pictures)
        best = max(shares, key=lambda choice: shares[choice])
        setattr(module, name, best)
        tried = ", ".join(f"{choice:g}: {share:.1%}" for choice, share in sorted(shares.items()))
        print(f"{module.__name__}.{name}: {best:g} ({tried})", flush=True)


def main() -> None:
    """Prints the shares of pictures that are read correctly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idx-dir", type=Path, help="folder with MNIST's IDX files")
    parser.add_argument("--pictures", type=int, default=500, help="pictures of each kind")
    parser.add_argument("--fit", action="store_true", help="try other constants first")
    args = parser.parse_args()
    validation = load_splits("mnist", idx_dir=args.idx_dir).validation
    recognizer = Recognizer.load()
    if args.fit:
        fit(recognizer, list(compose(FIT_SEED, validation, args.pictures, numbers=True)))
    digits = list(compose(REPORT_SEED, validation, args.pictures, numbers=False))
    answers = [recognizer.predict_digit(picture).digit for picture, _ in digits]
    right = [digit == int(label) for digit, (_, label) in zip(answers, digits, strict=True)]
    refused = [digit is None for digit in answers]
    print(f"one digit:  {np.mean(right):.1%} of {len(digits)} right, {np.mean(refused):.1%} refused")
    negatives = draw_negatives(np.random.default_rng(REPORT_SEED), args.pictures, validation)
    labels = np.full(len(negatives), len(DIGITS), np.int32)
    others = compose(REPORT_SEED, Dataset(negatives, labels), args.pictures, numbers=False)
    refused = [recognizer.predict_digit(picture).digit is None for picture, _ in others]
    print(f"no digit:   {np.mean(refused):.1%} of {len(refused)} refused")
    numbers = list(compose(REPORT_SEED, validation, args.pictures, numbers=True))
    print(f"numbers:    {share_read(recognizer, numbers):.1%} of {len(numbers)} exactly right")
    letters = draw_letters(np.random.default_rng(REPORT_SEED), args.pictures)
    words = compose(REPORT_SEED, letters, args.pictures, numbers=True)
    skipped = [not recognizer.read(picture).text for picture, _ in words]
    print(f"words:      {np.mean(skipped):.1%} of {len(skipped)} skipped")


if __name__ == "__main__":
    main()
