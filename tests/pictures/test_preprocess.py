import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from digitjax.pictures.gray import ImageError
from digitjax.pictures.preprocess import draw_canonical, preprocess_image
from digitjax.pictures.shapes import measure_stroke_width

# Seven as bytes in every container that a user may have; the picture is the same.


def as_png(array, **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG", **options)
    return file.getvalue()


def ink_box(canonical):
    rows, columns = np.nonzero(canonical)
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


def same_drawing(a, b):
    """Whether two canonical images show the same strokes, up to resampling: half a pixel here and there."""
    return np.abs(a.astype(int) - b.astype(int)).mean() < 10


def test_other_drawings_are_told_apart(seven):
    canonical = preprocess_image(seven).canonical
    assert not same_drawing(canonical, preprocess_image(seven[:, ::-1]).canonical)
    assert not same_drawing(canonical, np.roll(canonical, 2, axis=1))


# ---------------------------------------------------------------- MNIST's drawing


def test_the_drawing_is_mnists(seven):
    canonical, box = preprocess_image(seven)
    assert canonical.dtype == np.uint8
    top, bottom, left, right = ink_box(canonical)
    assert max(bottom - top, right - left) == 20
    rows, columns = np.nonzero(canonical)
    weights = canonical[rows, columns]
    assert np.average(rows, weights=weights) == pytest.approx(14, abs=0.75)
    assert np.average(columns, weights=weights) == pytest.approx(14, abs=0.75)
    assert canonical.max() == 255
    assert canonical[0].max() == 0
    # The strokes reach from 25 to 75 and from 25 to 100; the pen is 9 wide.
    assert box == pytest.approx((21, 21, 80, 105), abs=4)


@given(st.integers(1, 90), st.integers(1, 90))
@settings(max_examples=40, deadline=None)
def test_any_shape_fits_the_box(height, width):
    canonical = draw_canonical(np.full((height, width), 200, np.float32))
    top, bottom, left, right = ink_box(canonical)
    scale = 20 / max(height, width)
    assert bottom - top == max(1, round(height * scale))
    assert right - left == max(1, round(width * scale))
    assert abs((top + bottom) / 2 - 14.5) <= 1
    assert abs((left + right) / 2 - 14.5) <= 1


def test_mnist_passes_unharmed(mnist):
    for image in mnist.test.images[:2000, ..., 0]:
        np.testing.assert_array_equal(preprocess_image(image).canonical, image)
        np.testing.assert_array_equal(preprocess_image(255 - image).canonical, image)


# ---------------------------------------------------------------- what must not matter


def test_every_source_gives_the_same(seven, tmp_path):
    expected = preprocess_image(seven).canonical
    path = tmp_path / "seven.png"
    path.write_bytes(as_png(seven))
    sources = [path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), Image.open(path), seven[..., None]]
    for source in sources:
        np.testing.assert_array_equal(preprocess_image(source).canonical, expected)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "1", "P", "LA", "I", "F", "I;16", "YCbCr", "HSV", "PA"])
def test_every_mode_gives_the_same(seven, mode):
    image = Image.fromarray(seven)
    if mode == "I;16":
        image = Image.fromarray(seven.astype(np.uint16) * 257)
    elif mode in ("HSV", "YCbCr", "CMYK"):
        image = image.convert("RGB").convert(mode)
    elif mode == "PA":
        image = image.convert("P").convert("PA")
    else:
        image = image.convert(mode)
    assert image.mode == mode
    assert same_drawing(preprocess_image(image).canonical, preprocess_image(seven).canonical)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_every_format_gives_the_same(seven, file_format):
    file = io.BytesIO()
    Image.fromarray(seven).save(file, file_format)
    assert same_drawing(preprocess_image(file.getvalue()).canonical, preprocess_image(seven).canonical)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64, np.float32, np.float64, bool])
def test_every_type_of_array_gives_the_same(seven, dtype):
    scale = {np.uint16: 257, bool: 1 / 255}.get(dtype, 1)
    expected = preprocess_image((seven > 127).astype(np.uint8) * np.uint8(255)).canonical
    array = ((seven > 127) * 255 * scale).astype(dtype)
    np.testing.assert_array_equal(preprocess_image(array).canonical, expected)


def test_floats_may_end_at_one(seven):
    expected = preprocess_image(seven).canonical
    np.testing.assert_array_equal(preprocess_image(seven / 255).canonical, expected)
    np.testing.assert_array_equal(preprocess_image(seven.astype(np.float32)).canonical, expected)


def test_polarity_doesnt_matter(seven):
    np.testing.assert_array_equal(preprocess_image(255 - seven).canonical, preprocess_image(seven).canonical)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_cameras_turns_are_undone(seven, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = {
        1: seven, 2: seven[:, ::-1], 3: seven[::-1, ::-1], 4: seven[::-1], 5: seven.T, 6: np.rot90(seven),
        7: np.rot90(seven, 2).T, 8: np.rot90(seven, -1),
    }[orientation]  # fmt: skip
    encoded = as_png(np.ascontiguousarray(turned), exif=exif)
    np.testing.assert_array_equal(preprocess_image(encoded).canonical, preprocess_image(seven).canonical)
    opened = Image.open(io.BytesIO(encoded))
    np.testing.assert_array_equal(preprocess_image(opened).canonical, preprocess_image(seven).canonical)


@pytest.mark.parametrize("ink", [0, 255])
def test_ink_on_transparent_ground(seven, ink):
    rgba = np.zeros((*seven.shape, 4), np.uint8)
    rgba[..., :3] = ink
    rgba[..., 3] = 255 - seven
    expected = preprocess_image(seven).canonical
    np.testing.assert_array_equal(preprocess_image(rgba).canonical, expected)
    np.testing.assert_array_equal(preprocess_image(as_png(rgba)).canonical, expected)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=25, deadline=None)
def test_margins_dont_matter(top, bottom, left, right):
    glyph = np.full((60, 40), 255, np.uint8)
    glyph[5:12, 5:35] = 0
    glyph[12:55, 25:33] = 0
    padded = np.pad(glyph, ((top, bottom), (left, right)), constant_values=255)
    np.testing.assert_array_equal(preprocess_image(padded).canonical, preprocess_image(glyph).canonical)


def test_brightness_and_contrast_dont_matter(seven):
    faded = 90 + seven / 255 * 100
    assert same_drawing(preprocess_image(faded).canonical, preprocess_image(seven).canonical)


def test_size_doesnt_matter(seven):
    large = np.asarray(Image.fromarray(seven).resize((2000, 2400), Image.Resampling.BICUBIC))
    result = preprocess_image(large)
    assert same_drawing(result.canonical, preprocess_image(seven).canonical)
    assert result.box == pytest.approx([20 * side for side in preprocess_image(seven).box], abs=60)


def test_noise_and_specks_dont_matter(seven):
    rng = np.random.default_rng(0)
    noisy = seven + rng.normal(0, 4, seven.shape)
    noisy[110:112, 5:7] = 30
    assert same_drawing(preprocess_image(noisy.clip(0, 255)).canonical, preprocess_image(seven).canonical)


# ---------------------------------------------------------------- what people's pictures have around the ink


def large_seven(pen=27):
    """A 7 on white, uint8 [360, 300]: room for shadows and rules."""
    paper = Image.new("L", (300, 360), 255)
    ImageDraw.Draw(paper).line([(75, 75), (225, 75), (126, 300)], fill=0, width=pen, joint="curve")
    return np.asarray(paper)


def in_shadow(picture):
    light = np.where(np.arange(picture.shape[1]) < 120, 0.45, 1.0)
    soft = np.convolve(np.pad(light, 40, mode="edge"), np.full(81, 1 / 81), "valid")
    return 230 * soft * (0.25 + 0.75 * picture / 255)


def in_a_dark_corner(picture):
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return (235 - 0.3 * x - 0.2 * y) * (0.25 + 0.75 * picture / 255)


def on_squared_paper(picture):
    paper = picture.astype(float)
    paper[15::60], paper[:, 25::60] = np.minimum(paper[15::60], 120), np.minimum(paper[:, 25::60], 120)
    return paper


def beside_a_neighbour(picture):
    paper = picture.copy()
    paper[100:180, :20] = 0
    return paper


@pytest.mark.parametrize("change", [in_shadow, in_a_dark_corner, on_squared_paper, beside_a_neighbour])
@pytest.mark.parametrize("light_ink", [False, True])
def test_surroundings_dont_matter(change, light_ink):
    picture = change(large_seven())
    result = preprocess_image(255 - picture if light_ink else picture)
    assert same_drawing(result.canonical, preprocess_image(large_seven()).canonical)


@pytest.mark.parametrize("width", [1, 2])
def test_squares_of_any_darkness_go(width):
    """Where they are about as strong as what still counts as a stroke, no bits of them stay."""
    seven = preprocess_image(large_seven()).canonical
    for brightness in range(60, 230):
        paper = large_seven().copy()
        for i in range(width):
            for lines in (paper[25 + i :: 45], paper[:, 20 + i :: 45]):
                np.minimum(lines, brightness, out=lines)
        assert same_drawing(preprocess_image(paper).canonical, seven), brightness


def test_rules_go_from_a_narrow_strip_and_its_own_strokes_stay():
    """Across the short side of a strip the top of a tight 7 is as long as a rule, but not as thin."""
    strip = large_seven()[40:330, 60:240]
    ruled = strip.copy()
    ruled[20::70] = 90  # a rule every 70 pixels, one pixel thick
    assert same_drawing(preprocess_image(ruled).canonical, preprocess_image(strip).canonical)
    tight = np.where(strip < 128)
    cropped = strip[tight[0].min() : tight[0].max() + 1, tight[1].min() : tight[1].max() + 1]
    assert same_drawing(
        preprocess_image(np.pad(cropped, ((9, 9), (0, 0)), constant_values=255)).canonical,
        preprocess_image(strip).canonical,
    )


def test_parts_stay_together():
    broken = large_seven().copy()
    broken[100:120] = 255
    assert preprocess_image(broken).box == pytest.approx(preprocess_image(large_seven()).box, abs=1)


@pytest.mark.parametrize("pen", [1, 3, 60])
def test_strokes_get_mnists_width(pen):
    width = measure_stroke_width(preprocess_image(large_seven(pen)).canonical > 127)
    assert 1.3 < width < 5.5


@pytest.mark.parametrize(
    ("ink", "ground"), [((255, 240, 0), (255, 255, 255)), ((0, 0, 255), (0, 0, 0)), ((200, 0, 0), (0, 110, 0))]
)
def test_color_tells_ink_where_gray_cant(seven, ink, ground):
    share = seven[..., None] / 255
    picture = (np.array(ground) * share + np.array(ink) * (1 - share)).astype(np.uint8)
    assert same_drawing(preprocess_image(picture).canonical, preprocess_image(seven).canonical)


@pytest.mark.parametrize("turned", [0, 3])
@pytest.mark.parametrize("margin", [0, 2, 6, 30])
def test_the_border_of_a_cell_is_no_writing(seven, margin, turned):
    height, width = seven.shape
    cell = np.pad(seven, margin + 10, constant_values=255)
    corners = (margin, margin), (width + margin + 19, height + margin + 19)
    cv2.rectangle(cell, *corners, 0, 2)
    middle = (cell.shape[1] / 2, cell.shape[0] / 2)
    turn = cv2.getRotationMatrix2D(middle, turned, 1)
    cell = cv2.warpAffine(cell, turn, cell.shape[::-1], borderValue=255)
    alone = cv2.warpAffine(np.pad(seven, margin + 10, constant_values=255), turn, cell.shape[::-1], borderValue=255)
    assert same_drawing(preprocess_image(cell).canonical, preprocess_image(alone).canonical)


@pytest.mark.parametrize("ink", [0, 60, 255])
def test_an_empty_cell_is_blank_and_a_zero_is_not(ink):
    cell = np.full((100, 90), 255 - ink if ink != 60 else 220, np.uint8)
    zero = cv2.ellipse(cell.copy(), (45, 50), (30, 44), 0, 0, 360, ink, 4, cv2.LINE_AA)
    cv2.rectangle(cell, (3, 3), (86, 96), ink, 2)
    assert preprocess_image(cell).box is None
    assert preprocess_image(zero).box is not None


# ---------------------------------------------------------------- no ink


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("size", [(28, 28), (200, 300), (1, 1)])
def test_blank_pictures_have_no_box(level, size):
    canonical, box = preprocess_image(np.full(size, level, np.uint8))
    assert box is None
    assert not canonical.any()


def test_a_blank_photo_has_no_box():
    rng = np.random.default_rng(1)
    paper = rng.normal(200, 4, (300, 300)).clip(0, 255).astype(np.uint8)
    assert preprocess_image(paper).box is None


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "not an image"),
        (b"GIF89a", r"is not an image|can't be decoded"),
        (b"digits are fun", "not an image"),
        ("nowhere/at/all.png", r"nowhere/at/all\.png: can't be opened: No such file"),
        (np.zeros((0, 5), np.uint8), r"no pixels: shape \(0, 5\)"),
        (np.zeros((5, 5, 5), np.uint8), r"shape \(5, 5, 5\)"),
        (np.zeros(5, np.uint8), r"shape \(5,\) is one row"),
        (np.full((5, 5), np.nan), "NaN"),
        (np.full((5, 5), -1), "negative"),
        (np.zeros((5, 5), complex), "must hold numbers, found complex128"),
        (np.broadcast_to(np.uint8(0), (20_000, 20_000)), "20000x20000 pixels, more than the 100,000,000"),
    ],
)
def test_bad_input_is_one_clear_error(source, message):
    with pytest.raises(ImageError, match=message):
        preprocess_image(source)


@pytest.mark.usefixtures("no_type_checks")
def test_what_is_no_picture_at_all():
    with pytest.raises(ImageError, match=r"must be a path, bytes, .* found int"):
        preprocess_image(42)


def test_truncated_files(seven, tmp_path):
    path = tmp_path / "cut.png"
    path.write_bytes(as_png(seven)[:-200])
    with pytest.raises(ImageError, match=r"cut\.png: can't be decoded"):
        preprocess_image(path)


def test_huge_files_are_refused_before_decoding(tmp_path):
    # A PNG header that claims 30,000 x 30,000 pixels.
    path = tmp_path / "huge.png"
    header = as_png(np.zeros((1, 1), np.uint8))
    path.write_bytes(header[:16] + (30_000).to_bytes(4, "big") * 2 + header[24:])
    with pytest.raises(ImageError, match=r"huge\.png: "):
        preprocess_image(path)
