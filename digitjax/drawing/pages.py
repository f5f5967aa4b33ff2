"""Pages to learn reading from: digits by many hands, what else people write, the paper below and the camera above.

Strokes have no resolution: they are slanted, stretched and turned as points, and drawn once, by a pen of any width. So
the box of every digit is known to a fraction of a pixel. Sizes and places are in pixels of the page; what varies with
the size of the writing is in heights of its digits.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8

from digitjax.config import DIGITS
from digitjax.data.arrays import Character, Dataset
from digitjax.drawing.canvas import enlarge_ink, round_corners
from digitjax.drawing.characters import FONTS, print_text
from digitjax.drawing.hands import divide_hands
from digitjax.drawing.paper import lay_paper
from digitjax.drawing.styles import STYLES
from digitjax.pictures.shapes import ink_box

Points = Float[np.ndarray, "n 2"]
"""Places (x, y), y downwards."""

# How high digits are, in pixels.
LOWEST, HIGHEST = 13.0, 40.0

# Ink is drawn so many times as large, and reduced.
FINE = 2

# How many of the ten classes a writer may lack.
MAX_LACKING = 2

# How likely somebody writes a class as few in the data do, see `styles.STYLES`.
STYLED_SHARE = 0.12

# Images of characters are smoothed at this size, the longer side in pixels.
GLYPH_SIZE = 72

# Signs that stand between digits, as lines in heights of a digit: x from the sign's left, y upwards from the base line.
SIGNS = {
    ".": [[(0, 0.02), (0.03, 0.03)]],
    ",": [[(0.1, 0.08), (0.07, -0.08), (0, -0.2)]],
    ":": [[(0.02, 0.15), (0.05, 0.16)], [(0.02, 0.55), (0.05, 0.56)]],
    "-": [[(0, 0.42), (0.25, 0.45), (0.5, 0.44)]],
    "--": [[(0, 0.4), (0.6, 0.45), (1.3, 0.42)]],
    "=": [[(0, 0.3), (0.5, 0.32)], [(0.02, 0.55), (0.5, 0.58)]],
    "+": [[(0, 0.45), (0.5, 0.45)], [(0.25, 0.2), (0.25, 0.7)]],
    "/": [[(0.5, 1.15), (0, -0.12)]],
    "(": [[(0.22, 1.15), (0.05, 0.85), (0, 0.5), (0.05, 0.15), (0.22, -0.15)]],
    ")": [[(0, 1.15), (0.17, 0.85), (0.22, 0.5), (0.17, 0.15), (0, -0.15)]],
    "#": [[(0.15, 0.95), (0.05, 0)], [(0.4, 0.95), (0.3, 0)], [(0, 0.65), (0.5, 0.7)], [(0, 0.3), (0.48, 0.35)]],
    "$": [
        [(0.45, 0.85), (0.2, 0.95), (0.02, 0.75), (0.25, 0.5), (0.45, 0.25), (0.25, 0.02), (0, 0.15)],
        [(0.24, 1.1), (0.22, -0.12)],
    ],
    "€": [
        [(0.5, 0.85), (0.3, 0.98), (0.1, 0.75), (0.05, 0.4), (0.2, 0.05), (0.5, 0.12)],
        [(-0.08, 0.58), (0.35, 0.6)],
        [(-0.08, 0.4), (0.33, 0.42)],
    ],
    "~": [[(0, 0.3), (0.3, 0.45), (0.6, 0.25), (0.9, 0.4), (1.3, 0.35)]],  # a flourish
}
_OFTEN = (".", ",", "-", "/")  # half of all signs


class Page(NamedTuple):
    """A composed page."""

    picture: UInt8[np.ndarray, "h w"]
    boxes: Float32[np.ndarray, "n 4"]  # left, top, right, bottom of each digit's ink, in pixels
    labels: Int32[np.ndarray, "n"]


class Sources(NamedTuple):
    """What pages are composed of."""

    hands: list[list[list[Character]]]  # of each writer or font, the digits of each class
    others: list[Character]  # what nobody takes for a digit


def gather_sources(own: Dataset, characters: Sequence[Character]) -> Sources:
    """Sorts characters by their writers.

    Of data sets that name none, and of the images in `own`, all are a hand, taken as often as a tenth of the writers.
    What a writer lacks of the ten classes is anybody's; who lacks more than two is left out.
    """
    digits, others = divide_hands(characters)
    images = [Character(DIGITS[label], image[..., 0], "", "") for image, label in zip(*own, strict=True)]
    hands: dict[str, list[list[Character]]] = defaultdict(lambda: [[] for _ in DIGITS])
    for character in [*images, *digits]:
        hands[character.writer or character.dataset][DIGITS.index(character.text)].append(character)
    everybody = [[c for hand in hands.values() for c in hand[label]] for label in range(len(DIGITS))]
    whole = {
        name: [own or others for own, others in zip(hand, everybody, strict=True)]
        for name, hand in hands.items()
        if sum(map(bool, hand)) >= len(DIGITS) - MAX_LACKING
    }
    crowds = [hand for name, hand in whole.items() if name in {"", *(c.dataset for c in characters)}]
    often = max(1, len(whole) // 10)
    fonts = [[[Character(digit, print_text(digit, font, 96), "", font)] for digit in DIGITS] for font in FONTS]
    return Sources([*whole.values(), *crowds * (often - 1), *fonts * max(1, often // len(fonts))], others)


# ---------------------------------------------------------------- ink


class _Sheet:
    """Ink on a page that may be turned, and the digits in it."""

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self.ink = np.zeros((FINE * height, FINE * width), np.uint8)
        self.boxes: list[tuple[float, ...]] = []
        self.labels: list[int] = []
        angle = np.deg2rad(rng.normal(0, 2.5) if rng.random() < 0.5 else 0)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        middle = np.array([width, height]) / 2
        self.turn = np.column_stack([turn, middle - turn @ middle])  # [2, 3]

    def draw(self, points: Points, pen: float, light: int = 255) -> Points:
        """Draws a line; returns its points on the page."""
        turned = points @ self.turn[:, :2].T + self.turn[:, 2]
        fixed = np.rint(turned * (16 * FINE) + 8 * (FINE - 1)).astype(np.int32)
        cv2.polylines(self.ink, [fixed], False, light, max(1, round(pen * FINE)), cv2.LINE_AA, 4)
        return turned

    def paste(self, image: UInt8[np.ndarray, "h w"], matrix: Float[np.ndarray, "2 3"]) -> tuple[float, ...] | None:
        """Draws an image, moved by an affine matrix; returns the box of its ink on the page, if there is any."""
        whole = FINE * (self.turn @ np.vstack([matrix, [0, 0, 1]]))
        height, width = image.shape
        corners = np.array([(0, 0, 1), (width, 0, 1), (0, height, 1), (width, height, 1)]) @ whole.T
        left, top = np.floor(corners.min(axis=0)).astype(int).clip(0)
        right, bottom = np.ceil(corners.max(axis=0)).astype(int).clip(0) + 1
        part = self.ink[top:bottom, left:right]
        if not part.size:
            return None
        whole[:, 2] -= left, top
        moved = cv2.warpAffine(image, whole, part.shape[::-1], flags=cv2.INTER_CUBIC)
        np.maximum(part, moved, out=part)
        if not (mask := moved > 64).any():
            return None
        return tuple((np.array(ink_box(mask)) + (left, top, left, top)) / FINE)

    def add(self, box: Sequence[float], label: int) -> None:
        self.boxes.append(tuple(box))
        self.labels.append(label)

    def finish(self, picture: UInt8[np.ndarray, "h w"]) -> Page:
        """Returns the page; digits whose middle lies outside are none of it."""
        boxes, labels = np.array(self.boxes, np.float32).reshape(-1, 4), np.array(self.labels, np.int32)
        return _keep_inside(Page(picture, boxes, labels))


def _keep_inside(page: Page) -> Page:
    middles = (page.boxes[:, :2] + page.boxes[:, 2:]) / 2
    inside = ((middles >= 0) & (middles < page.picture.shape[::-1])).all(axis=1)
    return Page(page.picture, page.boxes[inside], page.labels[inside])


def _cut(page: Page, left: int, top: int, right: int, bottom: int) -> Page:
    moved = page.boxes - np.array([left, top, left, top], np.float32)
    return _keep_inside(Page(page.picture[top:bottom, left:right], moved, page.labels))


# ---------------------------------------------------------------- writing


class _Style(NamedTuple):
    """How somebody writes a row."""

    hand: list[list[Character]]
    height: float
    pen: float
    slant: float
    stretch: float
    gap: float
    unevenness: float
    zero: float  # how high zeros are
    styled: frozenset[int]  # classes that are written as in `STYLES`


def _choose_style(rng: np.random.Generator, sources: Sources, height: float) -> _Style:
    close, usual, wide = rng.uniform(-0.12, 0.05), rng.uniform(0, 0.3), rng.uniform(0.2, 1)
    return _Style(
        hand=sources.hands[rng.integers(len(sources.hands))],
        height=height,
        pen=max(0.6, height * np.clip(rng.lognormal(np.log(0.075), 0.4), 0.025, 0.2)),
        slant=np.clip(rng.normal(0.12, 0.25), -0.5, 0.9),
        stretch=rng.lognormal(0, 0.2),
        gap=rng.choice([close, usual, wide], p=[0.35, 0.5, 0.15]),
        unevenness=rng.choice([0.03, 0.08, 0.18, 0.3]),
        zero=rng.choice([1, 0.75, 0.5], p=[0.6, 0.2, 0.2]),
        styled=frozenset(digit for digit in STYLES if rng.random() < STYLED_SHARE),
    )


def _write(
    rng: np.random.Generator, sheet: _Sheet, character: Character, style: _Style, x: float, base: float, height: float
) -> tuple[float, float]:
    """Writes a character so that its ink begins at x and stands on the base line; returns its left and right end."""
    slant, stretch = style.slant + rng.normal(0, 0.05), style.stretch * rng.lognormal(0, 0.08)
    if isinstance(character.ink, np.ndarray):
        image = enlarge_ink(rng, character.ink, GLYPH_SIZE)
        high, wide = image.shape
        scale = height / max(high, 0.3 * wide)
        matrix = scale * np.array([[stretch, -slant, 0], [0, 1, -high]])
        ends = matrix[0, :2] @ np.array([[0, wide, 0, wide], [0, 0, high, high]])
        matrix[:, 2] += x - ends.min(), base
        box, end = sheet.paste(image, matrix), x + np.ptp(ends)
    else:
        is_round = rng.random() < 0.7  # of pens that were asked too seldom for where they are
        strokes = [round_corners(stroke) if is_round and 2 < len(stroke) < 12 else stroke for stroke in character.ink]
        size = np.ptp(been := np.concatenate(strokes), axis=0)
        scale = height / max(size[1], 0.3 * size[0])
        shape = scale * np.array([[stretch, rng.normal(0, 0.04)], [-slant, 1]])
        been = been @ shape
        shift = np.array([x + style.pen / 2, base]) - [been[:, 0].min(), been[:, 1].max()]
        points = np.concatenate([sheet.draw(stroke @ shape + shift, style.pen) for stroke in strokes])
        box = (*(points.min(axis=0) - style.pen / 2), *(points.max(axis=0) + style.pen / 2))
        end = x + np.ptp(been[:, 0]) + style.pen
    if box and character.text in DIGITS:
        sheet.add(box, DIGITS.index(character.text))
    return x, end


def _write_sign(rng: np.random.Generator, sheet: _Sheet, style: _Style, x: float, base: float) -> float:
    """Writes a sign; returns where it ends."""
    sign = str(rng.choice(_OFTEN if rng.random() < 0.5 else list(SIGNS)))
    size = style.height * rng.lognormal(0, [0.4, 0.15])
    pen = style.pen * (rng.uniform(0.8, 1.8) if sign in ".:" else 1)
    lift = rng.uniform(-0.06, 0.06) * style.height
    end = x
    for line in SIGNS[sign]:
        points = np.array(line) * size * (1, -1) + rng.normal(0, 0.02, (len(line), 2)) * style.height
        points[:, 0] -= style.slant * points[:, 1] * (sign not in ".,:")
        points = round_corners(points + (x + pen / 2, base - lift))
        sheet.draw(points, pen)
        end = max(end, points[:, 0].max() + pen / 2)
    return end


def _draw_number(rng: np.random.Generator, length: int) -> list[int]:
    """Draws the digits of a number; some end in zeros, in some a digit is repeated."""
    digits = rng.integers(10, size=length)
    if rng.random() < 0.3:
        digits[length - rng.integers(min(length, 4)) :] = 0
    if rng.random() < 0.15:
        digits[rng.random(length) < 0.6] = rng.integers(10)
    return digits.tolist()


def _write_row(
    rng: np.random.Generator, sheet: _Sheet, sources: Sources, style: _Style, x: float, base: float, end: float,
    *, length: int, signs: float = 0.0, mixed: bool = False,
) -> None:  # fmt: skip
    """Writes a number from x on, as long as there is room before `end`.

    Args:
      length: How many digits it has.
      signs: How often a sign stands behind a digit.
      mixed: Whether each digit is by another hand.
    """
    start, wander, slope = x, 0.0, rng.normal(0, 0.03)
    for digit in _draw_number(rng, length):
        hand = sources.hands[rng.integers(len(sources.hands))] if mixed else style.hand
        height = style.height * rng.lognormal(0, style.unevenness) * (style.zero if digit == 0 else 1)
        wander = 0.8 * wander + rng.normal(0, 0.04) * style.height
        y = base + slope * (x - start) + wander
        if x + 0.6 * height > end:
            return
        lift = rng.uniform(0, max(style.height - height, 0)) if rng.random() < 0.3 else 0
        if digit in style.styled:
            character = Character(DIGITS[digit], tuple(STYLES[digit](rng)), "", "")
        else:
            character = hand[digit][rng.integers(len(hand[digit]))]
        left, right = _write(rng, sheet, character, style, x, y - lift, height)
        # What leans reaches over its neighbour.
        x = right + (style.gap + rng.normal(0, 0.05) - 0.25 * max(style.slant, 0)) * style.height
        x = max(x, left + 0.12 * style.height)
        if rng.random() < signs and x + 0.5 * style.height < end:
            x = _write_sign(rng, sheet, style, right + rng.uniform(-0.08, 0.12) * style.height, y)
            x += rng.uniform(0, 0.2) * style.height
        elif rng.random() < 0.04:
            x += rng.uniform(0.3, 1.2) * style.height


def _write_letters(
    rng: np.random.Generator, sheet: _Sheet, sources: Sources, style: _Style, x: float, base: float, end: float
) -> None:
    """Writes letters and words up to `end`; or prints them."""
    if rng.random() < 0.2:
        text = " ".join(
            "".join(rng.choice(list("abcdefhkmnprtuvwxyACEFHKMNPRUVWX"), rng.integers(2, 9))) for _ in range(9)
        )
        image = print_text(text, str(rng.choice(FONTS)), 48)
        scale = rng.uniform(0.6, 1.2) * style.height / len(image)
        sheet.paste(image, np.array([[scale, 0, x], [0, scale, base - scale * len(image)]]))
        return
    while x < end - 0.5 * style.height and sources.others:
        character = sources.others[rng.integers(len(sources.others))]
        height = style.height * rng.uniform(0.6, 1.2)
        x = _write(rng, sheet, character, style, x, base, height)[1] + rng.uniform(0.05, 0.5) * style.height


# ---------------------------------------------------------------- layouts


def _lay_out_rows(rng: np.random.Generator, sheet: _Sheet, sources: Sources, size: float, share: float) -> None:
    """Writes line below line, `share` of them letters."""
    height, width = (side / FINE for side in sheet.ink.shape)
    y, pitch, signs = rng.uniform(0, 1.2) * size, rng.uniform(1.15, 3) * size, rng.choice([0, 0.1, 0.3])
    style, mixed = _choose_style(rng, sources, size), rng.random() < 0.15
    while y < height + size:
        x = rng.uniform(-1, 2.5) * size
        if rng.random() < share:
            _write_letters(rng, sheet, sources, style, x, y, width)
        else:
            length = int(rng.integers(1, 13))
            _write_row(rng, sheet, sources, style, x, y, width + size, length=length, signs=signs, mixed=mixed)
        y += pitch * rng.uniform(0.9, 1.15)
        if rng.random() < 0.2:
            style = _choose_style(rng, sources, size)


def _lay_out_table(rng: np.random.Generator, sheet: _Sheet, sources: Sources, size: float) -> None:
    """Draws a table, ruled or not, and writes a digit or a few into its cells."""
    height, width = (side / FINE for side in sheet.ink.shape)
    wide, high = size * rng.uniform(1.05, 3), size * rng.uniform(1.1, 2.6)
    reach = 1.2 if rng.random() < 0.6 else rng.uniform(0.6, 1)
    xs = np.arange(rng.uniform(-wide, wide / 2), reach * width, wide)
    ys = np.arange(rng.uniform(-high, high / 2), reach * height, high)
    pen, light = max(0.5, size * rng.uniform(0.02, 0.09)), int(rng.integers(60, 256))
    thick = rng.choice([1, 3])  # every third rule, as of a Sudoku
    has_rows, has_columns = rng.random(2) < (0.85, 0.75)
    for i, y in enumerate(ys if has_rows else []):
        sheet.draw(np.array([[xs[0], y], [xs[-1], y]]), pen * (2 if i % thick else 1), light)
    for i, x in enumerate(xs if has_columns else []):
        sheet.draw(np.array([[x, ys[0]], [x, ys[-1]]]), pen * (2 if i % thick else 1), light)
    styles = [_choose_style(rng, sources, size)._replace(gap=0.05) for _ in range(2)]
    filled, mixed, longest = rng.choice([1, 0.8, 0.4]), rng.random() < 0.3, int(rng.choice([1, 3], p=[0.8, 0.2]))
    for y in ys[:-1]:
        for x in xs[:-1]:
            if rng.random() < filled:
                style = styles[rng.integers(2)]
                style = style._replace(height=min(style.height * rng.uniform(0.8, 1.1), 0.95 * high))
                left, base = (
                    x + rng.uniform(0.1, 0.35) * wide,
                    y + high - rng.uniform(0.05, 0.9) * (high - style.height),
                )
                length = int(rng.integers(1, longest + 1))
                _write_row(rng, sheet, sources, style, left, base, x + wide + size, length=length, mixed=mixed)


def _lay_out_single(rng: np.random.Generator, sheet: _Sheet, sources: Sources, size: float) -> None:
    """Writes digits and letters anywhere, none on another."""
    height, width = (side / FINE for side in sheet.ink.shape)
    taken: list[tuple[float, float]] = []
    for _ in range(int(rng.integers(1, 12))):
        x, y = rng.uniform(0, width - size / 2), rng.uniform(size, height)
        if all(max(abs(x - left), abs(y - base)) > 1.6 * size for left, base in taken):
            taken.append((x, y))
            style = _choose_style(rng, sources, size * rng.uniform(0.8, 1.25))
            if rng.random() < 0.8:
                _write_row(rng, sheet, sources, style, x, y, width + size, length=1, mixed=True)
            else:
                _write_letters(rng, sheet, sources, style, x, y, x + size)


def _compose_whole(rng: np.random.Generator, sources: Sources, height: int, width: int) -> Page:
    """Composes one picture of such a size."""
    sheet, size = _Sheet(rng, height, width), float(np.exp(rng.uniform(np.log(LOWEST), np.log(HIGHEST))))
    kind = rng.choice(["rows", "letters", "table", "single"], p=[0.4, 0.2, 0.3, 0.1])
    if kind == "table":
        _lay_out_table(rng, sheet, sources, size)
    elif kind == "single":
        _lay_out_single(rng, sheet, sources, size)
    else:
        _lay_out_rows(rng, sheet, sources, size, 0.1 if kind == "rows" else 0.75)
    return sheet.finish(lay_paper(rng, _reduce(sheet.ink), size))


def _compose_strip(rng: np.random.Generator, sources: Sources, height: int, width: int) -> Page:
    """Composes a picture of one number, mostly cut close to its ink, as those of forms and cheques are."""
    sheet, size = _Sheet(rng, height, width), np.exp(rng.uniform(np.log(LOWEST), np.log(min(HIGHEST, 0.85 * height))))
    style, base = _choose_style(rng, sources, size), rng.uniform(size, 0.97 * height)
    _write_row(
        rng, sheet, sources, style, rng.uniform(0, 0.5) * size, base, width - 2,
        length=int(rng.integers(1, 9)), signs=rng.choice([0, 0.1, 0.3]), mixed=rng.random() < 0.2,
    )  # fmt: skip
    if sheet.boxes and rng.random() < 0.25:  # underlined
        below = base + rng.uniform(0.08, 0.35) * size
        left, right = (
            sheet.boxes[0][0] - rng.uniform(-0.3, 0.5) * size,
            sheet.boxes[-1][2] + rng.uniform(-0.3, 0.5) * size,
        )
        for _ in range(rng.integers(1, 3)):
            sheet.draw(np.array([[left, below], [right, below + rng.normal(0, 0.05) * size]]), style.pen)
            below += 0.15 * size
    page = sheet.finish(lay_paper(rng, _reduce(sheet.ink), size))
    if not len(page.boxes) or rng.random() < 0.15:
        return page
    margins = rng.uniform(-0.04, 0.4, 4) * size
    left, top = np.floor(page.boxes[:, :2].min(axis=0) - margins[:2]).clip(0).astype(int)
    right, bottom = np.ceil(page.boxes[:, 2:].max(axis=0) + margins[2:]).astype(int)
    return _cut(page, left, top, right, bottom)


def _compose_mosaic(rng: np.random.Generator, sources: Sources, height: int, width: int) -> Page:
    """Lays pictures of numbers side by side, each on ground of its own rim's grey, as a reader pads it."""
    picture, pages, y = np.full((height, width), rng.integers(256), np.uint8), [], 0
    while y < height - LOWEST:
        x, high = 0, int(rng.integers(24, 64))
        while x < width - LOWEST:
            strip = _compose_strip(rng, sources, high, int(rng.integers(60, 260)))
            strip = _cut(strip, 0, 0, width - x, height - y)
            tall, wide = strip.picture.shape
            rim = np.concatenate([strip.picture[[0, -1]].ravel(), strip.picture[:, [0, -1]].ravel()])
            gap = int(rng.integers(0, 16))
            picture[y : y + high, x : x + wide + gap] = np.median(rim)
            picture[y : y + tall, x : x + wide] = strip.picture
            pages.append(strip._replace(boxes=strip.boxes + np.array([x, y, x, y], np.float32)))
            x += wide + gap
        y += high
    return Page(picture, np.concatenate([p.boxes for p in pages]), np.concatenate([p.labels for p in pages]))


def _reduce(ink: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h2 w2"]:
    return cv2.resize(ink, None, fx=1 / FINE, fy=1 / FINE, interpolation=cv2.INTER_AREA)


def compose_page(rng: np.random.Generator, sources: Sources, height: int, width: int) -> Page:
    """Composes a page: one picture, or several of a number each."""
    compose: Callable[..., Page] = _compose_mosaic if rng.random() < 0.5 else _compose_whole
    return compose(rng, sources, height, width)
