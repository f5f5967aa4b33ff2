"""Letters, signs and figures of fonts."""

import functools
import unicodedata
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from digitjax.drawing.canvas import SIDE, Canvas, blank_canvas, choose_pen
from digitjax.pictures.shapes import disk

# Latin, Greek, Cyrillic; arrows, mathematics, shapes, symbols.
ALPHABETS = (
    *(range(0x21, 0x7F), range(0x391, 0x3CA), range(0x410, 0x450)),
    *(range(0x2190, 0x21C4), range(0x2200, 0x2294), range(0x25A0, 0x25D0), range(0x2605, 0x2670)),
)

# What passes for a digit, upright or slanted, when it stands alone.
LOOK_ALIKES = frozenset(
    "OoQDIlijZzSsbGgqBTyеЗзОоБбЧчЭэЯяВвΟοΘθΙιβσδΒΖζъьыЪЬЫφρФф∅ΛЛл∧&/\\|!1()[]{}'`,.;:_\"^~§"  # noqa: RUF001 - ambiguous they are
)

# The same among Omniglot's characters.
OMNIGLOT_LOOK_ALIKES = frozenset(
    f"{script}/character{number:02}"
    for script, numbers in {
        "Balinese": (5, 14),
        "Early_Aramaic": (2, 3, 4, 6, 9, 10, 12, 13, 14, 16, 17, 19, 20),
        "Greek": (2, 4, 6, 8, 9, 14, 15, 17, 18, 21),
        "Japanese_(katakana)": (2, 9, 12, 24, 27, 30, 36, 37, 42, 43, 45, 46),
        "Korean": (9, 21, 22, 27, 33),
        "Latin": (2, 7, 9, 10, 12, 15, 17, 19, 25, 26),
        "Sanskrit": (5, 12, 13, 27, 36, 37),
        "Tagalog": (3, 4, 16, 17),
    }.items()
    for number in numbers
)

LOOK_ALIKE_WORDS = frozenset(
    ("DIGIT", "NUMBER", "CIRCLE", "RING", "VERTICAL", "INFINITY", "INTEGRAL", "DIVIDES", "PARALLEL", "MINUS")
)

# Matplotlib brings these, the same on every machine. OpenCV's are drawn with strokes, as pens draw.
FONTS = (
    *("DejaVuSans", "DejaVuSansMono", "DejaVuSans-Oblique", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSerif-Italic"),
    *("STIXGeneral", "STIXGeneralItalic"),
)

STROKE_FONTS = (
    *(cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_COMPLEX),
    *(cv2.FONT_HERSHEY_SCRIPT_SIMPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX),
)

SIGN_SHARE, TRACED_SHARE = 0.2, 0.6


def draw_character(rng: np.random.Generator, characters: str | None = None) -> Canvas:
    """One of the characters, of a font: with strokes, printed, or printed and then traced; None: a letter or a sign."""
    if rng.random() < 0.4:
        return _write(str(rng.choice(list(characters or _list_ascii_letters()))), int(rng.choice(STROKE_FONTS)), rng)
    font = str(rng.choice(FONTS))
    letters, signs = _list_drawable(font)
    choices = list(characters) if characters else signs if rng.random() < SIGN_SHARE else letters
    return _print_or_trace(rng, str(rng.choice(choices)), font)


def draw_print(rng: np.random.Generator) -> Canvas:
    """Lines of print, or a word."""
    font, size = str(rng.choice(FONTS)), int(rng.integers(8, 30))
    letters, _ = _list_drawable(font)
    num_lines = int(rng.integers(1, max(2, SIDE // size - 1)))
    longest = max(2, round(1.5 * (SIDE - 20) / size))
    return _print(
        "\n".join("".join(rng.choice(letters, rng.integers(2, longest + 1))) for _ in range(num_lines)), font, size
    )


def _write(character: str, font: int, rng: np.random.Generator) -> Canvas:
    (width, height), base = cv2.getTextSize(character, font, 1.0, 1)
    scale = 56 / max(width, height)
    at = (round((SIDE - width * scale) / 2), round((SIDE + (height - base / 2) * scale) / 2))
    return cv2.putText(blank_canvas(), character, at, font, scale, 255, choose_pen(rng), cv2.LINE_AA)


def _print(text: str, font: str, size: int) -> Canvas:
    image = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(image).text((SIDE / 2, SIDE / 2), text, fill=255, font=_load_font(font, size), anchor="mm")
    return np.array(image)


def print_text(text: str, font: str, size: int) -> UInt8[np.ndarray, "h w"]:
    """Prints a line of text, light on dark, in an image that just holds it."""
    loaded = _load_font(font, size)
    left, top, right, bottom = map(int, loaded.getbbox(text))
    image = Image.new("L", (max(right - left, 1), max(bottom - top, 1)))
    ImageDraw.Draw(image).text((-left, -top), text, fill=255, font=loaded)
    return np.array(image)


def _print_or_trace(rng: np.random.Generator, character: str, font: str) -> Canvas:
    printed = _print(character, font, 72)
    return _trace(rng, printed) if rng.random() < TRACED_SHARE else printed


def _trace(rng: np.random.Generator, printed: Canvas) -> Canvas:
    """Goes along the middle of printed strokes with a pen, for hands know no thick and thin ones.

    The middle is where the distance to the edge has a ridge.
    """
    large = cv2.resize(printed, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    distance = cv2.distanceTransform((large > 127).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    curvature = cv2.Laplacian(cv2.GaussianBlur(distance, (0, 0), 1), cv2.CV_32F, ksize=3)
    middle = ((curvature < -1.2) & (distance > 0.9)).astype(np.uint8) * 255
    return cv2.resize(cv2.dilate(middle, disk(2 * choose_pen(rng) - 1)), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


@functools.cache
def list_characters() -> tuple[str, ...]:
    """Returns the letters and signs that nobody takes for a digit."""
    characters = (chr(code) for codes in ALPHABETS for code in codes)
    return tuple(
        c
        for c in characters
        if c not in LOOK_ALIKES
        and unicodedata.category(c)[0] in "LSP"
        and LOOK_ALIKE_WORDS.isdisjoint(unicodedata.name(c).split())
    )


@functools.cache
def _list_ascii_letters() -> str:
    return "".join(c for c in list_characters() if c.isascii() and c.isalpha())


@functools.cache
def _list_drawable(font: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the letters and the other signs that a font holds."""
    characters = [c for c in list_characters() if ord(c) in _list_held(font)]
    return tuple(c for c in characters if c.isalpha()), tuple(c for c in characters if not c.isalpha())


@functools.cache
def _list_held(font: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font  # 0.2 s

    return frozenset(FT2Font(_find_font(font)).get_charmap())


@functools.cache
def _load_font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_find_font(name), size)


def _find_font(name: str) -> Path:
    from matplotlib import get_data_path

    return Path(get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
