"""Arrays -> brightness: whatever values stand for black and white, colour and transparency resolved, size reduced.

`ImageError` is what all of this room raises.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, Shaped
from numpy.typing import NDArray

from digitjax.config import DigitjaxError

# Pictures are reduced band by band; bands of this many pixels stay in the processor's cache.
BAND_PIXELS = 1 << 18

# What OpenCV computes with; other types become float32.
CV_TYPES = (np.uint8, np.uint16, np.float32)

# What these types hold needs no check.
LARGEST = {np.dtype(bool): 1.0, np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}

# More than any sensor's numbers, and far from where float32 ends.
MAX_FLOAT = 1e30

# Grey is how people see ink, and has the least noise. Where it keeps less than this share of the contrast of the best
# of red, green and blue (yellow on white, blue on black), that channel is taken.
GRAY_SHARE, CONTRAST_ROWS = 0.4, 64  # so many rows are enough to see that


class ImageError(DigitjaxError):
    """A picture that can't be read."""


def read_gray(
    read_band: Callable[[int, int], NDArray[Any]], size: tuple[int, int], max_size: int
) -> Float32[np.ndarray, "h w"]:
    """Reads the brightness and reduces it band by band, so that there is never a second picture of its size in memory.

    Args:
      read_band: Returns the rows from a first to a last, exclusive, as [rows, w] or [rows, w, channels].
      size: Width and height.
      max_size: What no side shall be longer than.
    """
    width, height = size
    across, down = reduction(size, max_size)
    rows = max(1, BAND_PIXELS // (width * down)) * down
    bands, highest = [], 0.0
    for top in range(0, height, rows):
        band = read_band(top, min(height, top + rows))
        highest = max(highest, _check_values(band))
        dtype = band.dtype
        if dtype not in CV_TYPES:
            band = band.astype(np.float32)
        if len(band) >= down:
            bands.append(shrink(band, across, down))
    array = bands[0] if len(bands) == 1 else np.concatenate(bands)
    return _to_gray(array, _white(dtype, highest))


def reduction(size: tuple[int, int], max_size: int) -> tuple[int, int]:
    """Returns how many pixels, across and down, become one, so that no side is longer; at least one is left."""
    factor = -(-max(size) // max_size)
    across, down = (side // max(1, side // factor) for side in size)
    return across, down


def shrink(image: Shaped[np.ndarray, "h w *channels"], across: int, down: int) -> Shaped[np.ndarray, "h2 w2 *rest"]:
    """Averages over areas of whole pixels, ten times as fast as over any other; what is left over is cut off."""
    if across == down == 1:
        return image
    height, width = image.shape[0] // down, image.shape[1] // across
    whole = image[: height * down, : width * across]
    return cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)


def _check_values(array: NDArray[Any]) -> float:
    """Returns the largest value, of narrow types the largest that they hold.

    Raises:
      ImageError: Some are negative, or no numbers that float32 holds.
    """
    if (largest := LARGEST.get(array.dtype)) is not None:
        return largest
    lowest, highest = float(array.min()), float(array.max())
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise ImageError("pixels must be finite numbers, found NaN or infinity")
    if lowest < 0:
        raise ImageError(f"pixels must not be negative, found {lowest:g}")
    if highest > MAX_FLOAT:
        raise ImageError(f"pixels must be in 0..1, 0..255 or 0..65535, found {highest:g}")
    return highest


def _to_gray(array: Shaped[np.ndarray, "h w *channels"], white: float) -> Float32[np.ndarray, "h w"]:
    """Returns the brightness, 0 to 255, of what may have colour and transparency.

    Args:
      array: [h, w], [h, w, 1], [h, w, 3] or [h, w, 4].
      white: The value that stands for white.
    """
    if array.ndim == 3:
        array = array[..., 0] if array.shape[2] == 1 else _mix_channels(_resolve_alpha(array, white))
    gray = array.astype(np.float32)
    if white != 255:
        gray *= np.float32(255 / white)
    return gray


def _resolve_alpha(array: Shaped[np.ndarray, "h w channels"], white: float) -> Shaped[np.ndarray, "h w 3"]:
    """Puts what is transparent on white, or on black where what is opaque is light."""
    if array.shape[2] == 3:
        return array
    color, alpha = array[..., :3].astype(np.float32), array[..., 3:].astype(np.float32) / np.float32(white)
    weight = float(alpha.sum())
    is_light = (
        weight > 0 and float((cv2.cvtColor(color, cv2.COLOR_RGB2GRAY) * alpha[..., 0]).sum()) / weight > white / 2
    )
    ground = 0.0 if is_light and alpha.min() < 0.5 else white
    return color * alpha + np.float32(ground) * (1 - alpha)


def _mix_channels(color: Shaped[np.ndarray, "h w 3"]) -> Shaped[np.ndarray, "h w"]:
    """Returns grey, or the one channel that shows ink where grey doesn't."""
    color = np.ascontiguousarray(color)
    gray = cv2.cvtColor(color, cv2.COLOR_RGB2GRAY)
    step = max(1, len(gray) // CONTRAST_ROWS)
    gray_contrast, contrasts = (cv2.meanStdDev(x[::step])[1] for x in (gray, color))
    if gray_contrast.max() < GRAY_SHARE * contrasts.max():
        return color[..., int(contrasts.argmax())]
    return gray


def _white(dtype: np.dtype[Any], maximum: float) -> float:
    """The value that stands for white; arrays say so by their type and, for wide types, by their largest value."""
    if dtype.kind == "b" or (dtype.kind == "f" and maximum <= 1):
        return 1.0
    if dtype == np.uint16 or maximum > 255:
        return max(65535.0, maximum)
    return 255.0
