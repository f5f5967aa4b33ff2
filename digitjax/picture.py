"""Any picture -> brightness, upright: files of every format, PIL images, arrays; transparency and colour resolved."""

import contextlib
import io
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from digitjax.config import DigitjaxError

MAX_PIXELS = 100_000_000

# Grey is how people see ink, and has the least noise. Where it keeps less than this share of the contrast of the best
# of red, green and blue (yellow on white, blue on black), that channel is taken.
GRAY_SHARE = 0.4

EXIF_ORIENTATION, EXIF_LYING = 0x0112, range(5, 9)


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


# ---------------------------------------------------------------- from any source to gray


class Picture(NamedTuple):
    """The brightness of a picture, reduced in size where it was large."""

    gray: Float32[np.ndarray, "h w"]  # 0 (black) to 255 (white)
    width: int  # of the picture as it came, upright, in pixels
    height: int

    def to_source(self, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """Returns a box (left, top, right, bottom) of `gray` in the picture's own pixels."""
        left, top, right, bottom = box
        x_scale, y_scale = self.width / self.gray.shape[1], self.height / self.gray.shape[0]
        return (
            int(left * x_scale),
            int(top * y_scale),
            min(self.width, int(np.ceil(right * x_scale))),
            min(self.height, int(np.ceil(bottom * y_scale))),
        )


def load_gray(image: ImageSource) -> Float32[np.ndarray, "h w"]:
    """Reads a picture upright and in full size, as brightness from 0 (black) to 255 (white), transparency resolved.

    Raises:
      ImageError: The picture can't be read; the message says why.
    """
    return load_picture(image, max_size=None).gray


def load_picture(image: ImageSource, max_size: int | None) -> Picture:
    """Reads a picture upright, its longer side reduced to `max_size` pixels where it is longer.

    Raises:
      ImageError: The picture can't be read; the message says why.
    """
    if isinstance(image, np.ndarray):
        return _from_array(image, max_size)
    if isinstance(image, Image.Image):
        with _pillow_errors():  # Pillow may not have decoded it yet
            return _from_pil(image, max_size)
    if isinstance(image, bytes):
        return _decode(io.BytesIO(image), max_size)
    if isinstance(image, str | PathLike):
        try:
            with Path(image).open("rb") as file:
                return _decode(file, max_size)
        except OSError as error:
            raise ImageError(f"{image}: can't be opened: {error.strerror or error}") from None
        except ImageError as error:
            raise ImageError(f"{image}: {error}") from None
    if isinstance(image, BinaryFile):
        return _decode(io.BytesIO(image.read()), max_size)
    raise ImageError(f"a picture must be a path, bytes, a file, a PIL image or an array, found {type(image).__name__}")


def _decode(file: Any, max_size: int | None) -> Picture:
    with _pillow_errors(), Image.open(file) as image:
        _check_size(*image.size)
        width, height = image.size
        if max_size and max(width, height) > max_size:
            share = max_size / max(width, height)
            image.draft(None, (int(width * share), int(height * share)))  # JPEG can skip detail while decoding
        picture = _from_pil(image, max_size)
        if image.getexif().get(EXIF_ORIENTATION) in EXIF_LYING:
            width, height = height, width
        return Picture(picture.gray, width, height)


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


def _from_pil(image: Image.Image, max_size: int | None) -> Picture:
    _check_size(*image.size)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        return _from_array(np.asarray(image).astype(np.uint16), max_size)
    if image.mode in ("I", "F"):
        return _from_array(np.asarray(image).astype(np.float32), max_size)
    if image.has_transparency_data:
        return _from_array(np.asarray(image.convert("RGBA")), max_size)
    return _from_array(np.asarray(image.convert("L" if image.mode in ("L", "1") else "RGB")), max_size)


def _from_array(array: NDArray[Any], max_size: int | None) -> Picture:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(f"an array must be [h, w], [h, w, 1], [h, w, 3] or [h, w, 4], found shape {array.shape}")
    if array.size == 0:
        raise ImageError(f"has no pixels: shape {array.shape}")
    if array.dtype.kind not in "buif":
        raise ImageError(f"an array must hold numbers, found {array.dtype}")
    height, width = array.shape[:2]
    _check_size(width, height)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ImageError("an array must hold finite numbers, found NaN or infinity")
    if array.dtype.kind in "if" and array.min() < 0:
        raise ImageError(f"an array must not hold negative numbers, found {array.min():g}")
    white = _white(array.dtype, float(array.max()))
    values = _reduce(array, max_size).astype(np.float32) * np.float32(255 / white)
    return Picture(_to_gray(values), width, height)


def _reduce(array: NDArray[Any], max_size: int | None) -> NDArray[Any]:
    height, width = array.shape[:2]
    scale = max_size / max(height, width) if max_size else 1.0
    if scale >= 1:
        return array
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    known = array if array.dtype in (np.uint8, np.uint16, np.float32) else array.astype(np.float32)
    return cv2.resize(np.ascontiguousarray(known), size, interpolation=cv2.INTER_AREA)


def _to_gray(values: Float32[np.ndarray, "h w *channels"]) -> Float32[np.ndarray, "h w"]:
    if values.ndim == 2:
        return values
    if values.shape[2] == 1:
        return values[..., 0]
    color = np.ascontiguousarray(values[..., :3])
    gray = cv2.cvtColor(color, cv2.COLOR_RGB2GRAY)
    if values.shape[2] == 4:
        alpha = values[..., 3] / 255
        ground = _choose_ground(gray, alpha)
        color = color * alpha[..., None] + ground * (1 - alpha[..., None])
        gray = gray * alpha + ground * (1 - alpha)
    contrasts = [float(color[..., channel].std()) for channel in range(3)]
    if float(gray.std()) < GRAY_SHARE * max(contrasts):
        return np.ascontiguousarray(color[..., int(np.argmax(contrasts))])
    return gray


def _white(dtype: np.dtype[Any], maximum: float) -> float:
    """The value that stands for white; arrays say so by their type and, for wide types, by their largest value."""
    if dtype.kind == "b" or (dtype.kind == "f" and maximum <= 1):
        return 1.0
    if dtype == np.uint16 or maximum > 255:
        return max(65535.0, maximum)
    return 255.0


def _choose_ground(gray: Float32[np.ndarray, "h w"], alpha: Float32[np.ndarray, "h w"]) -> float:
    """White, or black where what is opaque is light."""
    weight = float(alpha.sum())
    return 0.0 if weight > 0 and float((gray * alpha).sum()) / weight > 128 and alpha.min() < 0.5 else 255.0
