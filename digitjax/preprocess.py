"""Any picture of a digit -> the 28x28 image that MNIST's makers would have drawn of it.

MNIST's digits are light ink on a dark ground, scaled to fit a box of 20x20 pixels with their aspect kept, and placed in
28x28 so that their centre of mass is in the middle (http://yann.lecun.com/exdb/mnist/). Library, command line and demo
all come through `preprocess_image`, so what a user sees is what the model sees.
"""

import contextlib
import io
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from digitjax.config import DigitjaxError

SIZE, BOX = 28, 20

# Where MNIST's centres of mass lie, in y and in x, counting from the edge: over the test images 14.5, spread evenly
# over one pixel, since its makers moved the drawings by whole pixels.
MASS_CENTER = 14.5

MAX_PIXELS = 100_000_000

# No picture is worked on larger than this: a stroke of a digit that fills it is still some 40 pixels wide.
WORK_SIZE = 512

# Ink fainter than this against its ground, on a scale of 255, is taken for noise of the camera or of JPEG.
MIN_CONTRAST = 24.0


@runtime_checkable
class BinaryFile(Protocol):
    """A file object opened for reading bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """Returns the next bytes, or all that are left."""


ImageSource = str | PathLike[str] | bytes | BinaryFile | Image.Image | NDArray[Any]
"""A picture: path, encoded bytes, binary file object, PIL image, or array.

Arrays are [h, w], [h, w, 1], [h, w, 3] or [h, w, 4] (RGB, RGBA); integers in 0..255 (uint16: 0..65535), floats in 0..1
or 0..255, or booleans.
"""


class ImageError(DigitjaxError):
    """A picture that can't be read."""


class PreprocessedImage(NamedTuple):
    """What the model gets to see of a picture."""

    canonical: UInt8[np.ndarray, "28 28"]  # light ink on a dark ground; all zero where there is no ink
    box: tuple[int, int, int, int] | None  # left, top, right, bottom of the ink in the picture's pixels; None: no ink


def preprocess_image(image: ImageSource) -> PreprocessedImage:
    """Finds the ink of a picture and draws it as MNIST does.

    Either polarity will do, and light or dark ink on a transparent ground. A picture that is 28x28 and drawn as MNIST's
    already comes back as it is.

    Raises:
      ImageError: The picture can't be read; the message says why.
    """
    gray = load_gray(image)
    height, width = gray.shape
    ink = _extract_ink(gray)
    if ink.shape == (SIZE, SIZE) and _is_canonical(ink):
        left, top, right, bottom = _ink_box(ink > 0)
        return PreprocessedImage(ink.round().astype(np.uint8), (left, top, right, bottom))
    scale = WORK_SIZE / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        ink = _extract_ink(cv2.resize(gray, size, interpolation=cv2.INTER_AREA))
    ink = _clean(ink)
    if not ink.any():
        return PreprocessedImage(np.zeros((SIZE, SIZE), np.uint8), None)
    left, top, right, bottom = _ink_box(ink > 0)
    x_scale, y_scale = width / ink.shape[1], height / ink.shape[0]
    box = (
        int(left * x_scale),
        int(top * y_scale),
        min(width, int(np.ceil(right * x_scale))),
        min(height, int(np.ceil(bottom * y_scale))),
    )
    return PreprocessedImage(draw_canonical(ink), box)


# ---------------------------------------------------------------- from any source to gray


def load_gray(image: ImageSource) -> Float32[np.ndarray, "h w"]:
    """Reads a picture upright, as brightness from 0 (black) to 255 (white), transparency resolved.

    Raises:
      ImageError: The picture can't be read; the message says why.
    """
    if isinstance(image, np.ndarray):
        return _gray_from_array(image)
    if isinstance(image, Image.Image):
        with _pillow_errors():  # Pillow may not have decoded it yet
            return _gray_from_pil(image)
    if isinstance(image, bytes):
        return _decode(io.BytesIO(image))
    if isinstance(image, str | PathLike):
        try:
            with Path(image).open("rb") as file:
                return _decode(file)
        except OSError as error:
            raise ImageError(f"{image}: can't be opened: {error.strerror or error}") from None
        except ImageError as error:
            raise ImageError(f"{image}: {error}") from None
    if isinstance(image, BinaryFile):
        return _decode(io.BytesIO(image.read()))
    raise ImageError(f"a picture must be a path, bytes, a file, a PIL image or an array, found {type(image).__name__}")


def _decode(file: Any) -> Float32[np.ndarray, "h w"]:
    with _pillow_errors(), Image.open(file) as image:
        return _gray_from_pil(image)


@contextlib.contextmanager
def _pillow_errors() -> Iterator[None]:
    try:
        yield
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("is not an image in a format that Pillow reads") from None
    except Exception as error:  # noqa: BLE001 - Pillow's decoders raise whatever a broken file makes them stumble over
        raise ImageError(f"can't be decoded: {error}") from None


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"has {width}x{height} pixels, more than the {MAX_PIXELS:,} allowed")


def _gray_from_pil(image: Image.Image) -> Float32[np.ndarray, "h w"]:
    _check_size(*image.size)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        return _gray_from_array(np.asarray(image).astype(np.uint16))
    if image.mode in ("I", "F"):
        return _gray_from_array(np.asarray(image).astype(np.float32))
    if image.has_transparency_data:
        return _gray_from_array(np.asarray(image.convert("RGBA")))
    return _gray_from_array(np.asarray(image.convert("L")))


def _gray_from_array(array: NDArray[Any]) -> Float32[np.ndarray, "h w"]:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(f"an array must be [h, w], [h, w, 1], [h, w, 3] or [h, w, 4], found shape {array.shape}")
    if array.size == 0:
        raise ImageError(f"has no pixels: shape {array.shape}")
    if array.dtype.kind not in "buif":
        raise ImageError(f"an array must hold numbers, found {array.dtype}")
    _check_size(array.shape[1], array.shape[0])
    values = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise ImageError("an array must hold finite numbers, found NaN or infinity")
    if values.min() < 0:
        raise ImageError(f"an array must not hold negative numbers, found {values.min():g}")
    values *= 255 / _white(array.dtype, float(values.max()))
    if values.ndim == 2:
        return values
    if values.shape[2] == 1:
        return values[..., 0]
    gray = cv2.cvtColor(np.ascontiguousarray(values[..., :3]), cv2.COLOR_RGB2GRAY)
    return gray if values.shape[2] == 3 else _flatten_alpha(gray, values[..., 3] / 255)


def _white(dtype: np.dtype[Any], maximum: float) -> float:
    """The value that stands for white; arrays say so by their type and, for wide types, by their largest value."""
    if dtype.kind == "b" or (dtype.kind == "f" and maximum <= 1):
        return 1.0
    if dtype == np.uint16 or maximum > 255:
        return max(65535.0, maximum)
    return 255.0


def _flatten_alpha(gray: Float32[np.ndarray, "h w"], alpha: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Puts a picture on white, or on black where what is opaque is light."""
    weight = float(alpha.sum())
    ground = 0.0 if weight > 0 and float((gray * alpha).sum()) / weight > 128 and alpha.min() < 0.5 else 255.0
    return gray * alpha + ground * (1 - alpha)


# ---------------------------------------------------------------- from gray to ink


def _extract_ink(gray: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Returns how much each pixel stands out from the ground, 0 to 255: the ground is what the border shows."""
    rim = np.concatenate([gray[0], gray[-1], gray[1:-1, 0], gray[1:-1, -1]])
    ground = float(np.median(rim))
    darker, lighter = np.maximum(ground - gray, 0), np.maximum(gray - ground, 0)
    return darker if darker.sum() > lighter.sum() else lighter


def _clean(ink: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Sets noise and specks to 0 and the pen's full ink to 255."""
    strongest = float(ink.max())
    if strongest < MIN_CONTRAST:
        return np.zeros_like(ink)
    levels = (ink * (255 / strongest)).astype(np.uint8)
    threshold, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    mask = levels > threshold / 2  # half of Otsu's, to keep the stroke's soft edge
    count, components, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    kept = 1 + np.flatnonzero(areas >= max(2, 0.03 * areas.max(initial=0)))
    mask = np.isin(components, kept) if count > 1 else mask
    full = float(np.percentile(ink[mask], 90)) if mask.any() else 1.0
    return np.where(mask, np.minimum(ink * (255 / full), 255), 0).astype(np.float32)


def _ink_box(mask: Bool[np.ndarray, "h w"]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


# ---------------------------------------------------------------- from ink to MNIST's drawing


def draw_canonical(ink: Float32[np.ndarray, "h w"]) -> UInt8[np.ndarray, "28 28"]:
    """Draws ink as MNIST's makers did: its box scaled to 20x20, its centre of mass put in the middle of 28x28.

    Args:
      ink: Light ink on ground of exactly 0, on a scale of 0 to 255; at least one pixel of ink.
    """
    left, top, right, bottom = _ink_box(ink > 0)
    ink = ink[top:bottom, left:right]
    height, width = ink.shape
    scale = BOX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(ink, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    small = np.clip(small, 0, 255)
    small *= 255 / max(float(small.max()), 1e-6)  # a thin stroke grows pale when it shrinks; MNIST's never are
    y, x = (_placement(small, axis) for axis in (0, 1))
    canonical = np.zeros((SIZE, SIZE), np.uint8)
    canonical[y : y + size[1], x : x + size[0]] = small.round().astype(np.uint8)
    return canonical


def _placement(small: Float32[np.ndarray, "h w"], axis: int) -> int:
    """Where the small drawing begins, so that its centre of mass is in the middle and none of it is cut."""
    profile = small.sum(axis=1 - axis)
    center = float((profile * (np.arange(len(profile)) + 0.5)).sum() / profile.sum())
    return int(np.clip(round(MASS_CENTER - center), 0, SIZE - len(profile)))


def _is_canonical(ink: Float32[np.ndarray, "28 28"]) -> bool:
    """Whether a 28x28 image is drawn as MNIST draws: in a box of 20x20, centre of mass in the middle."""
    if ink.max() < 128:
        return False
    left, top, right, bottom = _ink_box(ink > 0)
    if max(right - left, bottom - top) > BOX:
        return False
    total = ink.sum()
    places = np.arange(SIZE) + 0.5
    center_y, center_x = (ink.sum(axis=1) * places).sum() / total, (ink.sum(axis=0) * places).sum() / total
    return bool(max(abs(center_y - MASS_CENTER), abs(center_x - MASS_CENTER)) < 1)
