"""Images drawn by program for training: what is no digit, 1s and 7s as much of the world writes them, digits redrawn.

A classifier that has only ever seen digits is sure of one in anything (Hein et al. 2019,
https://arxiv.org/abs/1812.05720). So training shows it letters and signs, shapes, scribbles, print, and digits that are
turned, joined or cut. And MNIST's writers, Americans, draw a 1 as a plain stroke; one with an upstroke they would take
for a 7.

All go the way of every picture through `preprocess.draw_digit`. But MNIST's digits have the jagged edges of the scans
that they were made from, and by smooth ones a network tells the drawings at once, whatever they show; then it doubts
the digits of other people too. So drawn edges are roughened at random, and some digits are redrawn with smoothed ones,
or are a font's, as the letters are. Digits and others alike are photographed now and then, on paper in uneven light.
"""

import functools
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8
from PIL import Image, ImageDraw, ImageFont

from digitjax.config import TrainConfig
from digitjax.idx import Dataset
from digitjax.ink import disk, extract_ink, ink_box
from digitjax.preprocess import draw_digit, find_digit

NO_DIGIT = 10
"""The label of what is no digit, next to 0 to 9."""

Canvas = UInt8[np.ndarray, "96 96"]
"""Light ink on a dark ground, 0 to 255."""

SIDE = 96

# How many drawings are photographed, and of what is drawn or found then the share that must be both.
PHOTOGRAPHED_SHARE, MIN_FOUND = 0.4, 0.6

# How many redrawn digits hold something that isn't theirs or lack something, and how much ink of a neighbour's at most.
NEIGHBOUR_SHARE, RULE_SHARE, TRIMMED_SHARE = 0.2, 0.15, 0.15
MAX_NEIGHBOUR = 0.25

# Drawings fill about this much of the canvas; bending them needs a margin.
EXTENT = 64


def add_drawn(digits: Dataset, config: TrainConfig) -> Dataset:
    """Returns the digits, followed by 1s and 7s, redrawn digits and images without one, as many as the config says.

    Its seed decides all of them; images without a digit are labelled NO_DIGIT.
    """
    rng = np.random.default_rng(config.seed)
    n = len(digits.labels) / (1 - config.negative_share - config.one_seven_share - config.redrawn_share)
    ones = draw_ones_and_sevens(rng, round(n * config.one_seven_share))
    redrawn = redraw_digits(rng, round(n * config.redrawn_share), digits)
    negatives = draw_negatives(rng, round(n * config.negative_share), digits)
    return Dataset(
        np.concatenate([digits.images, ones.images, redrawn.images, negatives]),
        np.concatenate([digits.labels, ones.labels, redrawn.labels, np.full(len(negatives), NO_DIGIT, np.int32)]),
    )


# ---------------------------------------------------------------- 1s and 7s


def draw_ones_and_sevens(rng: np.random.Generator, n: int) -> Dataset:
    """Draws 1s with an upstroke, with and without a foot, and 7s with and without a bar, in turn."""
    labels = np.where(np.arange(n) % 2 == 0, 1, 7).astype(np.int32)
    images = [_finish_one(rng, draw_one if label == 1 else draw_seven) for label in labels]
    return _to_dataset(images, labels)


def draw_one(rng: np.random.Generator) -> Canvas:
    """A 1 whose upstroke rises steeply, where the top of a 7 lies."""
    rise, length = np.deg2rad(rng.uniform(32, 70)), rng.uniform(0.2, 0.55)
    top, foot = np.zeros(2), np.array([rng.uniform(-0.1, 0.1), 1])
    strokes = [np.stack([top + length * np.array([-np.cos(rise), np.sin(rise)]), top, foot])]
    if rng.random() < 0.3:
        half = np.array([rng.uniform(0.12, 0.35), rng.uniform(-0.05, 0.05)])
        strokes.append(np.stack([foot - half, foot + half]))
    return _draw_strokes(rng, strokes)


def draw_seven(rng: np.random.Generator) -> Canvas:
    """A 7 with a top that lies, and often with a bar through its stem."""
    corner, foot = np.zeros(2), np.array([-rng.uniform(0, 0.5), 1])
    tilt, length = np.deg2rad(rng.uniform(-10, 10)), rng.uniform(0.4, 0.8)
    left = length * np.array([-np.cos(tilt), np.sin(tilt)])
    hook = [left + np.array([rng.uniform(-0.03, 0.03), rng.uniform(0.06, 0.2)])] if rng.random() < 0.3 else []
    strokes = [np.stack([*hook, left, corner, foot])]
    if rng.random() < 0.6:
        middle, half = foot * rng.uniform(0.4, 0.6), np.array([rng.uniform(0.12, 0.3), rng.uniform(-0.06, 0.06)])
        strokes.append(np.stack([middle - half, middle + half]))
    return _draw_strokes(rng, strokes)


def _draw_strokes(rng: np.random.Generator, strokes: Sequence[Float[np.ndarray, "_ 2"]]) -> Canvas:
    """Draws lines through points (x, y), enlarged to the canvas's extent."""
    been = np.concatenate(strokes)
    low, high = been.min(axis=0), been.max(axis=0)
    canvas, pen = _blank(), int(rng.integers(3, 9))
    for stroke in strokes:
        _draw_line(canvas, (stroke - (low + high) / 2) * (EXTENT / (high - low).max()) + SIDE / 2, pen)
    return canvas


# ---------------------------------------------------------------- digits as pictures show them


def redraw_digits(rng: np.random.Generator, n: int, digits: Dataset) -> Dataset:
    """Draws digits anew, as what is no digit is drawn: or these could be told by their edges, which aren't MNIST's.

    Every fourth is of a font, for the letters are. The others come with what is left where a digit is found among
    others or on ruled paper: a neighbour's stroke, a piece of a rule, a side that is cut too short.
    """
    chosen = rng.integers(len(digits.labels), size=n)
    labels, images = digits.labels[chosen], []
    for i, k in enumerate(chosen):
        if i % 4 == 0:
            labels[i] = i // 4 % 10
            images.append(_finish_one(rng, functools.partial(_draw_character, characters=str(labels[i]))))
        else:
            images.append(_finish_one(rng, functools.partial(cut_out, image=digits.images[k, ..., 0], digits=digits)))
    return _to_dataset(images, labels)


def cut_out(rng: np.random.Generator, image: UInt8[np.ndarray, "28 28"], digits: Dataset) -> Canvas:
    """A digit, enlarged, with the errors of finding it in a picture; `digits` are its neighbours."""
    ink = _enlarge(rng, image, EXTENT - 8)
    width = ink.shape[1]
    if rng.random() < TRIMMED_SHARE:
        left, right = rng.uniform(0, 0.12, 2) * width
        ink = ink[:, round(left) : width - round(right)]
    canvas = _center(ink)
    left, top, right, bottom = ink_box(canvas > 0)
    if rng.random() < NEIGHBOUR_SHARE:
        other = _enlarge(rng, digits.images[rng.integers(len(digits.labels)), ..., 0], EXTENT - 8)
        wide, apart, y = int(rng.integers(4, 14)), int(rng.integers(-4, 4)), int(rng.integers(SIDE - len(other)))
        stroke, x = (other[:, :wide], right + apart) if rng.random() < 0.5 else (other[:, -wide:], left - wide - apart)
        if stroke.sum() < MAX_NEIGHBOUR * canvas.sum():  # more may be a digit itself
            x = int(np.clip(x, 0, SIDE - stroke.shape[1]))
            place = canvas[y : y + len(stroke), x : x + stroke.shape[1]]
            np.maximum(place, stroke, out=place)
    if rng.random() < RULE_SHARE:
        y, (before, after) = int(rng.integers(top, bottom)), rng.integers(-12, 16, 2).tolist()
        cv2.line(canvas, (left - before, y), (right + after, y), int(rng.integers(120, 256)), 2)
    return canvas


# ---------------------------------------------------------------- what is no digit


def draw_negatives(rng: np.random.Generator, n: int, digits: Dataset) -> UInt8[np.ndarray, "n 28 28 1"]:
    """Draws images without a digit, as `preprocess_image` would leave them, kind by kind.

    Args:
      rng: Decides all of them.
      n: How many.
      digits: Some are made of these, and what comes out too like one of these is left out; at least one is a 0.
    """
    looks = _measure_looks(digits.images[:NUM_COMPARED, ..., 0])

    def finish(canvas: Canvas) -> UInt8[np.ndarray, "28 28"] | None:
        return _finish(rng, canvas)

    def finish_unlike(canvas: Canvas) -> UInt8[np.ndarray, "28 28"] | None:
        return _unless_alike(_finish(rng, canvas), looks)

    kinds: list[tuple[float, Callable[[], UInt8[np.ndarray, "28 28"] | None]]] = [
        (0.42, lambda: finish(draw_letter(rng))),
        (0.20, lambda: finish_unlike(draw_sign(rng))),
        (0.04, lambda: finish(draw_print(rng))),
        (0.05, lambda: finish_unlike(draw_scribble(rng))),
        (0.02, lambda: finish_unlike(draw_spiral(rng))),
        (0.04, lambda: finish_unlike(draw_shape(rng))),
        (0.02, lambda: finish(draw_bars(rng))),
        (0.02, lambda: finish(draw_face(rng))),
        (0.03, lambda: finish_unlike(draw_blots(rng))),
        (0.10, lambda: finish_unlike(turn_digit(rng, digits))),
        (0.05, lambda: finish(join_digits(rng, digits))),
        (0.01, lambda: finish(halve_zero(rng, digits))),
    ]
    counts = rng.multinomial(n, [share for share, _ in kinds])
    images: list[UInt8[np.ndarray, "28 28"]] = []
    for count, (_, draw) in zip(np.cumsum(counts), kinds, strict=True):
        while len(images) < count:
            if (image := draw()) is not None:
                images.append(image)
    return np.stack(images)[..., None] if images else np.zeros((0, 28, 28, 1), np.uint8)


# ---------------------------------------------------------------- from a drawing to MNIST's form


def _to_dataset(images: Sequence[UInt8[np.ndarray, "28 28"]], labels: Int32[np.ndarray, "n"]) -> Dataset:
    return Dataset(np.stack(images)[..., None] if images else np.zeros((0, 28, 28, 1), np.uint8), labels)


def _finish_one(rng: np.random.Generator, draw: Callable[[np.random.Generator], Canvas]) -> UInt8[np.ndarray, "28 28"]:
    """Draws a digit until something is left of it; digits are shaken less than what is none, or they would be none."""
    while (image := _finish(rng, draw(rng), shake=2)) is None:
        pass
    return image


def _finish(rng: np.random.Generator, canvas: Canvas, shake: float = 5) -> UInt8[np.ndarray, "28 28"] | None:
    """Bends a drawing, takes a picture of it now and then, and brings it to MNIST's form; None if nothing is left."""
    ink = _bend(rng, canvas, shake)
    mask = ink > 64
    if rng.random() < PHOTOGRAPHED_SHARE:
        found = _photograph(rng, ink)
        found_mask, wanted = find_digit(found), cv2.resize(ink, found.shape, interpolation=cv2.INTER_AREA) > 64
        # Where the picture is too bad, what is found isn't what was drawn.
        if (found_mask & wanted).sum() > MIN_FOUND * (found_mask | wanted).sum():
            ink, mask = found, found_mask
    return draw_digit(ink, mask) if mask.any() else None


def _photograph(rng: np.random.Generator, ink: Float32[np.ndarray, "96 96"]) -> Float32[np.ndarray, "side side"]:
    """Returns the ink that is found again in a small picture: uneven light, a pen that fades, blur, noise."""
    side = int(rng.integers(36, SIDE + 1))
    light = rng.uniform(130, 250) + (_PLACES - SIDE / 2) @ rng.uniform(-0.6, 0.6, 2)
    pen = rng.uniform(0.3, 0.9) * cv2.resize(rng.uniform(rng.uniform(0.5, 1), 1, (5, 5)), (SIDE, SIDE))
    picture = cv2.resize(light * (1 - pen * ink / 255), (side, side), interpolation=cv2.INTER_AREA)
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.2, 1.2)) + rng.normal(0, rng.uniform(0, 5), (side, side))
    return extract_ink(picture.clip(0, 255).astype(np.float32), side / 3)


def _bend(rng: np.random.Generator, canvas: Canvas, shake: float) -> Float32[np.ndarray, "96 96"]:
    """Bends strokes as a hand does: turned, slanted, stretched, shaken; with a thinner or a thicker pen.

    Args:
      rng: Decides all of it.
      canvas: What is bent.
      shake: The largest standard deviation, in pixels, of the shifts at the nodes of a grid of 4x4.
    """
    shaken = cv2.resize(rng.normal(0, rng.uniform(1, shake), (4, 4, 2)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    if (roughness := rng.uniform(-1, 1.5)) > 0:
        shaken += cv2.resize(rng.normal(0, roughness, (32, 32, 2)), (SIDE, SIDE))
    angle, slant, stretch = np.deg2rad(rng.uniform(-12, 12)), rng.uniform(-0.3, 0.3), rng.uniform(0.8, 1.2)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    places = (_PLACES - SIDE / 2) @ (rotation @ [[stretch, slant], [0, 1]]).T + SIDE / 2 + shaken
    bent = cv2.remap(canvas, places.astype(np.float32), None, cv2.INTER_LINEAR)
    change = int(rng.integers(-3, 3))
    if change > 0:
        bent = cv2.dilate(bent, disk(1 + change))
    elif change < 0:
        bent = _unless_lost(cv2.erode(bent, disk(1 - change)), bent)
    return bent.astype(np.float32)


def _unless_lost(changed: UInt8[np.ndarray, "h w"], ink: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Returns the changed ink, or the ink as it was where the change leaves only dots of strokes so thin."""
    return changed if np.count_nonzero(changed > 127) > 0.5 * np.count_nonzero(ink > 127) else ink


_PLACES = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1)  # [y, x] -> (x, y)


# With how many digits a drawing is compared, and how alike the two may be: most of MNIST's digits have one among as
# many others that is more alike to them.
NUM_COMPARED = 3_000
MAX_ALIKENESS = 0.93


def _unless_alike(
    image: UInt8[np.ndarray, "28 28"] | None, looks: Float32[np.ndarray, "n 196"]
) -> UInt8[np.ndarray, "28 28"] | None:
    """Returns the image, or None where it came out like a digit."""
    return None if image is None or (looks @ _measure_looks(image[None])[0]).max() > MAX_ALIKENESS else image


def _measure_looks(images: UInt8[np.ndarray, "n 28 28"]) -> Float32[np.ndarray, "n 196"]:
    """Returns images blurred, at half the size, as vectors of length 1: their products tell how alike they are."""
    looks = [cv2.resize(cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.5), (14, 14)).ravel() for image in images]
    return np.stack([look / np.linalg.norm(look) for look in looks])


# ---------------------------------------------------------------- letters and signs

# Latin, Greek, Cyrillic; arrows, mathematics, shapes, symbols.
ALPHABETS = (
    *(range(0x21, 0x7F), range(0x391, 0x3CA), range(0x410, 0x450)),
    *(range(0x2190, 0x21C4), range(0x2200, 0x2294), range(0x25A0, 0x25D0), range(0x2605, 0x2670)),
)

# What passes for a digit, upright or slanted, when it stands alone.
LOOK_ALIKES = frozenset("OoQDIlijZzSsbGgqBTyеЗзОоБбЧчЭэЯяВвΟοΘθΙιβσδΒΖζъьыЪЬЫφρ&/\\|!1()[]{}'`,.;:_\"^~§")  # noqa: RUF001 - ambiguous they are
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
SIGN_SHARE, WRITTEN_SHARE, TRACED_SHARE = 0.2, 0.15, 0.6


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


# Letters that hands write otherwise than fonts show them: points (x, y) of a pen's way, whose corners are rounded.
WRITTEN: dict[str, tuple[list[tuple[float, float]], ...]] = {
    "alpha": (
        [(1, 0.1), (0.7, 0.55), (0.4, 0.95), (0.05, 0.75), (0.05, 0.3), (0.35, 0.05), (0.65, 0.4), (0.8, 0.8), (1, 1)],
    ),
    "gamma": ([(0, 0.15), (0.2, 0), (0.4, 0.3), (0.45, 0.6), (0.4, 1)], [(0.9, 0), (0.45, 0.6)]),
    "gamma with a loop": (
        [(0, 0.1), (0.2, 0), (0.4, 0.3), (0.55, 0.7), (0.5, 1), (0.3, 0.95), (0.35, 0.65), (0.9, 0)],
    ),
    "lambda": ([(0.1, 0), (0.3, 0), (0.5, 0.4), (0.75, 0.95), (0.95, 0.95)], [(0.5, 0.4), (0.3, 0.7), (0.05, 1)]),
    "mu": ([(0, 1), (0.1, 0.5), (0.2, 0), (0.2, 0.55), (0.45, 0.65), (0.65, 0.4), (0.7, 0), (0.7, 0.5), (0.9, 0.6)],),
    "pi": (
        *([(0, 0.2), (0.2, 0), (0.9, 0.05)], [(0.3, 0.05), (0.25, 0.6), (0.1, 1)]),
        [(0.65, 0.05), (0.65, 0.7), (0.85, 1)],
    ),
    "a": ([(0.85, 0.15), (0.4, 0), (0.05, 0.4), (0.2, 0.95), (0.6, 0.8), (0.8, 0.2), (0.8, 0.8), (1, 1)],),
    "e": ([(0, 0.55), (0.8, 0.5), (0.6, 0.05), (0.15, 0.15), (0, 0.6), (0.3, 1), (0.9, 0.8)],),
    "h": ([(0.05, 0), (0.05, 1)], [(0.05, 0.75), (0.3, 0.45), (0.6, 0.5), (0.65, 1)]),
    "n": ([(0, 0), (0.05, 1)], [(0.05, 0.4), (0.35, 0), (0.7, 0.2), (0.7, 1)]),
    "r": ([(0, 0), (0.1, 1)], [(0.1, 0.5), (0.3, 0.1), (0.7, 0.05)]),
    "u": ([(0, 0), (0.05, 0.8), (0.35, 1), (0.7, 0.7), (0.75, 0), (0.75, 0.8), (0.95, 1)],),
}


def draw_written(rng: np.random.Generator) -> Canvas:
    """A letter of `WRITTEN`, each time another way."""
    letter = WRITTEN[str(rng.choice(list(WRITTEN)))]
    strokes = [np.array(points) + rng.normal(0, rng.uniform(0.02, 0.07), (len(points), 2)) for points in letter]
    return _draw_strokes(rng, [_round_corners(points) for points in strokes])


def draw_letter(rng: np.random.Generator) -> Canvas:
    """A letter or, now and then, another sign."""
    return draw_written(rng) if rng.random() < WRITTEN_SHARE else _draw_character(rng)


def _draw_character(rng: np.random.Generator, characters: str | None = None) -> Canvas:
    """One of the characters, of a font: with strokes, printed, or printed and then traced; None: a letter or a sign."""
    if rng.random() < 0.4:
        return _write(str(rng.choice(list(characters or _list_ascii_letters()))), int(rng.choice(STROKE_FONTS)), rng)
    font = str(rng.choice(FONTS))
    letters, signs = _list_drawable(font)
    choices = list(characters) if characters else signs if rng.random() < SIGN_SHARE else letters
    printed = _print(str(rng.choice(choices)), font, 72)
    return _trace(rng, printed) if rng.random() < TRACED_SHARE else printed


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
    return cv2.putText(_blank(), character, at, font, scale, 255, int(rng.integers(3, 9)), cv2.LINE_AA)


def _print(text: str, font: str, size: int) -> Canvas:
    image = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(image).text((SIDE / 2, SIDE / 2), text, fill=255, font=_load_font(font, size), anchor="mm")
    return np.array(image)


def _trace(rng: np.random.Generator, printed: Canvas) -> Canvas:
    """Goes along the middle of printed strokes with a pen, for hands know no thick and thin ones.

    The middle is where the distance to the edge has a ridge.
    """
    large = cv2.resize(printed, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    distance = cv2.distanceTransform((large > 127).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    curvature = cv2.Laplacian(cv2.GaussianBlur(distance, (0, 0), 1), cv2.CV_32F, ksize=3)
    middle = ((curvature < -1.2) & (distance > 0.9)).astype(np.uint8) * 255
    return cv2.resize(
        cv2.dilate(middle, disk(2 * int(rng.integers(3, 9)) - 1)), (SIDE, SIDE), interpolation=cv2.INTER_AREA
    )


@functools.cache
def _load_font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_find_font(name), size)


@functools.cache
def _list_drawable(font: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the letters and the other signs that a font holds."""
    from matplotlib.ft2font import FT2Font  # 0.2 s

    held = FT2Font(_find_font(font)).get_charmap()
    characters = [c for c in list_characters() if ord(c) in held]
    return tuple(c for c in characters if c.isalpha()), tuple(c for c in characters if not c.isalpha())


def _find_font(name: str) -> Path:
    from matplotlib import get_data_path

    return Path(get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"


# ---------------------------------------------------------------- signs that mean nothing


def draw_sign(rng: np.random.Generator) -> Canvas:
    """Lines, arcs and loops, some of them joined, as a pen could go; some come out as digits."""
    heading, way = rng.uniform(0, 2 * np.pi), [np.zeros((1, 2))]
    strokes = []
    for _ in range(rng.integers(3, 8)):
        turn = rng.choice([0.0, rng.normal(0, 1), rng.uniform(-5, 5)])
        headings = heading + turn * np.arange(1, 13) / 12
        steps = np.stack([np.cos(headings), np.sin(headings)], axis=1) * (rng.uniform(10, 40) / 12)
        way.append(way[-1][-1] + np.cumsum(steps, axis=0))
        heading = headings[-1] + (rng.uniform(-2.5, 2.5) if rng.random() < 0.3 else 0)
        if rng.random() < 0.25:  # the pen is lifted, and put down near a place where it has been
            strokes.append(np.concatenate(way))
            been = np.concatenate(strokes)
            way = [been[rng.integers(len(been))] + rng.normal(0, 4, (1, 2))]
            heading = rng.uniform(0, 2 * np.pi)
    strokes.append(np.concatenate(way))
    return _draw_strokes(rng, strokes)


# ---------------------------------------------------------------- shapes and scribbles


def draw_scribble(rng: np.random.Generator) -> Canvas:
    """Long strokes that wander, or go to and fro as if to fill a field."""
    canvas, pen = _blank(), int(rng.integers(2, 8))
    for _ in range(rng.integers(1, 4)):
        points = rng.uniform(12, SIDE - 12, (int(rng.integers(6, 16)), 2))
        if rng.random() < 0.3:
            points[:, 0] = np.linspace(12, SIDE - 12, len(points))
            points[::2, 1], points[1::2, 1] = 12 + points[::2, 1] / 6, SIDE - 12 - points[1::2, 1] / 6
        _draw_line(canvas, _round_corners(points) if rng.random() < 0.8 else points, pen)
    return canvas


def draw_spiral(rng: np.random.Generator) -> Canvas:
    """A spiral of almost two turns or more, or a wave."""
    t = np.linspace(0, 1, 200)
    if rng.random() < 0.5:
        angle = rng.uniform(0, 7) + 2 * np.pi * rng.uniform(1.7, 4) * t * rng.choice([-1, 1])
        points = SIDE / 2 + 38 * t[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    else:
        wave = rng.uniform(6, 20) * np.sin(2 * np.pi * rng.uniform(1.5, 5) * t + rng.uniform(0, 7))
        points = np.stack([12 + (SIDE - 24) * t, SIDE / 2 + wave], axis=1)
    return _draw_line(_blank(), points, int(rng.integers(2, 7)))


def draw_shape(rng: np.random.Generator) -> Canvas:
    """Polygons, stars and rays, filled or not, one or a few."""
    canvas, pen = _blank(), int(rng.integers(2, 8))
    num_shapes = int(rng.choice([1, 1, 2, 3, 5]))
    for _ in range(num_shapes):
        radius = rng.uniform(10, 38 if num_shapes == 1 else 24)
        center = rng.uniform(radius + 4, SIDE - radius - 4, 2)
        num_corners = int(rng.choice([3, 4, 5, 6, 8, 10]))
        angles = rng.uniform(0, 7) + np.arange(num_corners) * (2 * np.pi / num_corners)
        lengths = np.full(num_corners, radius)
        if num_corners >= 6:
            lengths[::2] *= rng.uniform(0.3, 0.6)  # a star
        corners = center + lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        match rng.integers(3):
            case 0:
                cv2.fillPoly(canvas, [np.rint(corners).astype(np.int32)], 255, cv2.LINE_AA)
            case 1:
                _draw_line(canvas, np.concatenate([corners, corners[:1]]), pen)
            case 2:
                for corner in corners:
                    _draw_line(canvas, np.stack([center, corner]), pen)
    return canvas


def draw_bars(rng: np.random.Generator) -> Canvas:
    """A lying line, a checkerboard, lying lines, or a lattice."""
    canvas, pen, low, high = _blank(), int(rng.integers(2, 10)), 10, SIDE - 10
    step = int(rng.integers(pen + 4, 34))
    match rng.integers(4):
        case 0:
            return cv2.line(canvas, (low, SIDE // 2), (high, SIDE // 2), 255, pen, cv2.LINE_AA)
        case 1:
            y, x = np.mgrid[0:SIDE, 0:SIDE] // step
            canvas[low:high, low:high] = 255 * ((x + y) % 2)[low:high, low:high]
            return canvas
        case kind:
            for at in range(low, high + 1, step):
                cv2.line(canvas, (low, at), (high, at), 255, pen, cv2.LINE_AA)
                if kind == 3:
                    cv2.line(canvas, (at, low), (at, high), 255, pen, cv2.LINE_AA)
            return canvas


def draw_face(rng: np.random.Generator) -> Canvas:
    """Two eyes and a mouth, or holes, in an outline or in a disk: a face, a button, an icon."""
    canvas, pen, middle = _blank(), int(rng.integers(3, 7)), SIDE // 2
    axes = tuple(rng.integers(30, 42, 2).tolist())
    is_filled = rng.random() < 0.5
    cv2.ellipse(canvas, (middle, middle), axes, 0, 0, 360, 255, -1 if is_filled else pen, cv2.LINE_AA)
    color, apart, height = 0 if is_filled else 255, int(rng.integers(10, 16)), int(rng.integers(6, 14))
    for side in (-1, 1):
        cv2.circle(canvas, (middle + side * apart, middle - height), int(rng.integers(5, 8)), color, -1, cv2.LINE_AA)
    first = int(rng.choice([0, 180]))  # smiling or not
    below = (middle, middle + 12 + (6 if first else 0))
    cv2.ellipse(canvas, below, (apart, int(rng.integers(2, 12))), 0, first, first + 180, color, pen, cv2.LINE_AA)
    return canvas


def draw_blots(rng: np.random.Generator) -> Canvas:
    """Clouds with hard edges, or these edges alone: what thresholds leave of photos, shadows and textures."""
    clouds = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE)).astype(np.float32), (0, 0), rng.uniform(2, 9))
    blots = (clouds > np.quantile(clouds, rng.uniform(0.4, 0.8))).astype(np.uint8) * 255
    return blots if rng.random() < 0.6 else cv2.morphologyEx(blots, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8))


def _blank() -> Canvas:
    return np.zeros((SIDE, SIDE), np.uint8)


def _draw_line(canvas: Canvas, points: Float[np.ndarray, "n 2"], pen: int) -> Canvas:
    """Joins points (x, y) by a line, in sixteenths of a pixel."""
    return cv2.polylines(canvas, [np.rint(points * 16).astype(np.int32)], False, 255, pen, cv2.LINE_AA, 4)


def _round_corners(points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "m 2"]:
    """Cuts the corners of a line three times (Chaikin 1974)."""
    for _ in range(3):
        cuts = np.stack([0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]], axis=1)
        points = np.concatenate([points[:1], cuts.reshape(-1, 2), points[-1:]])
    return points


# ---------------------------------------------------------------- what is done to digits

# How each digit may be turned or mirrored without another digit coming out.
TURNS: dict[int, tuple[Callable[[np.ndarray], np.ndarray], ...]] = {
    2: (np.rot90,),
    3: (np.fliplr, np.rot90, lambda ink: np.rot90(ink, 2)),
    4: (np.fliplr, np.rot90, lambda ink: np.rot90(ink, 2)),
    5: (np.rot90,),
    6: (np.fliplr,),
    7: (np.fliplr, lambda ink: np.rot90(ink, 2)),
    9: (np.fliplr,),
}


def turn_digit(rng: np.random.Generator, digits: Dataset) -> Canvas:
    """A digit mirrored, upside down or on its side, where that isn't a digit again."""
    while (label := int(digits.labels[i := rng.integers(len(digits.labels))])) not in TURNS:
        pass
    turns = TURNS[label]
    return _center(turns[rng.integers(len(turns))](_enlarge(rng, digits.images[i, ..., 0], EXTENT)))


def join_digits(rng: np.random.Generator, digits: Dataset) -> Canvas:
    """Two or three digits side by side, touching or not."""
    canvas, x = np.zeros((SIDE, 3 * SIDE), np.uint8), 0
    for i in rng.integers(len(digits.labels), size=int(rng.choice([2, 2, 3]))):
        ink = _enlarge(rng, digits.images[i, ..., 0], int(rng.integers(50, EXTENT)))
        x = max(0, x + int(rng.integers(-6, 10)))
        top = (SIDE - ink.shape[0]) // 2
        part = canvas[top : top + ink.shape[0], x : x + ink.shape[1]]
        np.maximum(part, ink, out=part)
        x += ink.shape[1]
    return _center(_enlarge(rng, canvas[:, :x], SIDE - 4))


def halve_zero(rng: np.random.Generator, digits: Dataset) -> Canvas:
    """The left or the right half of a 0, as a wrong cut leaves it; halves of others may pass for digits."""
    zeros = np.flatnonzero(digits.labels == 0)
    ink = _enlarge(rng, digits.images[rng.choice(zeros), ..., 0], EXTENT)
    middle = round(ink.shape[1] * rng.uniform(0.4, 0.6))
    return _center(ink[:, :middle] if rng.random() < 0.5 else ink[:, middle:])


def _enlarge(rng: np.random.Generator, image: UInt8[np.ndarray, "h w"], extent: int) -> UInt8[np.ndarray, "h2 w2"]:
    """Brings the longer side of the ink to `extent` pixels, and smooths its edges more or less."""
    left, top, right, bottom = ink_box(image > 0)
    scale = extent / max(right - left, bottom - top)
    large = cv2.resize(image[top:bottom, left:right], None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    if (smoothness := rng.uniform(0, 4)) < 1:
        return large
    blurred = cv2.GaussianBlur(np.pad(large, 4), (0, 0), smoothness)[4:-4, 4:-4]
    return _unless_lost(cv2.convertScaleAbs(np.maximum(blurred.astype(np.float32) - 85, 0), alpha=3), large)


def _center(ink: UInt8[np.ndarray, "h w"]) -> Canvas:
    canvas, (height, width) = _blank(), ink.shape
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    canvas[top : top + height, left : left + width] = ink
    return canvas
