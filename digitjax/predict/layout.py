"""How digits stand on a page: in lines, in numbers, in the columns of a table."""

import numpy as np
from jaxtyping import Float, Int

Boxes = Float[np.ndarray, "n 4"]
"""Left, top, right and bottom of each digit, in pixels."""

# Neighbours in a line share at least this much of the lower one's height.
MIN_SHARED = 0.45

# Wider gaps, in heights of a line's digits, stand between two numbers.
MAX_GAP = 1.2

# Between two columns of a table there is at least this much room, in heights of a digit, in all lines.
MIN_COLUMN_GAP = 0.25

# How far columns may lean: pixels sideways per pixel of height.
SLANTS = np.linspace(-0.1, 0.1, 41)


def group_lines(boxes: Boxes) -> list[list[int]]:
    """Returns the indices of the digits of each line, from top to bottom and from left to right.

    On a page that is turned a little each digit still overlaps with its neighbours in height.
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
    """Returns the height that two boxes share, as a fraction of the lower one's."""
    shared = min(a[3], b[3]) - max(a[1], b[1])
    return float(shared / max(min(a[3] - a[1], b[3] - b[1]), 1e-3))


def split_numbers(boxes: Boxes) -> list[int]:
    """Returns for each digit of a line which of the line's numbers it belongs to, from 0."""
    height = float(np.median(boxes[:, 3] - boxes[:, 1]))
    gaps = boxes[1:, 0] - np.maximum.accumulate(boxes[:, 2])[:-1]
    return [0, *np.cumsum(gaps > MAX_GAP * height).tolist()]


def find_columns(boxes: Boxes) -> Int[np.ndarray, "n"]:
    """Returns the column of each digit of a page, from 0: no line has a digit between two columns.

    Columns may lean, all alike. Of all slants the one counts that leaves most room between them.
    """
    x, y = boxes[:, 0::2], boxes[:, 1::2].mean(axis=1, keepdims=True)
    room = MIN_COLUMN_GAP * float(np.median(boxes[:, 3] - boxes[:, 1]))
    columns = [_divide(x - slant * y, room) for slant in SLANTS]
    return max(columns, key=lambda pair: pair[0])[1]


def _divide(spans: Float[np.ndarray, "n 2"], room: float) -> tuple[float, Int[np.ndarray, "n"]]:
    """Returns the total width of the gaps between spans that are wider than `room`, and each span's place among them."""
    order = np.argsort(spans[:, 0], kind="stable")
    gaps = spans[order[1:], 0] - np.maximum.accumulate(spans[order, 1])[:-1]
    columns = np.empty(len(spans), int)
    columns[order] = [0, *np.cumsum(gaps > room)]
    return float(gaps[gaps > room].sum()), columns
