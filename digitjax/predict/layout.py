"""How digits stand on a page: in lines, in numbers, in the columns of a table."""

import numpy as np
from jaxtyping import Bool, Float, Int

from digitjax.pictures.shapes import find_runs

Boxes = Float[np.ndarray, "n 4"]
"""Of each digit left, top, right and bottom, in pixels."""

# Neighbours of a line share at least this much of the lower one's height.
MIN_SHARED = 0.45

# Wider gaps, in heights of a line's digits, stand between two numbers.
MAX_GAP = 1.2

# By how much columns may lean.
SLANTS = np.linspace(-0.1, 0.1, 41)


def group_lines(boxes: Boxes) -> list[list[int]]:
    """Returns the indices of the digits of each line, from top to bottom and from left to right.

    In a page that is turned a little each digit still overlaps with its neighbours in height.
    """
    lines: list[list[int]] = []
    for i in np.argsort(boxes[:, 0] + boxes[:, 2], kind="stable").tolist():
        shared = [max(_share_height(boxes[j], boxes[i]) for j in line[-2:]) for line in lines]
        if shared and max(shared) > MIN_SHARED:
            lines[int(np.argmax(shared))].append(i)
        else:
            lines.append([i])
    return sorted(lines, key=lambda line: float(boxes[line][:, 1::2].mean()))


def _share_height(a: Float[np.ndarray, "4"], b: Float[np.ndarray, "4"]) -> float:
    """Returns the height that two boxes share, as a share of the lower one's."""
    shared = min(a[3], b[3]) - max(a[1], b[1])
    return float(shared / max(min(a[3] - a[1], b[3] - b[1]), 1e-3))


def split_numbers(boxes: Boxes) -> list[int]:
    """Returns the number of each digit of a line, from 0: they end where there is much room."""
    height = float(np.median(boxes[:, 3] - boxes[:, 1]))
    gaps = boxes[1:, 0] - np.maximum.accumulate(boxes[:, 2])[:-1]
    return [0, *np.cumsum(gaps > MAX_GAP * height).tolist()]


def find_columns(boxes: Boxes) -> Int[np.ndarray, "n"]:
    """Returns the column of each digit, from 0: between two columns stands no digit of any line.

    Columns may lean, all alike: as far as leaves most room between them.
    """
    x, y = boxes[:, 0::2], boxes[:, 1::2].mean(axis=1, keepdims=True)
    spans = min((x - slant * y for slant in SLANTS), key=lambda spans: int(_mark_covered(spans).sum()))
    starts = [first for first, _ in find_runs(_mark_covered(spans))]
    return np.searchsorted(starts, spans.mean(axis=1) - spans.min(), side="right") - 1


def _mark_covered(spans: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, "width"]:
    """Marks the pixels, from the leftmost on, at which a digit stands in any line."""
    first, last = np.rint(spans - spans.min()).astype(int).T
    steps = np.zeros(last.max() + 2, int)
    np.add.at(steps, first, 1)
    np.add.at(steps, last + 1, -1)
    return np.cumsum(steps) > 0
