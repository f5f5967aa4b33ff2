"""Letters, signs and figures, of fonts and as hands write them."""

import functools
import unicodedata
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from digitjax.drawing.canvas import SIDE, Canvas, blank_canvas, choose_pen, draw_strokes, round_corners
from digitjax.pictures.shapes import disk

# Latin, Greek, Cyrillic; arrows, mathematics, shapes, symbols.
ALPHABETS = (
    *(range(0x21, 0x7F), range(0x391, 0x3CA), range(0x410, 0x450)),
    *(range(0x2190, 0x21C4), range(0x2200, 0x2294), range(0x25A0, 0x25D0), range(0x2605, 0x2670)),
)

# Phonetic signs, old Cyrillic, Armenian, Arabic, Lao, Canadian syllabics: shapes that none of the above has. Some pass
# for digits, so that each drawing must be compared with those.
OTHER_SCRIPTS = (
    *(range(0x250, 0x2B0), range(0x460, 0x530), range(0x531, 0x588)),
    *(range(0x621, 0x64B), range(0xE81, 0xEB1), range(0x1401, 0x1677)),
)

# What passes for a digit, upright or slanted, when it stands alone.
LOOK_ALIKES = frozenset(
    "OoQDIlijZzSsbGgqBTyеЗзОоБбЧчЭэЯяВвΟοΘθΙιβσδΒΖζъьыЪЬЫφρ&/\\|!1()[]{}'`,.;:_\"^~§"  # noqa: RUF001 - ambiguous they are
    "ɂɘɜɝɞɡɥɨɩɪɫɬɭɵɸɿʂʃʅʆʑʒʓʔʕʖʘʚʡʢѮѯѲѳѺѻҔҕҘҙҶҷҸҹӀӏӋӌӞӟӠӡӨөӪӫӴӵԆԇԌԚԛՁձՅյՏՑցՕօԶԳգզժլջղղՇշկծՔ"
    "اأإآوؤهةقدءຈວງຯອᑊᐤᐝᐟᑫᑬᑲᑳᒀᒉᒣᔆᔕᕐᕔᕖᕥᙆᙇ"
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

SIGN_SHARE, WRITTEN_SHARE, TRACED_SHARE = 0.2, 0.4, 0.6

# Letters that hands write otherwise than fonts show them: points (x, y) of a pen's way, whose corners are rounded.
WRITTEN: dict[str, tuple[list[tuple[float, float]], ...]] = {
    "A": ([(0, 1), (0.45, 0), (0.9, 1)], [(0.15, 0.6), (0.75, 0.6)]),
    "E": ([(0.7, 0), (0.05, 0.02), (0, 1), (0.75, 1)], [(0.02, 0.5), (0.6, 0.48)]),
    "F": ([(0.75, 0), (0.05, 0.02), (0, 1)], [(0.03, 0.45), (0.6, 0.43)]),
    "H": ([(0, 0), (0, 1)], [(0.8, 0), (0.8, 1)], [(0, 0.5), (0.8, 0.5)]),
    "J": ([(0.6, 0), (0.6, 0.8), (0.3, 1), (0, 0.8)], [(0.2, 0), (1, 0)]),
    "K": ([(0, 0), (0, 1)], [(0.75, 0), (0.02, 0.5), (0.8, 1)]),
    "L": ([(0.05, 0), (0, 1), (0.7, 1)],),
    "M": ([(0, 1), (0.1, 0), (0.45, 0.6), (0.8, 0), (0.9, 1)],),
    "N": ([(0, 1), (0.02, 0), (0.7, 1), (0.72, 0)],),
    "P": ([(0.05, 0), (0, 1)], [(0.03, 0.05), (0.6, 0.05), (0.65, 0.4), (0.05, 0.55)]),
    "R": ([(0.05, 0), (0, 1)], [(0.03, 0.05), (0.6, 0.05), (0.65, 0.4), (0.05, 0.55), (0.75, 1)]),
    "Y": ([(0, 0), (0.4, 0.5)], [(0.85, 0), (0.4, 0.5), (0.35, 1)]),
    "a": ([(0.85, 0.15), (0.4, 0), (0.05, 0.4), (0.2, 0.95), (0.6, 0.8), (0.8, 0.2), (0.8, 0.8), (1, 1)],),
    "c": ([(0.8, 0.15), (0.4, 0), (0, 0.4), (0.1, 0.85), (0.5, 1), (0.85, 0.85)],),
    "d": ([(0.7, 0.55), (0.35, 0.4), (0, 0.7), (0.3, 1), (0.65, 0.85), (0.75, 0), (0.75, 1)],),
    "e": ([(0, 0.55), (0.8, 0.5), (0.6, 0.05), (0.15, 0.15), (0, 0.6), (0.3, 1), (0.9, 0.8)],),
    "f": ([(0.7, 0.1), (0.45, 0), (0.3, 0.3), (0.3, 1)], [(0, 0.45), (0.6, 0.42)]),
    "h": ([(0.05, 0), (0.05, 1)], [(0.05, 0.75), (0.3, 0.45), (0.6, 0.5), (0.65, 1)]),
    "k": ([(0, 0), (0, 1)], [(0.6, 0.35), (0.02, 0.7), (0.65, 1)]),
    "m": (
        *([(0, 0.2), (0.05, 1)], [(0.05, 0.5), (0.25, 0.2), (0.42, 0.4), (0.45, 1)]),
        [(0.45, 0.5), (0.65, 0.2), (0.85, 0.4), (0.88, 1)],
    ),
    "n": ([(0, 0), (0.05, 1)], [(0.05, 0.4), (0.35, 0), (0.7, 0.2), (0.7, 1)]),
    "r": ([(0, 0), (0.1, 1)], [(0.1, 0.5), (0.3, 0.1), (0.7, 0.05)]),
    "t": ([(0.3, 0), (0.3, 0.85), (0.5, 1), (0.7, 0.9)], [(0, 0.3), (0.65, 0.28)]),
    "u": ([(0, 0), (0.05, 0.8), (0.35, 1), (0.7, 0.7), (0.75, 0), (0.75, 0.8), (0.95, 1)],),
    "v": ([(0, 0), (0.4, 1), (0.8, 0)],),
    "w": ([(0, 0), (0.2, 1), (0.45, 0.35), (0.7, 1), (0.95, 0)],),
    "x": ([(0, 0), (0.75, 1)], [(0.75, 0), (0, 1)]),
    "y": ([(0, 0), (0.3, 0.5)], [(0.7, 0), (0.3, 0.55), (0, 1)]),
    "alpha": (
        [(1, 0.1), (0.7, 0.55), (0.4, 0.95), (0.05, 0.75), (0.05, 0.3), (0.35, 0.05), (0.65, 0.4), (0.8, 0.8), (1, 1)],
    ),
    "alpha with a tail": (
        [(0.9, 0), (0.75, 0.5), (0.4, 0.85), (0.05, 0.65), (0.1, 0.25), (0.45, 0.1), (0.7, 0.45), (1, 1)],
    ),
    "gamma": ([(0, 0.15), (0.2, 0), (0.4, 0.3), (0.45, 0.6), (0.4, 1)], [(0.9, 0), (0.45, 0.6)]),
    "gamma with a loop": (
        [(0, 0.1), (0.2, 0), (0.4, 0.3), (0.55, 0.7), (0.5, 1), (0.3, 0.95), (0.35, 0.65), (0.9, 0)],
    ),
    "epsilon": ([(0.8, 0.1), (0.3, 0), (0.2, 0.4), (0.55, 0.48), (0.1, 0.6), (0.2, 1), (0.8, 0.9)],),
    "lambda": ([(0.1, 0), (0.3, 0), (0.5, 0.4), (0.75, 0.95), (0.95, 0.95)], [(0.5, 0.4), (0.3, 0.7), (0.05, 1)]),
    "straight lambda": ([(0.2, 0), (0.9, 1)], [(0.5, 0.45), (0, 1)]),
    "mu": ([(0, 1), (0.1, 0.5), (0.2, 0), (0.2, 0.55), (0.45, 0.65), (0.65, 0.4), (0.7, 0), (0.7, 0.5), (0.9, 0.6)],),
    "pi": (
        *([(0, 0.2), (0.2, 0), (0.9, 0.05)], [(0.3, 0.05), (0.25, 0.6), (0.1, 1)]),
        [(0.65, 0.05), (0.65, 0.7), (0.85, 1)],
    ),
    "psi": ([(0, 0.1), (0.1, 0.6), (0.45, 0.7), (0.85, 0.55), (0.9, 0.1)], [(0.5, 0), (0.42, 1)]),
    "omega": ([(0.1, 0.1), (0, 0.7), (0.25, 1), (0.45, 0.6), (0.65, 1), (0.95, 0.7), (0.85, 0.1)],),
}


def draw_letter(rng: np.random.Generator) -> Canvas:
    """A letter or, now and then, another sign."""
    return draw_written(rng) if rng.random() < WRITTEN_SHARE else draw_character(rng)


def draw_written(rng: np.random.Generator) -> Canvas:
    """A letter of `WRITTEN`, each time another way."""
    letter = WRITTEN[str(rng.choice(list(WRITTEN)))]
    strokes = [np.array(points) + rng.normal(0, rng.uniform(0.02, 0.07), (len(points), 2)) for points in letter]
    return draw_strokes(rng, [round_corners(points) for points in strokes])


def draw_character(rng: np.random.Generator, characters: str | None = None) -> Canvas:
    """One of the characters, of a font: with strokes, printed, or printed and then traced; None: a letter or a sign."""
    if rng.random() < 0.4:
        return _write(str(rng.choice(list(characters or _list_ascii_letters()))), int(rng.choice(STROKE_FONTS)), rng)
    font = str(rng.choice(FONTS))
    letters, signs = _list_drawable(font)
    choices = list(characters) if characters else signs if rng.random() < SIGN_SHARE else letters
    return _print_or_trace(rng, str(rng.choice(choices)), font)


def draw_unfamiliar(rng: np.random.Generator) -> Canvas:
    """A letter of one of `OTHER_SCRIPTS`, printed, or printed and then traced."""
    fonts = _list_unfamiliar()[rng.integers(len(OTHER_SCRIPTS))]
    font = str(rng.choice(list(fonts)))
    return _print_or_trace(rng, str(rng.choice(fonts[font])), font)


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
def _list_unfamiliar() -> tuple[dict[str, tuple[str, ...]], ...]:
    """Returns, for each of `OTHER_SCRIPTS`, its letters that a font holds, by font."""
    scripts = []
    for codes in OTHER_SCRIPTS:
        letters = [chr(code) for code in codes if chr(code).isalpha() and chr(code) not in LOOK_ALIKES]
        by_font = {font: tuple(c for c in letters if ord(c) in _list_held(font)) for font in FONTS}
        scripts.append({font: held for font, held in by_font.items() if held})
    return tuple(scripts)


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
