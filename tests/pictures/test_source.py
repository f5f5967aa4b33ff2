import base64
import io
import struct
import sys
import zlib
from pathlib import Path
from urllib.parse import quote_from_bytes

import cv2
import jax.numpy as jnp
import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageDraw

from digitjax.pictures import gray, source
from digitjax.pictures.gray import ImageError
from digitjax.pictures.source import load_picture


def load_gray(image):
    """Brightness in full size."""
    return load_picture(image, 10_000).gray


# ---------------------------------------------------------------- large pictures


def gradient(*shape, dtype=np.uint8, white=255):
    """Brightness that differs everywhere, so that a row in the wrong place shows."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    values = (0.3 + 0.7 * x / shape[1]) * (0.2 + 0.8 * y / shape[0]) * (1 + 0.1 * np.sin(x + y)) / 1.1
    return (values[(..., *[None] * (len(shape) - 2))] * np.ones(shape) * white).astype(dtype)


def mean_of_areas(array, factor):
    """Averages over areas of `factor` pixels across and down, of all where there are fewer."""
    (height, width), (rows, columns) = array.shape, (max(1, side // factor) for side in array.shape)
    down, across = height // rows, width // columns
    whole = array[: rows * down, : columns * across].astype(float)
    return whole.reshape(rows, down, columns, across).mean(axis=(1, 3))


@pytest.mark.parametrize(
    ("array", "scale"),
    [
        (gradient(701, 433), 1),
        (gradient(433, 701, 3), 1),
        (gradient(300, 900, dtype=np.uint16, white=65535), 1 / 257),
        (gradient(300, 900, dtype=">u2", white=65535), 1 / 257),
        (gradient(300, 900, dtype=np.float64, white=1), 255),
        (gradient(900, 7, dtype=np.int64), 1),
        (gradient(3, 900), 1),
    ],
)
def test_bands_are_reduced_as_the_whole_is(monkeypatch, array, scale):
    monkeypatch.setattr(gray, "BAND_PIXELS", 5_000)
    height, width = array.shape[:2]
    plane = array if array.ndim == 2 else array[..., 0]
    result = load_picture(array, 200)
    assert (result.width, result.height) == (width, height)
    # 701 and 900 pixels are more than three times and four times 200.
    np.testing.assert_allclose(result.gray, scale * mean_of_areas(plane, 4 if max(height, width) == 701 else 5), atol=1)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_pillow_reduces_as_the_whole_is(mode):
    array = gradient(700, 1300)
    result = load_picture(Image.fromarray(array).convert(mode), 200)
    assert (result.width, result.height) == (1300, 700)
    np.testing.assert_allclose(result.gray, mean_of_areas(array, 7), atol=1.5)  # 6.5 times as large


def test_a_level_that_stands_for_transparent_is_no_brightness():
    image = Image.fromarray(gradient(800, 800))
    image.info["transparency"] = 100
    expected = load_picture(image.convert("RGBA"), 100).gray
    np.testing.assert_array_equal(load_picture(image, 100).gray, expected)
    image.info.clear()
    assert (load_picture(image, 100).gray != expected).any()


def test_values_of_all_bands_count(monkeypatch):
    monkeypatch.setattr(gray, "BAND_PIXELS", 5_000)
    floats = np.zeros((600, 100))
    floats[590:, :] = 255  # on the scale of 255, as only the last band tells
    assert load_picture(floats, 60).gray.max() == pytest.approx(255)
    floats[595, 5] = np.nan
    with pytest.raises(ImageError, match="NaN"):
        load_picture(floats, 60)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_large_pictures_are_turned(file_format, orientation):
    upright = gradient(600, 1001)
    turned = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.T, 6: np.rot90(upright),
        7: np.rot90(upright, 2).T, 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(turned)).save(file, file_format, exif=exif)
    result = load_picture(file.getvalue(), 200)
    assert (result.width, result.height) == (1001, 600)
    assert result.to_source((0, 0, result.gray.shape[1], result.gray.shape[0])) == (0, 0, 1001, 600)
    expected = load_picture(upright, 200).gray
    if file_format == "JPEG":  # reduces by 4 itself, and what that leaves is reduced by 2
        expected = cv2.resize(expected, (125, 75), interpolation=cv2.INTER_AREA)
    assert result.gray.shape == expected.shape
    assert np.abs(result.gray - expected).mean() < 3


READ_AND_PRINT_MIB = """
import sys
from pathlib import Path
import numpy as np
from digitjax.pictures.preprocess import preprocess_image

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

preprocess_image(np.zeros((50, 50), np.uint8))
before = peak()
assert preprocess_image(sys.argv[1]).box
print((peak() - before) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's largest size")
@pytest.mark.parametrize(
    ("mode", "file_format", "options"),
    [
        ("RGB", "PNG", {"compress_level": 1}),
        ("LA", "PNG", {"compress_level": 1}),
        ("F", "TIFF", {}),
        ("CMYK", "TIFF", {"compression": "tiff_lzw"}),
        # Of fewer bytes a pixel.
        pytest.param("I;16", "PNG", {"compress_level": 1}, marks=pytest.mark.slow),
        pytest.param("1", "PNG", {}, marks=pytest.mark.slow),
        pytest.param("L", "GIF", {}, marks=pytest.mark.slow),
    ],
)
def test_the_largest_pictures_need_less_than_a_gibibyte(tmp_path, python, mode, file_format, options):
    image = Image.new(mode, (9_900, 10_000), {"LA": (255, 255), "CMYK": 0, "I;16": 65535}.get(mode, "white"))
    ink = {"LA": (0, 255), "CMYK": (0, 0, 0, 255)}.get(mode, 0)
    ImageDraw.Draw(image).line([(3_000, 2_000), (6_000, 8_000)], fill=ink, width=900)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "large"
    image.save(path, file_format, **options, **({} if file_format == "GIF" else {"exif": exif}))
    result = python("-W", "error", "-c", READ_AND_PRINT_MIB, str(path))
    assert result.stderr == b""
    assert int(result.stdout) < 1024


# ---------------------------------------------------------------- files that are broken, or made to break others


def encode(image, file_format, **options):
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def png_chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, *chunks):
    """A black PNG; of a large one the pixels are missing."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes((width + 1) * height if width * height < 10_000 else 0)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + png_chunk(b"IEND", b"")


def gif(canvas, frame):
    sizes = struct.pack("<HH", *canvas), struct.pack("<HHHH", 0, 0, *frame)
    return b"GIF89a" + sizes[0] + b"\x80\0\0\0\0\0\xff\xff\xff\x2c" + sizes[1] + b"\0\x02\x02\x4c\x01\0;"


def tiff(**changes):
    """An uncompressed TIFF of 8x8 pixels, with tags changed: name=(type, count, value)."""
    numbers = {
        "width": 256, "height": 257, "bits": 258, "compression": 259, "photometric": 262, "offsets": 273,
        "samples": 277, "rows": 278, "counts": 279,
    }  # fmt: skip
    tags = {"width": 8, "height": 8, "bits": 8, "compression": 1, "photometric": 1, "offsets": 122, "samples": 1,
            "rows": 8, "counts": 64}  # fmt: skip
    entries = {**{name: (4, 1, value) for name, value in tags.items()}, **changes}
    directory = b"".join(struct.pack("<HHII", numbers[name], *entry) for name, entry in entries.items())
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + bytes(4 + 64)


def test_the_files_below_are_whole_but_for_what_breaks_them():
    assert load_gray(png(8, 8)).shape == load_gray(tiff()).shape == (8, 8)


BOMB = zlib.compress(bytes(100_000_000), 9)
TOO_MANY = "more than the 100,000,000"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (png(10_001, 10_000), f"has 10001x10000 pixels, {TOO_MANY}"),
        (png(60_000, 60_000), TOO_MANY),
        (png(2**31 - 1, 1), TOO_MANY),
        (png(200_000, 10), "200000x10 pixels, more than the 100,000 allowed along a side"),
        (png(9_500, 10_000), "can't be decoded: image file is truncated"),  # allowed: Pillow's own warning stays inside
        (png(0, 5), "not an image"),
        (png(30, 30, png_chunk(b"zTXt", b"c\0\0" + BOMB)), "can't be decoded: .* too large"),
        (png(30, 30, png_chunk(b"iCCP", b"c\0\0" + BOMB)), "can't be decoded: .* too large"),
        (png(8, 8).replace(b"IDAT", b"IDAx"), "not an image|can't be decoded"),
        (gif((65_000, 65_000), (10, 10)), TOO_MANY),
        (gif((10, 10), (65_000, 65_000)), TOO_MANY),
        (gif((10, 10), (900, 900)), "can't be decoded"),
        (tiff(width=(4, 1, 4_000_000_000)), TOO_MANY),
        (tiff(width=(2, 4, 0x41414141)), "can't be decoded|not an image"),
        (tiff(samples=(3, 1, 60_000)), "can't be decoded|not an image"),
        (tiff(offsets=(4, 4_000_000_000, 8)), "can't be decoded|not an image"),
        (tiff(offsets=(4, 1, 4_000_000_000)), "can't be decoded|not an image"),
        (b"P6 100000 100000 255\n", TOO_MANY),
        (
            b"RIFF\x64\0\0\0WEBPVP8L\x14\0\0\0\x2f" + struct.pack("<I", 16382 | 16382 << 14) + bytes(30),
            f"{TOO_MANY}|not an image|can't be decoded",
        ),
        (b"Pf 3 3 -1.0\n" + b"\xff" * 36, "NaN"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "not an image"),
    ],
)
def test_broken_files_are_one_error(tmp_path, source, message):
    with pytest.raises(ImageError, match=message):
        load_picture(source, 512)
    (tmp_path / "broken").write_bytes(source)
    with pytest.raises(ImageError, match=rf"broken: .*({message})"):
        load_picture(tmp_path / "broken", 512)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "PPM"])
def test_broken_bytes_are_one_error_or_a_picture(file_format):
    whole = encode(Image.fromarray(gradient(40, 30)), file_format)
    rng = np.random.default_rng(0)
    for _ in range(50):
        broken = bytearray(whole)
        for place in rng.integers(0, len(whole), 6):
            broken[place] = rng.integers(256)
        try:
            load_picture(bytes(broken), 512)
        except ImageError as error:
            assert str(error).strip(" :")  # noqa: PT017 - that there is an error is no must


@pytest.mark.parametrize("file_format", source.FORMATS)
def test_every_format_is_read(file_format):
    image = Image.fromarray(gradient(32, 32, 3))
    result = load_gray(encode(image, file_format))
    assert np.abs(result - load_gray(image)).mean() < 4


@pytest.mark.parametrize("file_format", ["WEBP", "JPEG2000"])
def test_formats_that_need_much_memory_may_be_less_large(monkeypatch, file_format):
    monkeypatch.setitem(source.DEMANDING_FORMATS, file_format, 1000)
    with pytest.raises(ImageError, match="has 30x40 pixels, more than the 1,000 allowed"):
        load_gray(encode(Image.fromarray(gradient(40, 30)), file_format))


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_animations_the_first_frame_is_read(file_format):
    first = Image.fromarray(gradient(40, 30))
    others = [Image.new("L", (30, 40), level % 256) for level in range(300)]
    options = {"lossless": True} if file_format == "WEBP" else {}
    encoded = encode(first, file_format, save_all=True, append_images=others, **options)
    np.testing.assert_allclose(load_gray(encoded), np.asarray(first), atol=3)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0garbage and more",
        b"Exif\0\0II*\0\xff\xff\xff\xffgarbage",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x4d\0\0\0\0\0\0\0",  # 77
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x05\0\0\0\x1a\0\0\0\0\0\0\0abcde",  # text
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0\xff\xff\xff\xff\x1a\0\0\0\0\0\0\0abcde",
    ],
)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_leaves_the_picture_as_it_is(exif, file_format):
    image = Image.fromarray(gradient(40, 30))
    expected = load_gray(encode(image, file_format))
    np.testing.assert_array_equal(load_gray(encode(image, file_format, exif=exif)), expected)


def test_heic_is_read_or_its_package_is_named(tmp_path, monkeypatch):
    path = tmp_path / "IMG_1.jpg"  # whatever its name says
    pillow_heif.from_pillow(Image.fromarray(gradient(90, 60)).convert("RGB")).save(path, quality=90)
    picture = load_picture(path, 100)
    assert (picture.width, picture.height) == (60, 90)
    np.testing.assert_allclose(picture.gray, gradient(90, 60), atol=12)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"IMG_1\.jpg: is HEIC.* pip install 'digitjax\[heic\]'"):
        load_picture(path, 100)


# ---------------------------------------------------------------- how pictures are handed over


def make_foreign(array, *names):
    """Returns an array of a library that NumPy doesn't know, which has no more than these methods."""
    methods = {name: lambda _, *args, name=name, **kw: getattr(array, name)(*args, **kw) for name in names}
    return type("Foreign", (), methods)()


def draw_seven():
    """A black 7 on white, 60 by 50 pixels."""
    return cv2.polylines(np.full((60, 50), 255, np.uint8), [np.array([[8, 10], [40, 10], [20, 50]])], False, 0, 4)


SEVEN = draw_seven()
SHARES = SEVEN / 255


@pytest.mark.usefixtures("no_type_checks")
@pytest.mark.parametrize(
    "source",
    [
        jnp.asarray(SEVEN),
        jnp.asarray(SHARES, jnp.bfloat16),
        make_foreign(SEVEN, "__array__"),
        make_foreign(SEVEN, "__dlpack__", "__dlpack_device__"),
        SEVEN.tolist(),
        memoryview(SEVEN),
        SEVEN[None],
        SEVEN[None, None],
        np.stack([SEVEN] * 3),
        np.stack([*[SEVEN] * 3, np.full_like(SEVEN, 255)]),
        np.stack([SEVEN, np.full_like(SEVEN, 255)], axis=-1),
        {"background": None, "layers": [], "composite": SEVEN},
        bytearray(encode(Image.fromarray(SEVEN), "PNG")),
        memoryview(encode(Image.fromarray(SEVEN), "PNG")),
        "data:image/png;base64," + base64.b64encode(encode(Image.fromarray(SEVEN), "PNG")).decode(),
        "data:image/png," + quote_from_bytes(encode(Image.fromarray(SEVEN), "PNG")),
    ],
    ids=lambda source: type(source).__name__,
)
def test_ways_to_hand_over_a_picture(source):
    np.testing.assert_allclose(load_picture(source, 512).gray, SEVEN, atol=1)


def test_flat_arrays_are_square_pictures():
    flat = np.arange(784) % 256
    for array in (flat, flat[None], flat[:, None]):
        np.testing.assert_array_equal(load_picture(array, 512).gray, flat.reshape(28, 28))


@pytest.mark.parametrize(
    "pixels",
    [
        SEVEN > 0,
        (SEVEN > 0).astype(np.uint8),
        (SEVEN > 0).astype(np.int64),
        SEVEN.astype(np.int32),
        SEVEN.astype(np.uint16),
        4 * SEVEN.astype(np.uint16),
        16 * SEVEN.astype(">u2"),
        64 * SEVEN.astype(np.uint16),
        257 * SEVEN.astype(np.uint16),
        SHARES.astype(np.float16),
        255 * SHARES,
        65535 * SHARES,
        2 * SHARES - 1,
        (SHARES - 0.1307) / 0.3081,  # standardised as MNIST is
        (SHARES - 0.45) / 0.225,  # and ImageNet
        np.where(np.roll(SEVEN, 1) < SEVEN, 1.1, SHARES),  # as where resizing overshoots
        np.where(np.roll(SEVEN, 1) > SEVEN, -25.0, 255 * SHARES),
    ],
    ids=lambda pixels: f"{pixels.dtype}, {pixels.min():.4g} to {pixels.max():.4g}",
)
def test_what_stands_for_black_and_white(pixels):
    np.testing.assert_allclose(load_picture(pixels, 512).gray, SEVEN, atol=6)


@pytest.mark.parametrize("level", [-5.0, -1.0, -0.4242, 0.0, 0.5, 1.0, 7.0, 255.0, 65535.0])
def test_even_floats_are_blank(level):
    assert np.ptp(load_picture(np.full((9, 7), level), 512).gray) == 0


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "TIFF, big-endian"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_scans_of_fewer_bits_than_their_files_have(bits, file_format):
    levels = (SEVEN.astype(np.int64) * ((1 << bits) - 1) // 255).astype(np.uint16)
    name, _, is_big = file_format.partition(",")
    file = io.BytesIO()
    image = Image.frombytes("I;16B", (50, 60), levels.astype(">u2").tobytes()) if is_big else Image.fromarray(levels)
    image.save(file, name)
    np.testing.assert_allclose(load_picture(file.getvalue(), 512).gray, SEVEN, atol=1)


@pytest.mark.parametrize("ink", [0, 255])
def test_a_page_with_transparent_margins_has_no_frame(ink):
    page = SEVEN if ink == 0 else 255 - SEVEN
    rgba = np.dstack([page] * 3 + [np.full_like(page, 255)])
    rgba[:4] = rgba[-4:] = rgba[:, :4] = rgba[:, -3:] = 0  # transparent black, as programs leave it
    np.testing.assert_array_equal(load_picture(rgba, 512).gray, page)


def test_a_page_with_a_soft_shadow_around_it_has_no_black_frame():
    alpha = np.zeros((80, 70), np.float32)
    alpha[14:64, 12:54] = 255
    alpha = np.maximum(alpha, 0.4 * cv2.GaussianBlur(alpha, (0, 0), 4))
    rgba = np.zeros((80, 70, 4), np.uint8)
    rgba[14:64, 12:54, :3] = SEVEN[4:54, 3:45, None]
    rgba[..., 3] = alpha
    gray = load_picture(rgba, 512).gray
    assert gray[:12].min() > 140
    np.testing.assert_array_equal(gray[14:64, 12:54], SEVEN[4:54, 3:45])


@pytest.mark.parametrize(("ink", "ground"), [(0, 255), (255, 0)])
def test_a_single_stroke_on_nothing_is_ink(ink, ground):
    rgba = np.zeros((60, 40, 4), np.uint8)
    rgba[10:50, 18:23] = (ink, ink, ink, 255)  # fills its own box, as a page would
    gray = load_picture(rgba, 512).gray
    assert (gray[30, 20], gray[0, 0]) == (ink, ground)


# ---------------------------------------------------------------- what can't be read at all


def test_paths_that_cant_be_read(tmp_path):
    with pytest.raises(ImageError, match=r"can't be opened: Is a directory" if sys.platform != "win32" else "can't"):
        load_gray(tmp_path)
    with pytest.raises(ImageError, match=r"can't be opened: .*null"):
        load_gray("seven\0.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match=r"empty\.png: is not an image"):
        load_gray(tmp_path / "empty.png")


@pytest.mark.usefixtures("no_type_checks")
def test_files_that_cant_be_read(tmp_path):
    path = tmp_path / "gray.png"
    path.write_bytes(png(8, 8))
    with path.open("rb") as closed:
        assert load_gray(closed).shape == (8, 8)
    with pytest.raises(ImageError, match=r"can't be read: .*closed"):
        load_gray(closed)
    with path.open(encoding="latin1") as text, pytest.raises(ImageError, match="bytes, not text"):
        load_gray(text)
    with (tmp_path / "new").open("wb") as new, pytest.raises(ImageError, match="can't be read"):
        load_gray(new)


def test_images_that_have_been_closed(tmp_path):
    path = tmp_path / "gray.png"
    path.write_bytes(png(8, 8))
    with Image.open(path) as never_decoded:
        pass
    with pytest.raises(ImageError, match="its file has been closed"):
        load_gray(never_decoded)
    closed = Image.new("L", (8, 8))
    closed.close()
    with pytest.raises(ImageError, match="closed"):
        load_gray(closed)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.full((5, 5), 1e300), "found 1e\\+300"),
        (np.full((5, 5), np.inf), "infinity"),
        (np.full((5, 5), -1, np.int8), "negative, found -1"),
        (np.array([[-90.0, 100.0]] * 2), r"floats must be in 0\.\.1, .* found -90 to 100; .* brings them to 0\.\.1"),
        (np.zeros((5, 5), object), "must hold numbers, found object"),
        (np.zeros((5, 5), "U3"), "must hold numbers, found <U3"),
        ([[1, 2], [3]], "list can't be read as an array: .{,80}$"),
        (np.zeros((10, 28, 28)), r"shape \(10, 28, 28\) isn't a picture's.* `predict_digits` reads a batch"),
        (np.zeros((10, 1, 28, 28)), "`predict_digits` reads a batch"),
        (np.zeros((5, 0, 3)), r"no pixels: shape \(5, 0, 3\)"),
        (np.zeros((1, 500)), r"shape \(1, 500\) is one row of pixels: reshape it to \[h, w\]"),
        (np.zeros(()), r"shape \(\) isn't a picture's"),
        ({"background": None}, r"'composite', found the keys \['background'\]"),
        ("data:image/png;base64," + "x" * 60_001, "^data:image/png.{,90}: isn't a data URL of a picture"),
        ("x" * 60_000, "^x+…x+: can't be opened: .{,80}$"),
        (Image.new("L", (0, 5)), "no pixels: 0x5"),
        (Image.new("La", (5, 5)), "can't be decoded: conversion"),
        (Image.fromarray(np.full((5, 5), np.nan, np.float32)), "NaN"),
        (Image.fromarray(np.full((5, 5), -300, np.float32)), "found -300 to -300"),
    ],
)
def test_pixels_that_are_no_brightness(source, message):
    with pytest.raises(ImageError, match=message):
        load_picture(source, 512)
