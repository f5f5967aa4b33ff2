"""Cuts strokes where digits may touch: rather too often than too rarely, for the recognizer chooses."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int

from digitjax.pictures.shapes import find_runs, ink_box, measure_stroke_width

# A cut through more ink than this, in widths of the stroke, isn't where digits touch: the two sides of a 0 are 2.
# Chosen by `benchmarks/composed.py --fit`.
MAX_CUT = 1.3

# What a cut along a shared wall counts for, in widths of the stroke: two notches in line are a strong hint.
NOTCH_COST = 0.2

# Pieces narrower than this, in heights of the row, aren't cut off.
MIN_PIECE = 0.2


class Atom(NamedTuple):
    """What isn't cut any further."""

    mask: Bool[np.ndarray, "h w"]
    cut_left: float  # how much ink was cut, in widths of the stroke; 0 where it ends by itself
    cut_right: float


def cut_touching(mask: Bool[np.ndarray, "h w"], row_height: float) -> list[Atom]:
    """Cuts a component where digits may touch, from the left to the right.

    A cut is a path from top to bottom, at most one pixel sideways a row, that crosses little ink: for each place in the
    middle row the cheapest path through it is found by dynamic programming, and the local minima are taken.
    """
    left, top, right, bottom = ink_box(mask)
    part = mask[top:bottom, left:right]
    height, width = part.shape
    if width < 0.65 * row_height:
        return [Atom(mask, 0, 0)]
    cost = part.astype(np.float32) + 0.02
    above, back_above = _cheapest_paths(cost[: height // 2 + 1])
    below, back_below = _cheapest_paths(cost[height // 2 :][::-1])
    through = above + below - cost[height // 2]
    stroke_width = measure_stroke_width(part)
    cuts = _find_notches(part, row_height)
    distance = max(2, round(MIN_PIECE * row_height))
    blocked = [int(path[height // 2]) for path, _ in cuts]
    for column in _local_minima(through, MAX_CUT * stroke_width, distance, blocked):
        upper, lower = _trace(back_above, column), _trace(back_below, column)
        path = np.concatenate([upper[::-1], lower[1:]])
        cuts.append((path, max(0.5, float(through[column]) / stroke_width)))
    cuts.sort(key=lambda cut: int(cut[0][height // 2]))
    paths = [path for path, _ in cuts]
    costs = [0.0, *(cost for _, cost in cuts), 0.0]
    if not paths:
        return [Atom(mask, 0, 0)]
    # Each pixel's piece is the number of cuts left of it.
    order = sum((np.arange(width)[None] >= path[:, None]).astype(np.int32) for path in paths)
    pieces = []
    for number in range(len(paths) + 1):
        piece = np.zeros_like(mask)
        piece[top:bottom, left:right] = part & (order == number)
        if piece.any():
            pieces.append(Atom(piece, costs[number], costs[number + 1]))
    return pieces


def _find_notches(part: Bool[np.ndarray, "h w"], row_height: float) -> list[tuple[Int[np.ndarray, "h"], float]]:
    """Returns straight cuts from a notch in the upper outline to one in the lower, with their cost.

    Round digits that touch side by side, such as 00, share a wall: the right cut runs along it, and a cheap path evades
    it into one of the digits.
    """
    height = len(part)
    upper = np.where(part.any(axis=0), part.argmax(axis=0), height)
    lower = np.where(part.any(axis=0), part[::-1].argmax(axis=0), height)
    top_notches, bottom_notches = (_find_peaks(outline, row_height) for outline in (upper, lower))
    cuts = list[tuple[Int[np.ndarray, "h"], float]]()
    for top in top_notches:
        bottom = min(bottom_notches, key=lambda column: abs(column - top), default=None)
        if bottom is None or abs(bottom - top) > 0.35 * row_height:
            continue
        path = np.interp(
            np.arange(height), [upper[top], max(upper[top] + 1, height - 1 - lower[bottom])], [top, bottom]
        )
        if not cuts or path[height // 2] - cuts[-1][0][height // 2] >= MIN_PIECE * row_height:
            cuts.append((np.rint(path).astype(np.int64), NOTCH_COST))
    return cuts


def _find_peaks(outline: Int[np.ndarray, "w"], row_height: float) -> list[int]:
    """Returns the middles of peaks that are narrower than 0.8 and higher than 0.1 of the row's height (a top-hat)."""
    window = 2 * max(1, round(0.4 * row_height)) + 1
    line = outline.astype(np.float32)[None]
    hat = cv2.morphologyEx(line, cv2.MORPH_TOPHAT, np.ones((1, window), np.uint8))[0]
    peaks = []
    for first, last in find_runs(hat >= 0.1 * row_height):
        if first > 0 and last < len(outline):
            highest = first + np.flatnonzero(line[0, first:last] == line[0, first:last].max())
            peaks.append(int(highest[len(highest) // 2]))
    return peaks


def _cheapest_paths(cost: Float32[np.ndarray, "h w"]) -> tuple[Float32[np.ndarray, "w"], Int[np.ndarray, "h w"]]:
    """Returns the cost of the cheapest path from the first row to each pixel of the last, and the steps back."""
    height, width = cost.shape
    total = cost[0]
    steps = np.zeros((height, width), np.int64)
    for y in range(1, height):
        padded = np.pad(total, 1, constant_values=np.inf)
        choices = np.stack([padded[1:-1], padded[:-2] + 0.02, padded[2:] + 0.02])
        best = choices.argmin(axis=0)
        steps[y] = np.array([0, -1, 1])[best]
        total = np.take_along_axis(choices, best[None], 0)[0] + cost[y]
    return total, steps


def _trace(steps: Int[np.ndarray, "h w"], column: int) -> Int[np.ndarray, "h"]:
    """Follows a path back from the last row; returns its columns, the last row's first."""
    columns = [column]
    for y in range(len(steps) - 1, 0, -1):
        columns.append(columns[-1] + int(steps[y, columns[-1]]))
    return np.array(columns)


def _local_minima(values: Float32[np.ndarray, "w"], limit: float, distance: int, taken: Sequence[int]) -> list[int]:
    """Returns the columns with the lowest values up to the limit.

    None lies within `distance` of another, of those that are taken, or of the ends.
    """
    chosen: list[int] = []
    blocked = np.zeros(len(values), bool)
    blocked[:distance], blocked[-distance:] = True, True
    for column in taken:
        blocked[max(0, column - distance) : column + distance + 1] = True
    while True:
        free = np.where(blocked, np.inf, values)
        column = int(free.argmin())
        if free[column] > limit:
            return sorted(chosen)
        equal = np.flatnonzero(free == free[column])  # of a plateau the middle
        run = equal[(equal >= column) & (equal <= column + distance)]
        column = int(run[len(run) // 2])
        chosen.append(column)
        blocked[max(0, column - distance) : column + distance + 1] = True
