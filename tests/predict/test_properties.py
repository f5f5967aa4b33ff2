"""What must not change the digit that is read: how a picture was taken, stored and handed over."""

import io

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from digitjax.predict import predict_digit

# Digits as pens draw them, in a box that is 60 wide and 100 high.
STROKES = (
    [[(30, 0), (14, 8), (4, 28), (2, 50), (6, 76), (16, 94), (30, 100), (44, 94), (54, 76), (58, 50), (54, 24),
      (44, 8), (30, 0)]],
    [[(38, 0), (28, 100)]],
    [[(6, 22), (20, 2), (44, 4), (54, 24), (42, 52), (4, 98), (58, 98)]],
    [[(6, 6), (36, 0), (54, 16), (46, 40), (24, 48), (50, 54), (58, 76), (40, 98), (4, 94)]],
    [[(14, 0), (6, 58), (56, 58)], [(46, 10), (44, 100)]],
    [[(54, 2), (12, 2), (8, 44), (34, 38), (54, 52), (54, 80), (34, 98), (6, 92)]],
    [[(42, 0), (18, 26), (4, 62), (10, 92), (32, 100), (52, 86), (50, 62), (30, 54), (8, 68)]],
    [[(4, 2), (58, 2), (24, 100)]],
    [[(30, 48), (10, 36), (8, 14), (30, 0), (52, 14), (48, 36), (30, 48), (8, 66), (6, 88), (30, 100), (54, 88),
      (52, 66), (30, 48)]],
    [[(50, 36), (34, 48), (14, 42), (8, 20), (24, 2), (46, 6), (52, 24), (50, 50), (44, 100)]],
)  # fmt: skip

DIGITS = st.integers(0, 9)
SHARES = st.floats(0, 1)

few = settings(derandomize=True, deadline=None, max_examples=40, database=None)


def read(picture):
    return predict_digit(picture).digit


def draw(digit, *, height=150, pen=0.1, margins=(0.4, 0.4, 0.4, 0.4)):
    """Draws dark on white: uint8 [h, w]; the pen, and the margins left, top, right and bottom, in heights."""
    scale = height / 100
    left, top, right, bottom = (round(margin * height) for margin in margins)
    paper = Image.new("L", (left + round(60 * scale) + right, top + height + bottom), 255)
    pencil, width = ImageDraw.Draw(paper), max(1, round(pen * height))
    for stroke in STROKES[digit]:
        points = [(left + x * scale, top + y * scale) for x, y in stroke]
        pencil.line(points, fill=0, width=width, joint="curve")
        for x, y in points:
            pencil.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=0)
    return np.asarray(paper)


def encode(image, file_format, **options):
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def on_paper(picture, ink, ground):
    """Brings what is black to one brightness and what is white to another."""
    return ink + (ground - ink) * (picture / 255)


# ---------------------------------------------------------------- the drawing


@few
@given(DIGITS, st.integers(30, 900), st.floats(0.05, 0.16))
@example(8, 4000, 0.1)
def test_size_and_pen_dont_matter(digit, height, pen):
    assert read(draw(digit, height=height, pen=pen)) == digit


@few
@given(DIGITS, st.tuples(*[st.floats(0.1, 1.2)] * 4))
def test_place_and_margin_dont_matter(digit, margins):
    assert read(draw(digit, margins=margins)) == digit


# ---------------------------------------------------------------- the light


@few
@given(DIGITS, st.floats(0, 255), st.floats(60, 255), st.booleans())
def test_brightness_contrast_and_polarity_dont_matter(digit, ink, contrast, light_ink):
    ground = min(255.0, ink + contrast)
    ink = ground - contrast if ground - contrast >= 0 else 0.0
    picture = on_paper(draw(digit), ink, ground)
    assert read((255 - picture if light_ink else picture).astype(np.uint8)) == digit


@few
@given(DIGITS, st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.floats(0.2, 0.6), st.integers(0, 999))
def test_light_from_a_side_doesnt_matter(digit, across, down, ink, seed):
    picture = on_paper(draw(digit), ink, 1)
    y, x = np.mgrid[-0.5 : 0.5 : picture.shape[0] * 1j, -0.5 : 0.5 : picture.shape[1] * 1j]
    noise = np.random.default_rng(seed).normal(0, 2, picture.shape)
    photo = 170 * (1 + across * x + down * y) * picture + noise
    assert read(photo.clip(0, 255).astype(np.uint8)) == digit


@few
@given(DIGITS, st.floats(0.15, 0.6), st.floats(100, 200), st.booleans(), SHARES)
def test_ruled_paper_doesnt_matter(digit, distance, brightness, squared, offset):
    picture = draw(digit).astype(float)
    step = round(distance * 150)
    for lines in (picture, picture.T) if squared else (picture,):
        for row in range(round(offset * step), len(lines), step):
            lines[row : row + 2] = np.minimum(lines[row : row + 2], brightness)
    assert read(picture.astype(np.uint8)) == digit


# ---------------------------------------------------------------- files, modes and arrays


@few
@given(DIGITS, st.sampled_from(["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM"]), st.integers(80, 100))
def test_the_format_doesnt_matter(digit, file_format, quality):
    options = {"quality": quality} if file_format in ("JPEG", "WEBP") else {}
    assert read(encode(Image.fromarray(draw(digit)), file_format, **options)) == digit


@few
@given(DIGITS, st.sampled_from(["L", "RGB", "RGBA", "LA", "P", "CMYK", "1", "I;16", "I", "F"]), st.booleans())
def test_the_mode_doesnt_matter(digit, mode, light_ink):
    picture = draw(digit)
    image = Image.fromarray(255 - picture if light_ink else picture)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    elif mode == "CMYK":
        image = image.convert("RGB").convert("CMYK")
    else:
        image = image.convert(mode)
    assert read(image) == digit
    if mode in ("L", "RGB", "RGBA", "LA", "P", "1", "I;16"):
        assert read(encode(image, "PNG")) == digit
    if mode in ("CMYK", "F"):
        assert read(encode(image, "TIFF")) == digit


@few
@given(
    DIGITS,
    st.sampled_from([np.uint8, np.uint16, np.int32, np.int64, np.float16, np.float32, np.float64]),
    st.sampled_from([(), (1,), (3,)]),
    st.booleans(),
)
def test_the_type_of_array_doesnt_matter(digit, dtype, channels, to_one):
    white = 65535 if dtype == np.uint16 else 1 if to_one and np.dtype(dtype).kind == "f" else 255
    picture = (draw(digit) / 255 * white).astype(dtype)
    array = np.broadcast_to(picture.reshape(*picture.shape, *[1] * len(channels)), (*picture.shape, *channels))
    assert read(array) == digit


@few
@given(DIGITS, st.sampled_from([(0, 0, 0), (255, 255, 255), (200, 30, 30), (250, 240, 90)]), st.booleans())
def test_ink_on_a_transparent_ground(digit, ink, as_file):
    picture = draw(digit)
    rgba = np.dstack([np.full((*picture.shape, 3), ink, np.uint8), 255 - picture])
    assert read(encode(Image.fromarray(rgba), "PNG") if as_file else rgba) == digit


@few
@given(DIGITS, st.integers(1, 8), st.sampled_from(["PNG", "JPEG", "TIFF", "WEBP"]), st.sampled_from([100, 600]))
def test_the_cameras_turn_doesnt_matter(digit, orientation, file_format, height):
    upright = draw(digit, height=height)
    undo = {2: "h", 3: "vh", 4: "v", 5: "t", 6: "th", 7: "tvh", 8: "tv"}.get(orientation, "")
    turned = upright
    for change in reversed(undo):
        turned = {"h": turned[:, ::-1], "v": turned[::-1], "t": turned.T}[change]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(turned))
    assert read(encode(image, file_format, exif=exif)) == digit
