"""Measures images and masks: boxes, components, runs, rims and stroke widths."""

import cv2
import numpy as np
from jaxtyping import Bool, Int32, Shaped, UInt8

Box = tuple[int, int, int, int]
"""A bounding box in pixels: left, top, right, bottom; the last two are exclusive."""


def label_components(mask: Bool[np.ndarray, "h w"]) -> tuple[Int32[np.ndarray, "h w"], Int32[np.ndarray, "n 5"]]:
    """Returns each pixel's component, 0 for background, and each component's left, top, width, height and area.

    The background has zeros.
    """
    _, components, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    stats[0] = 0
    return components, stats


def find_runs(marked: Bool[np.ndarray, "n"]) -> list[tuple[int, int]]:
    """Returns the start and the end, exclusive, of each run of marked places."""
    edges = np.flatnonzero(np.diff(np.pad(marked.astype(np.int8), 1)))
    return [(int(first), int(last)) for first, last in zip(edges[::2], edges[1::2], strict=True)]


def measure_stroke_width(mask: Bool[np.ndarray, "h w"]) -> float:
    """Returns the mean stroke width in pixels: four times the mean distance to the edge, as in a strip."""
    area = cv2.countNonZero(mask.view(np.uint8))
    if not area:
        return 0.0
    distance = cv2.distanceTransform(add_margin(mask.view(np.uint8), 1), cv2.DIST_L2, cv2.DIST_MASK_5)
    # The distance is to the centre of the nearest background pixel, half a pixel beyond the edge.
    return 4 * (cv2.sumElems(distance)[0] / area - 0.5)


def rim_pixels(image: Shaped[np.ndarray, "h w"], width: int = 1) -> Shaped[np.ndarray, "n"]:
    """Returns the pixels of an image's `width` outermost rings."""
    inside = image[width:-width]
    return np.concatenate(
        [side.ravel() for side in (image[:width], image[-width:], inside[:, :width], inside[:, -width:])]
    )


def rim_median(image: Shaped[np.ndarray, "h w"], width: int = 1) -> np.float32:
    """Returns the median of `rim_pixels`, the upper one of two; NumPy's takes ten times as long for so few pixels."""
    pixels = rim_pixels(image, width)
    middle = len(pixels) // 2
    return np.float32(np.partition(pixels, middle)[middle])


def add_margin(image: Shaped[np.ndarray, "h w"], width: int) -> Shaped[np.ndarray, "h2 w2"]:
    """Adds zeros on all sides; `np.pad` takes eight times as long for a digit."""
    return cv2.copyMakeBorder(image, width, width, width, width, cv2.BORDER_CONSTANT)


def ink_box(mask: Bool[np.ndarray, "h w"]) -> Box:
    """Returns the bounding box of the marked pixels; there must be at least one."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return left, top, left + width, top + height


def disk(diameter: int) -> UInt8[np.ndarray, "d d"]:
    """Returns a round brush for dilating and eroding."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter))
