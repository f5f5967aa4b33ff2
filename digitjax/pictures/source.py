"""Any picture -> brightness, upright: opens common files, PIL images and arrays."""

import base64
import contextlib
import io
import math
import stat
import warnings
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable
from urllib.parse import unquote_to_bytes

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from digitjax.pictures import pdf
from digitjax.pictures.gray import ImageError, read_gray, reduction
from digitjax.pictures.shapes import Box

MAX_PIXELS, MAX_SIDE = 100_000_000, 100_000

# Flat arrays are square pictures with at least this many pixels a side, as scikit-learn's digits have.
MIN_FLAT_SIDE = 8

# Pillow reads more, but it runs PostScript files, and its DDS decoder, in Python, takes two minutes for 100 megapixels.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO", "TGA")

# The brands that HEIC files start with, and their suffixes; reading them needs an extra package.
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
HEIC_SUFFIXES = (".heic", ".heif", ".hif")

# Decoding these takes 15 to 25 bytes per pixel, others 4 to 9: allowing fewer pixels keeps it below 1 GiB.
DEMANDING_FORMATS = {"WEBP": 60_000_000, "JPEG2000": 40_000_000, "HEIF": 60_000_000}

# EXIF's orientations are a transpose, then a flip of the rows, then a flip of the columns.
EXIF_ORIENTATION = 0x0112
EXIF_TRANSPOSED, EXIF_FLIPPED, EXIF_MIRRORED = (5, 6, 7, 8), (3, 4, 7, 8), (2, 3, 6, 7)


@runtime_checkable
class BinaryFile(Protocol):
    """A file object opened for reading bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """Returns the next bytes, or all that are left."""


@runtime_checkable
class ArrayLike(Protocol):
    """Anything that NumPy takes for an array, such as JAX's and PyTorch's arrays."""

    def __array__(self, *args: Any, **kwargs: Any) -> NDArray[Any]:
        """Returns the same numbers as a NumPy array."""


@runtime_checkable
class DLPackArray(Protocol):
    """An array from any library that supports DLPack."""

    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any:
        """Returns a capsule that NumPy can read."""


ImageSource = (
    str | PathLike[str] | bytes | bytearray | memoryview | BinaryFile | Image.Image
    | NDArray[Any] | ArrayLike | DLPackArray | Sequence[Any] | Mapping[str, Any]
)  # fmt: skip
"""A picture: a path, `data:` URL, encoded bytes, binary file object, PIL image, array, nested lists of numbers, or a
dict whose "composite" is one of these, as Gradio's sketchpad returns.

Arrays are [h, w], [h, w, c] or [c, h, w] with 1 to 4 channels (grey, grey and alpha, RGB, RGBA), or a flattened square
picture, such as [784]. `find_levels` says which values are black and white.
"""

# Files that may never end.
SPECIAL_FILES = {stat.S_IFIFO: "named pipe", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}

# Errors quote at most this many characters of a value.
MAX_QUOTED = 80


def quote(value: object) -> str:
    """Returns a value as text short enough for an error: of long text, only the beginning and the end."""
    text = str(value)
    return text if len(text) <= MAX_QUOTED else f"{text[: MAX_QUOTED // 2 - 1]}…{text[-MAX_QUOTED // 2 :]}"


# ---------------------------------------------------------------- from any source to gray


class Picture(NamedTuple):
    """The brightness of a picture, reduced in size if it was large."""

    gray: Float32[np.ndarray, "h w"]  # 0 (black) to 255 (white)
    width: int  # of the original picture, upright, in pixels
    height: int

    def to_source(self, box: Box) -> Box:
        """Converts a box (left, top, right, bottom) in `gray` to the picture's own pixels."""
        left, top, right, bottom = box
        x_scale, y_scale = self.width / self.gray.shape[1], self.height / self.gray.shape[0]
        return (
            int(left * x_scale),
            int(top * y_scale),
            min(self.width, int(np.ceil(right * x_scale))),
            min(self.height, int(np.ceil(bottom * y_scale))),
        )


def load_picture(image: ImageSource, max_size: int) -> Picture:
    """Reads a picture upright, reduced by the smallest whole factor that leaves no side longer than `max_size` pixels.

    Raises:
      ImageError: The picture can't be read; the message says why.
    """
    if isinstance(image, Mapping):
        image = _find_composite(image)
    if isinstance(image, str) and image.startswith("data:"):
        image = _decode_url(image)
    if isinstance(image, memoryview) and image.ndim == image.itemsize == 1:
        image = image.tobytes()
    if isinstance(image, bytes | bytearray):
        return _decode(io.BytesIO(image), max_size)
    if isinstance(image, Image.Image):
        with _pillow_errors():  # Pillow may not have decoded it yet
            return _from_pil(image, max_size)
    if isinstance(image, str | PathLike):
        return _from_path(Path(image), max_size)
    if isinstance(image, BinaryFile):
        return _decode(io.BytesIO(_read_all(image)), max_size)
    return _from_array(_to_array(image), max_size)


def _from_path(path: Path, max_size: int) -> Picture:
    file_path, page = pdf.split_page(path)
    try:
        if (kind := stat.S_IFMT(file_path.stat().st_mode)) in SPECIAL_FILES:  # opening a pipe could block forever
            raise ImageError(f"is a {SPECIAL_FILES[kind]}, not a file; for standard input, give -")  # noqa: TRY301
        with file_path.open("rb") as file:
            return _decode(file, max_size, page)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{quote(path)}: can't be opened: {quote(reason)}") from None
    except ImageError as error:
        raise ImageError(f"{quote(path)}: {error}") from None


def _find_composite(sketch: Mapping[str, Any]) -> ImageSource:
    if (composite := sketch.get("composite")) is None:
        raise ImageError(f"a dict must hold a picture as its 'composite', found the keys {quote(list(sketch))}")
    return composite


def _decode_url(url: str) -> bytes:
    """Returns the bytes of a `data:` URL (RFC 2397)."""
    header, _, data = url.partition(",")
    try:
        content = unquote_to_bytes(data)
        return base64.b64decode(content) if header.endswith(";base64") else content
    except ValueError as error:
        raise ImageError(f"{quote(url)}: isn't a data URL of a picture: {error}") from None


def _to_array(image: object) -> NDArray[Any]:
    """Returns any library's array, or nested lists, as a NumPy array."""
    if not isinstance(image, np.ndarray | ArrayLike | DLPackArray | Sequence | memoryview):
        raise ImageError(
            f"a picture must be a path, bytes, a file, a PIL image or an array, found {type(image).__name__}"
        )
    try:
        if isinstance(image, DLPackArray) and not isinstance(image, ArrayLike):
            array = np.from_dlpack(image)
        else:
            array = np.asarray(image)
    except Exception as error:  # noqa: BLE001 - each library has its own errors, such as for an array on a GPU
        raise ImageError(f"{type(image).__name__} can't be read as an array: {quote(str(error).strip())}") from None
    # NumPy doesn't know JAX's bfloat16.
    return array.astype(np.float32) if array.dtype.kind == "V" and array.dtype.names is None else array


def _read_all(file: BinaryFile) -> bytes:
    try:
        data = file.read()
    except (OSError, ValueError) as error:  # ValueError: the file is closed
        raise ImageError(f"can't be read: {error}") from None
    if not isinstance(data, bytes):
        raise ImageError("a file must be opened for reading bytes, not text")
    return data


def _decode(file: Any, max_size: int, page: int | None = None) -> Picture:
    head = file.read(12)
    file.seek(0)
    if head.startswith(pdf.HEAD):
        return _from_pil(pdf.render_page(file.read(), page), max_size)
    if page is not None:
        raise ImageError("isn't a PDF, so it has no pages")
    formats: tuple[str, ...] = FORMATS
    if head[4:8] == b"ftyp" and head[8:] in HEIC_BRANDS:
        formats = _add_heic()
    with _pillow_errors(), Image.open(file, formats=formats) as image:
        width, height = image.size
        _check_size(width, height, DEMANDING_FORMATS.get(image.format or "", MAX_PIXELS))
        across, down = reduction((width, height), max_size)
        # JPEG can skip detail while decoding.
        drafted = image.draft(None, (width // across, height // down)) if across > 1 or down > 1 else None
        return _from_pil(image, max_size, (width, height) if drafted else None)


def _add_heic() -> tuple[str, ...]:
    """Makes Pillow read HEIC, and returns all formats."""
    try:
        import pillow_heif
    except ImportError:
        raise ImageError("is HEIC, as iPhones take pictures: pip install 'digitjax[heic]' to read it") from None
    pillow_heif.register_heif_opener()
    return *FORMATS, "HEIF"


@contextlib.contextmanager
def _pillow_errors() -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about large pictures, which have their own limit here, and odd tags
            yield
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(f"is not an image in a format that is read here: {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise ImageError(f"has more than the {MAX_PIXELS:,} pixels allowed") from None
    except Exception as error:  # noqa: BLE001 - Pillow's decoders raise all kinds of errors on broken files
        raise ImageError(f"can't be decoded: {str(error) or type(error).__name__}") from None


def _check_size(width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    if width * height == 0:
        raise ImageError(f"has no pixels: {width}x{height}")
    if width * height > max_pixels:
        raise ImageError(f"has {width}x{height} pixels, more than the {max_pixels:,} allowed")
    if max(width, height) > MAX_SIDE:
        raise ImageError(f"has {width}x{height} pixels, more than the {MAX_SIDE:,} allowed along a side")


def _from_pil(image: Image.Image, max_size: int, size: tuple[int, int] | None = None) -> Picture:
    """Reads a Pillow image; `size` is the original picture's if the image is a reduced version."""
    _check_size(*image.size)
    if getattr(image, "tile", None) and getattr(image, "fp", None) is None:  # Pillow's own message is obscure
        raise ImageError("can't be decoded: its file has been closed")
    image.load()
    _check_size(*image.size)  # an icon's header may give the wrong size
    size = size or image.size
    orientation = _read_orientation(image)
    across, down = reduction(image.size, max_size)
    if (across > 1 or down > 1) and image.mode in ("L", "RGB") and not image.has_transparency_data:
        # Where possible, Pillow reduces large pictures itself, at a quarter of the cost.
        image = image.reduce((across, down), (0, 0, image.width // across * across, image.height // down * down))
    gray = read_gray(lambda top, bottom: _band_to_array(image, top, bottom), image.size, max_size)
    return _turn(Picture(gray, *size), orientation)


def _from_array(array: NDArray[Any], max_size: int) -> Picture:
    if array.dtype.kind not in "buif":
        raise ImageError(f"an array must hold numbers, found {array.dtype}")
    array = _arrange_axes(array)
    height, width = array.shape[:2]
    _check_size(width, height)
    native = array.dtype.newbyteorder("=")
    gray = read_gray(lambda top, bottom: array[top:bottom].astype(native, copy=False), (width, height), max_size)
    return Picture(gray, width, height)


def _arrange_axes(array: NDArray[Any]) -> NDArray[Any]:
    """Returns an array as [h, w] or [h, w, c], of 1, 3 or 4 channels."""
    if array.size == 0:
        raise ImageError(f"has no pixels: shape {array.shape}")
    if array.ndim > 2 and array.shape[0] == 1:
        return _arrange_axes(array[0])  # a batch of one, or a single channel
    if max(array.shape, default=0) == array.size and array.shape != (1, 1):
        side = math.isqrt(array.size)
        if side**2 != array.size or side < MIN_FLAT_SIDE:
            raise ImageError(f"shape {array.shape} is one row of pixels: reshape it to [h, w]")
        return array.reshape(side, side)
    if array.ndim == 2:
        return array
    if array.ndim == 3 and array.shape[2] > 4 >= array.shape[0]:
        array = np.moveaxis(array, 0, 2)
    if array.ndim != 3 or array.shape[2] > 4:
        raise ImageError(
            f"shape {array.shape} isn't a picture's: [h, w], [h, w, c] or [c, h, w]; `predict_digits` reads a batch"
        )
    return array[..., [0, 0, 0, 1]] if array.shape[2] == 2 else array


# ---------------------------------------------------------------- from Pillow's images to arrays


def _band_to_array(image: Image.Image, top: int, bottom: int) -> NDArray[Any]:
    """Returns rows of an image as L, RGB or RGBA, or in the image's own wider type."""
    band = image if (top, bottom) == (0, image.height) else image.crop((0, top, image.width, bottom))
    if band.mode.startswith("I;16"):
        return np.asarray(band).astype(np.uint16)
    if band.mode in ("I", "F"):
        return np.asarray(band)
    mode = "RGBA" if band.has_transparency_data else "L" if band.mode in ("L", "1") else "RGB"
    return np.asarray(band if band.mode == mode else band.convert(mode))


def _read_orientation(image: Image.Image) -> int:
    """Returns how the camera was held, as an EXIF orientation; 1 is upright."""
    try:
        orientation = image.getexif().get(EXIF_ORIENTATION)
    except Exception:  # noqa: BLE001 - broken EXIF can raise any error too, but the picture is intact
        return 1
    return orientation if isinstance(orientation, int) else 1


def _turn(picture: Picture, orientation: int) -> Picture:
    """Rotates and mirrors a picture upright."""
    gray, width, height = picture
    if orientation in EXIF_TRANSPOSED:
        gray, width, height = gray.T, height, width
    if orientation in EXIF_FLIPPED:
        gray = gray[::-1]
    if orientation in EXIF_MIRRORED:
        gray = gray[:, ::-1]
    return Picture(np.ascontiguousarray(gray), width, height)
