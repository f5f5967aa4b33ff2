"""Finds all digits of a page: looks at it in several sizes, part by part."""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32

from digitjax.config import DIGITS
from digitjax.nn.inference import TrainedModel
from digitjax.nn.reader import STRIDE, UNIT
from digitjax.pictures.normalize import normalize_page
from digitjax.pictures.shapes import rim_median

# A larger picture is reduced by a whole number until no side has more pixels.
MAX_SIDE = 2_600

# A picture is looked at with so many pixels at most, and halved again and again while its longer side has so many.
MAX_PIXELS, MIN_LONGER = 2_400_000, 48

# Smaller ones are enlarged until their shorter side has so many.
MIN_SHORTER = 40

# What goes through the network at once, and how far its parts overlap, in pixels: a digit has room there.
TILE = (160, 320)
OVERLAP = 48

# How high digits may be, in pixels of what is looked at; they are read best in between.
LOWEST, HIGHEST, BEST_HEIGHT = 9.0, 52.0, 24.0

# Of two boxes that share more of the smaller one, the better one is kept.
MAX_SHARED = 0.5

# Lower peaks are noise.
MIN_SCORE = 0.3


class Detections(NamedTuple):
    """Digits that were found, in pixels of the page."""

    boxes: Float32[np.ndarray, "n 4"]  # left, top, right, bottom
    scores: Float32[np.ndarray, "n 10"]  # of each class, 0 to 1


def find_digits(reader: TrainedModel, gray: Float32[np.ndarray, "h w"]) -> Detections:
    """Finds digits of any size, none twice."""
    found = []
    for page, scale in _list_sizes(gray):
        boxes, scores = _detect(reader, page)
        high = np.maximum(boxes[:, 3] - boxes[:, 1], (boxes[:, 2] - boxes[:, 0]) / 2)
        fits = (high > LOWEST) & (high < HIGHEST)
        rank = scores.max(axis=1, initial=0) * (1 - 0.25 * abs(np.log2(high.clip(1) / BEST_HEIGHT)))
        found.append((boxes[fits] / scale, scores[fits], rank[fits]))
    boxes, scores, rank = (np.concatenate(parts) for parts in zip(*found, strict=True))
    kept = _drop_overlaps(boxes, rank)
    return Detections(boxes[kept], scores[kept])


def _list_sizes(gray: Float32[np.ndarray, "h w"]) -> Iterator[tuple[Float32[np.ndarray, "h2 w2"], float]]:
    """Yields a page in the sizes that it is looked at, and what each is of its own size."""
    height, width = gray.shape
    scale = min(max(1, MIN_SHORTER / min(height, width)), (MAX_PIXELS / (height * width)) ** 0.5)
    while True:
        size = max(1, round(scale * width)), max(1, round(scale * height))
        yield cv2.resize(gray, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC), scale
        scale /= 2
        if scale * max(height, width) < MIN_LONGER:
            return


def _detect(reader: TrainedModel, page: Float32[np.ndarray, "h w"]) -> Detections:
    """Finds digits of one size: where the best class of a place is above its neighbours."""
    heads = _apply_in_tiles(reader, page)
    height, width = page.shape
    best = heads[..., : len(DIGITS)].max(axis=-1)
    is_peak = (best == cv2.dilate(best, np.ones((3, 3), np.uint8))) & (best > np.log(MIN_SCORE / (1 - MIN_SCORE)))
    y, x = np.nonzero(is_peak)
    at_peaks = heads[y, x]
    left, top, right, bottom = (UNIT * at_peaks[:, len(DIGITS) :]).clip(0.5).T
    x, y = (x + 0.5) * STRIDE, (y + 0.5) * STRIDE
    boxes = np.stack([x - left, y - top, x + right, y + bottom], axis=1).clip(0, [width, height, width, height])
    return Detections(boxes.astype(np.float32), 1 / (1 + np.exp(-at_peaks[:, : len(DIGITS)])))


def _apply_in_tiles(reader: TrainedModel, page: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h4 w4 14"]:
    """Returns the network's output for a page of any size, from overlapping tiles of one size; blank ones are skipped.

    Each tile gives what is nearer to its middle than to another's.
    """
    (height, width), (high, wide) = page.shape, TILE
    rows, columns = (_place_tiles(length, tile) for length, tile in ((height, high), (width, wide)))
    padding = ((0, max(0, high - height)), (0, max(0, wide - width)))
    padded = np.pad(page, padding, constant_values=rim_median(page))
    padded = normalize_page(padded)
    heads = np.full((padded.shape[0] // STRIDE, padded.shape[1] // STRIDE, len(DIGITS) + 4), -10, np.float32)
    for top, first_row, last_row in rows:
        for left, first_column, last_column in columns:
            tile = padded[top : top + high, left : left + wide]
            if tile.max() - tile.min() < 1:
                continue
            output = np.asarray(reader.apply(tile[None, ..., None]))[0]
            inside = np.s_[first_row:last_row, first_column:last_column]
            heads[inside] = output[first_row - top // STRIDE : last_row - top // STRIDE,
                                   first_column - left // STRIDE : last_column - left // STRIDE]  # fmt: skip
    return heads[: -(-height // STRIDE), : -(-width // STRIDE)]


def _place_tiles(length: int, tile: int) -> list[tuple[int, int, int]]:
    """Returns where tiles begin along an axis, in pixels, and which places, from first to last, each of them gives."""
    length = max(length // STRIDE * STRIDE, tile)
    count = 1 + max(0, -(-(length - tile) // (tile - OVERLAP)))
    starts = np.linspace(0, length - tile, count) // STRIDE * STRIDE
    seams = [0, *((starts[1:] + starts[:-1] + tile) / 2 // STRIDE), length // STRIDE]
    return [(int(start), int(a), int(b)) for start, a, b in zip(starts, seams[:-1], seams[1:], strict=True)]


def _drop_overlaps(boxes: Float32[np.ndarray, "n 4"], rank: Float[np.ndarray, "n"]) -> list[int]:
    """Returns which boxes are kept, the best first (non-maximum suppression)."""
    low, high = boxes[:, :2], boxes[:, 2:]
    areas = np.prod(high - low, axis=1)
    kept: list[int] = []
    free: Bool[np.ndarray, n] = np.ones(len(boxes), bool)
    for i in np.argsort(-rank, kind="stable"):
        if free[i]:
            kept.append(int(i))
            shared = np.prod((np.minimum(high, high[i]) - np.maximum(low, low[i])).clip(0), axis=1)
            free &= shared <= MAX_SHARED * np.minimum(areas, areas[i])
    return kept
