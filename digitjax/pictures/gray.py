"""Arrays -> brightness: finds the values of black and white, resolves colour and transparency, reduces the size.

The whole package raises `ImageError` for pictures that it can't read.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, Shaped
from numpy.typing import NDArray

from digitjax.config import DigitjaxError
from digitjax.pictures.shapes import ink_box

# Pictures are reduced band by band; bands of this many pixels fit in the processor's cache.
BAND_PIXELS = 1 << 18

# The types that OpenCV computes with; others become float32.
CV_TYPES = (np.uint8, np.uint16, np.float32)

# The values of white in integer arrays: in masks, and with 8, 10, 12, 14 and 16 bits.
FULL_SCALES = (1, 255, 1023, 4095, 16383, 65535)

# Resizing may push floats beyond black and white by this share of the scale.
OVERSHOOT = 0.25

# Standardised pixels (mean 0, standard deviation 1) are no further from 0 than this.
MAX_STANDARDISED = 10.0

# More than any sensor's values, and far below float32's limit.
MAX_FLOAT = 1e30

# A picture with transparent parts is a page rather than bare ink if its opaque part fills more than this share of its
# bounding box, with a larger standard deviation than this (white is 255).
PAGE_SHARE, PAGE_CONTRAST = 0.7, 12.5

# Grey is how people see ink, and has the least noise. But if it keeps less than this share of the contrast of the best
# colour channel (yellow on white, blue on black), that channel is used.
GRAY_SHARE, CONTRAST_ROWS = 0.4, 64  # this many rows are enough to decide


class ImageError(DigitjaxError):
    """A picture that can't be read."""


def read_gray(
    read_band: Callable[[int, int], NDArray[Any]], size: tuple[int, int], max_size: int
) -> Float32[np.ndarray, "h w"]:
    """Reads the brightness and reduces it band by band, so that memory never holds a second full-size picture.

    Args:
      read_band: Returns the rows from a start to an end, exclusive, as [rows, w] or [rows, w, channels].
      size: Width and height.
      max_size: The longest that a side may be.
    """
    width, height = size
    across, down = reduction(size, max_size)
    rows = max(1, BAND_PIXELS // (width * down)) * down
    bands, lowest, highest = [], np.float64(np.inf), np.float64(-np.inf)
    for top in range(0, height, rows):
        band = read_band(top, min(height, top + rows))
        lowest, highest = np.minimum(lowest, band.min()), np.maximum(highest, band.max())  # both propagate NaN
        dtype = band.dtype
        if dtype not in CV_TYPES:
            with np.errstate(over="ignore"):
                band = band.astype(np.float32)
        if len(band) >= down:
            bands.append(shrink(band, across, down))
    black, white = find_levels(dtype, float(lowest), float(highest))
    array = bands[0] if len(bands) == 1 else np.concatenate(bands)
    if (black, white) != (0, 255) or lowest < 0 or highest > 255:
        array = ((array.astype(np.float32) - np.float32(black)) * np.float32(255 / (white - black))).clip(0, 255)
    return _to_gray(array)


def find_levels(dtype: np.dtype[Any], lowest: float, highest: float) -> tuple[float, float]:
    """Returns the values of black and white, given an array's type and range.

    For integers, black is 0 and white is the smallest of `FULL_SCALES` that covers all values. Floats are in 0..1,
    0..255 or 0..65535, perhaps pushed slightly beyond by resizing; in -1..1; or standardised, where the lowest is black
    and the highest white.

    Raises:
      ImageError: The values are none of these; the message says what is allowed.
    """
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise ImageError("pixels must be finite numbers, found NaN or infinity")
    if dtype.kind in "bui":
        if lowest < 0:
            raise ImageError(f"whole numbers must not be negative, found {lowest:g}")
        return 0, next((scale for scale in FULL_SCALES if highest <= scale), highest)
    if lowest >= -1 - OVERSHOOT and highest <= 1 + OVERSHOOT:
        return (-1 if lowest < -OVERSHOOT else 0), 1
    if lowest < 0 and max(-lowest, highest) <= MAX_STANDARDISED:
        return lowest, max(highest, lowest + 1)  # they may all be equal
    white = next((scale for scale in (255, 65535) if highest <= (1 + OVERSHOOT) * scale), highest)
    if lowest < -OVERSHOOT * white or highest > MAX_FLOAT:
        raise ImageError(
            f"floats must be in 0..1, -1..1, 0..255 or 0..65535, found {lowest:g} to {highest:g}; "
            "(x - x.min()) / (x.max() - x.min()) brings them to 0..1"
        )
    return 0, white


def reduction(size: tuple[int, int], max_size: int) -> tuple[int, int]:
    """Returns how many pixels, across and down, to merge so that no side exceeds `max_size`; at least one is left."""
    factor = -(-max(size) // max_size)
    across, down = (side // max(1, side // factor) for side in size)
    return across, down


def shrink(image: Shaped[np.ndarray, "h w *channels"], across: int, down: int) -> Shaped[np.ndarray, "h2 w2 *rest"]:
    """Averages over blocks of whole pixels, ten times as fast as over fractions; leftover pixels are cut off."""
    if across == down == 1:
        return image
    height, width = image.shape[0] // down, image.shape[1] // across
    whole = image[: height * down, : width * across]
    return cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)


def _to_gray(array: Shaped[np.ndarray, "h w *channels"]) -> Float32[np.ndarray, "h w"]:
    """Returns the brightness of an array that may have colour and transparency.

    Args:
      array: [h, w], [h, w, 1], [h, w, 3] or [h, w, 4], 0 to 255.
    """
    if array.ndim == 3:
        array = array[..., 0] if array.shape[2] == 1 else _mix_channels(_resolve_alpha(array))
    return array.astype(np.float32)


def _resolve_alpha(array: Shaped[np.ndarray, "h w channels"]) -> Shaped[np.ndarray, "h w 3"]:
    """Puts ink on white, or on black if the ink is light; extends a page with transparent margins by its own paper."""
    if array.shape[2] == 3:
        return array
    color, alpha = array[..., :3].astype(np.float32), array[..., 3].astype(np.float32) / 255
    is_opaque = alpha > 0.5
    ground = np.float32(255)
    if is_opaque.any() and not is_opaque.all():
        opaque = cv2.cvtColor(color, cv2.COLOR_RGB2GRAY)[is_opaque]
        left, top, right, bottom = ink_box(is_opaque)
        if len(opaque) > PAGE_SHARE * (right - left) * (bottom - top) and np.std(opaque) > PAGE_CONTRAST:
            ground = np.median(opaque)
        elif np.mean(opaque) > 127:
            ground = np.float32(0)
    return color * alpha[..., None] + ground * (1 - alpha[..., None])


def _mix_channels(color: Shaped[np.ndarray, "h w 3"]) -> Shaped[np.ndarray, "h w"]:
    """Returns grey, or the colour channel with the most contrast if grey hardly shows the ink."""
    color = np.ascontiguousarray(color)
    gray = cv2.cvtColor(color, cv2.COLOR_RGB2GRAY)
    step = max(1, len(gray) // CONTRAST_ROWS)
    gray_contrast, contrasts = (cv2.meanStdDev(x[::step])[1] for x in (gray, color))
    if gray_contrast.max() < GRAY_SHARE * contrasts.max():
        return color[..., int(contrasts.argmax())]
    return gray
