"""Draws the pictures that the demo offers as examples.

python demo/draw_examples.py
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from digitjax.drawing.canvas import bend_strokes, draw_strokes
from digitjax.drawing.characters import draw_character
from digitjax.drawing.doodles import draw_scribble
from digitjax.drawing.styles import shape_seven
from digitjax.pictures.shapes import ink_box

EXAMPLES = Path(__file__).parent / "examples"

SEED = 3

Ink = NDArray[np.float32]
"""[h, w], 0 to 1."""


def photograph(rng: np.random.Generator, ink: Ink, *, paper: float, pen: float, step: int = 0) -> NDArray[np.uint8]:
    """Returns ink on paper, both with their brightness of 0 to 255, under a lamp; `step` is how far rules are apart."""
    height, width = ink.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    ground = np.full(ink.shape, paper, np.float32)
    if step:
        ground[(y % step < 2) | (x % step < 2)] -= 30
    picture = (ground * (1 - ink) + pen * ink) * (1 - 0.35 * np.hypot(x / width - 0.3, y / height - 0.2))
    return (cv2.GaussianBlur(picture, (0, 0), 1) + rng.normal(0, 3, ink.shape)).clip(0, 255).astype(np.uint8)


def enlarge(canvas: NDArray[np.float32], scale: float) -> Ink:
    """Returns a canvas of 0 to 255, enlarged."""
    return cv2.resize(canvas / 255, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC).clip(0, 1)


def write_number(rng: np.random.Generator, number: str) -> Ink:
    """Returns digits side by side."""
    parts = []
    for digit in number:
        canvas = bend_strokes(rng, draw_character(rng, digit), 1.5)
        left, _, right, _ = ink_box(canvas > 64)
        parts.append(np.pad(canvas[:, left:right], ((0, 0), (6, 6))))
    return enlarge(np.pad(np.hstack(parts), 16), 2)


def main() -> None:
    """Draws them all."""
    rng = np.random.default_rng(SEED)
    pictures = {
        "squared_paper": photograph(
            rng, enlarge(bend_strokes(rng, draw_strokes(rng, shape_seven(rng)), 2), 4), paper=235, pen=60, step=48
        ),
        "blackboard": photograph(rng, enlarge(bend_strokes(rng, draw_character(rng, "5"), 2), 4), paper=50, pen=220),
        "number": photograph(rng, write_number(rng, "314159"), paper=230, pen=50),
        "letter": photograph(rng, enlarge(bend_strokes(rng, draw_character(rng, "k"), 2), 4), paper=235, pen=60),
        "scribble": photograph(rng, enlarge(bend_strokes(rng, draw_scribble(rng), 2), 4), paper=235, pen=60),
    }
    EXAMPLES.mkdir(exist_ok=True)
    for name, picture in pictures.items():
        cv2.imwrite(str(EXAMPLES / f"{name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == "__main__":
    main()
