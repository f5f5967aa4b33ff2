"""Finds what may be the digits of a picture: rows of strokes, cut where digits may touch.

Where digits touch, shapes alone don't say where one ends. So a row becomes a list of atoms, pieces that are cut rather
too often than too rarely, and a list of candidates, runs of neighbouring atoms that may be one digit. Which candidates
make up the row is for the recognizer to say, see `digitjax.predict.rows`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int

from digitjax.pictures.cut import Atom, cut_touching
from digitjax.pictures.ink import extract_ink, otsu
from digitjax.pictures.preprocess import PreprocessedImage, draw_digit
from digitjax.pictures.rules import remove_rules
from digitjax.pictures.shapes import disk, ink_box, label_components, measure_stroke_width, rim_pixels
from digitjax.pictures.source import ImageSource, Picture, load_picture
from digitjax.pictures.strokes import label_strokes

# Pictures of many digits are worked on larger than those of one; of a sheet's 30 rows each is 30 high.
SHEET_SIZE = 1280

# The ground is estimated on a third of that.
GROUND_SIZE = -(-SHEET_SIZE // 3)

# The strokes of several digits are narrower than this share of the picture.
SHEET_STROKE_SHARE = 0.05

# Smaller pictures are enlarged, so that strokes are wide enough to be cut.
MIN_SIDE = 120

# A digit is at least this share of its row's height; dots, commas and dashes are lower.
MIN_HEIGHT = 0.4

# Digits are rarely wider than this, in heights of their row; what is wider may hold several.
MAX_WIDTH = 1.35

# Strokes are shorter than this many times the sum of width and height.
MAX_LENGTH = 3.0

# Log-probabilities that a digit ends in a cut, for each width of the stroke that is cut; that it goes on past a gap;
# and that it is low as a dash, or that cutting breaks it in parts. For the first,
# `benchmarks/composed.py --fit` finds no better value; the second makes no difference there; the third is a judgement.
LOG_CUT, LOG_BRIDGED, LOG_ODD = -1.0, -3.0, -6.0

# Log-probability that a low piece is a non-digit; twice that for a narrow one.
LOG_SKIP = -1.0

# A digit is broken in no more pieces than this.
MAX_ATOMS = 4


class Candidate(NamedTuple):
    """A run of neighbouring atoms that may be one digit."""

    first: int  # index of the row's atoms
    last: int  # exclusive
    image: PreprocessedImage
    aspect: float  # width, in heights of the digit
    log_prior: float  # how likely such a run is one digit, before it is read


class Row(NamedTuple):
    """A row of writing."""

    log_skips: tuple[float, ...]  # of each atom, how likely it is no part of a digit
    candidates: list[Candidate]


def find_rows(image: ImageSource) -> list[Row]:
    """Proposes digits for a picture, row by row from top to bottom, each row from left to right.

    Raises:
      ImageError: The picture can't be read; the message says why.
    """
    picture = _resize(load_picture(image, 2 * SHEET_SIZE))  # twice as large, since that reduces by whole numbers
    height, width = picture.gray.shape
    ink = extract_ink(
        picture.gray,
        max(height, width) / 6,
        ground_size=GROUND_SIZE,
        stroke_share=SHEET_STROKE_SHARE,
        rim_weight=0.25,
    )
    # In a strip cut from a form the rule is as thick as the strokes.
    thickest_rule = min(0.12 * min(height, width), 0.02 * SHEET_SIZE)
    components, stats = label_strokes(_drop_surroundings(ink, thickest_rule), thickest_rule)
    numbers = _select_writing(components, stats)
    smooth = _smooth(components, stats, numbers)
    components, stats = label_components(smooth)
    numbers = _select_writing(components, stats)
    return [_propose_row(picture, ink, components, stats, row) for row in _group_rows(stats, numbers)]


def _resize(picture: Picture) -> Picture:
    """Brings a picture to the size that it is worked on: sheets to one size, strips to a height that can be cut."""
    shorter, longer = sorted(picture.gray.shape)
    if longer > SHEET_SIZE:
        size = [round(side * SHEET_SIZE / longer) or 1 for side in picture.gray.shape[::-1]]
        return picture._replace(gray=cv2.resize(picture.gray, size, interpolation=cv2.INTER_AREA))
    scale = MIN_SIDE / shorter
    if scale <= 1 or longer * scale > SHEET_SIZE:
        return picture
    gray = cv2.resize(picture.gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return picture._replace(gray=gray.clip(0, 255))


# ---------------------------------------------------------------- rows


def _drop_surroundings(ink: Float32[np.ndarray, "h w"], thickest_rule: float) -> Float32[np.ndarray, "h w"]:
    """Takes out what lies along the rim, such as the table beside the page, so that it doesn't set the threshold."""
    mask = ink > otsu(ink) / 2
    unruled = remove_rules(mask, thickest_rule)
    ink = np.where(mask & ~unruled, 0, ink).astype(np.float32)
    components, stats = label_components(unruled)
    contact = np.bincount(rim_pixels(components), minlength=len(stats))
    longer = np.maximum(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    along = (contact > 0.4 * longer) & (longer > 0.5 * max(ink.shape))
    along[0] = False
    if not along.any():
        return ink
    grown = cv2.dilate(along[components].astype(np.uint8), disk(7))  # with its soft edge
    return np.where(grown > 0, 0, ink).astype(np.float32)


def _select_writing(components: Int[np.ndarray, "h w"], stats: Int[np.ndarray, "n 5"]) -> list[int]:
    """Returns the numbers of the components that can be digits or their parts, without specks and what the rim cuts."""
    height, width = components.shape
    left, top, wide, high, area = stats[1:].T
    if len(stats) == 1:
        return []
    touches = (left == 0) | (top == 0) | (left + wide == width) | (top + high == height)
    typical = _typical_height(high[~touches] if not touches.all() else high)
    cut = touches & ((high < 0.6 * typical) | (high > 2 * typical))
    frame = (high > 0.8 * height) & (wide > 0.8 * width) & (area < 0.2 * wide * high)
    speck = (area < 0.01 * typical**2) | (np.maximum(wide, high) < 0.1 * typical)
    huge = high > 3.5 * typical
    numbers = 1 + np.flatnonzero(~(cut | frame | speck | huge))
    return [int(n) for n in numbers if not _is_texture(_crop(components, stats, int(n)) == n)]


def _crop(components: Int[np.ndarray, "h w"], stats: Int[np.ndarray, "n 5"], number: int) -> Int[np.ndarray, "h2 w2"]:
    left, top, wide, high = stats[number, :4]
    return components[top : top + high, left : left + wide]


def _smooth(
    components: Int[np.ndarray, "h w"], stats: Int[np.ndarray, "n 5"], numbers: list[int]
) -> Bool[np.ndarray, "h w"]:
    """Takes off what is less than half as wide as the strokes: a pattern's lines that touch them."""
    strokes = np.isin(components, numbers)
    widths = [measure_stroke_width(_crop(components, stats, n) == n) for n in numbers]
    brush = 2 * round(0.25 * float(np.median(widths))) + 1 if widths else 1  # odd: an even one would move the strokes
    if brush < 3:
        return strokes
    return cv2.morphologyEx(strokes.astype(np.uint8), cv2.MORPH_OPEN, disk(brush)) > 0


def _is_texture(mask: Bool[np.ndarray, "h w"]) -> bool:
    """Whether a component is a tangle, as of a table's grain: an 8 is drawn with twice its width and height of ink."""
    left, top, right, bottom = ink_box(mask)
    length = mask.sum() / max(measure_stroke_width(mask), 1.0)
    return bool(length > MAX_LENGTH * (right - left + bottom - top))


def _typical_height(high: Int[np.ndarray, "n"]) -> float:
    """Returns the median height of components, weighted by its square: specks are many and low."""
    high = np.sort(high)
    total = np.cumsum(high.astype(np.float64) ** 2)
    return float(high[np.searchsorted(total, total[-1] / 2)])


def _group_rows(stats: Int[np.ndarray, "n 5"], numbers: list[int]) -> list[list[int]]:
    """Groups components in rows; in a page that is turned a little each still overlaps with its neighbour in height."""
    left, top, wide, high = (stats[:, column].astype(np.float64) for column in range(4))
    typical = _typical_height(stats[numbers, cv2.CC_STAT_HEIGHT]) if len(numbers) else 0
    tall = [n for n in numbers if high[n] >= MIN_HEIGHT * typical]
    rows: list[list[int]] = []
    for number in sorted(tall, key=lambda n: left[n] + wide[n] / 2):
        best, best_overlap = None, 0.45
        for row in rows:
            # Its last two members: the last alone may be a part.
            overlap = max(_overlap(top[n], high[n], top[number], high[number]) for n in row[-2:])
            if overlap > best_overlap:
                best, best_overlap = row, overlap
        if best is None:
            rows.append([number])
        else:
            best.append(number)
    _add_parts(rows, [n for n in numbers if high[n] < MIN_HEIGHT * typical], stats, typical)
    rows.sort(key=lambda row: np.mean([top[n] + high[n] / 2 for n in row]))
    return rows


def _overlap(top_a: float, high_a: float, top_b: float, high_b: float) -> float:
    """Returns the shared height of two spans, as a share of the lower one."""
    shared = min(top_a + high_a, top_b + high_b) - max(top_a, top_b)
    return shared / min(high_a, high_b)


def _add_parts(rows: list[list[int]], parts: list[int], stats: Int[np.ndarray, "n 5"], typical: float) -> None:
    """Gives low components, such as the bar of a 5, to the digit they lie above; what lies apart is a dot or a dash."""
    left, top, wide, high = (stats[:, column].astype(np.float64) for column in range(4))
    for part in parts:
        for row in rows:
            near = [
                n
                for n in row
                if _overlap(left[n], wide[n], left[part], wide[part]) > 0
                and top[part] + high[part] / 2 < top[n] + 0.6 * high[n]
                and top[n] - (top[part] + high[part]) < 0.3 * typical
            ]
            if near and max(wide[part], high[part]) > 0.25 * typical:
                row.append(part)
                break


# ---------------------------------------------------------------- atoms


def _propose_row(
    picture: Picture,
    ink: Float32[np.ndarray, "h w"],
    components: Int[np.ndarray, "h w"],
    stats: Int[np.ndarray, "n 5"],
    numbers: list[int],
) -> Row:
    boxes = stats[numbers]
    left, top = boxes[:, 0].min(), boxes[:, 1].min()
    right, bottom = (boxes[:, 0] + boxes[:, 2]).max(), (boxes[:, 1] + boxes[:, 3]).max()
    labels, ink = components[top:bottom, left:right], ink[top:bottom, left:right]
    row_height = float(np.median(boxes[:, 3][boxes[:, 3] >= 0.6 * boxes[:, 3].max()]))
    pieces: list[Atom] = []
    for number in numbers:
        pieces += cut_touching(labels == number, row_height)
    atoms = _merge_stacked(pieces)
    candidates = []
    for first in range(len(atoms)):
        for last in range(first + 1, min(len(atoms), first + MAX_ATOMS) + 1):
            mask = np.logical_or.reduce([atom.mask for atom in atoms[first:last]])
            box = ink_box(mask)
            wide, high = box[2] - box[0], box[3] - box[1]
            if last > first + 1 and wide > MAX_WIDTH * row_height:
                break
            moved = (int(box[0] + left), int(box[1] + top), int(box[2] + left), int(box[3] + top))
            image = PreprocessedImage(draw_digit(ink, mask), picture.to_source(moved))
            gaps = sum(atom.cut_right == 0 for atom in atoms[first : last - 1])
            log_prior = LOG_CUT * (atoms[first].cut_left + atoms[last - 1].cut_right) + LOG_BRIDGED * gaps
            log_prior += LOG_ODD * (high < MIN_HEIGHT * row_height)
            is_cut = atoms[first].cut_left + atoms[last - 1].cut_right > 0
            log_prior += LOG_ODD * (is_cut and gaps == 0 and _falls_apart(mask))
            candidates.append(Candidate(first, last, image, wide / high, log_prior))
    return Row(tuple(_log_skip(atom, row_height) for atom in atoms), candidates)


def _log_skip(atom: Atom, row_height: float) -> float:
    """Returns how likely an atom is no part of a digit, such as what links two digits, a tail or a dash."""
    left, top, right, bottom = ink_box(atom.mask)
    is_cut = atom.cut_left + atom.cut_right > 0
    if bottom - top < MIN_HEIGHT * row_height:
        return LOG_SKIP
    return 2 * LOG_SKIP if is_cut and right - left < 0.35 * row_height else -np.inf


def _falls_apart(mask: Bool[np.ndarray, "h w"]) -> bool:
    """Whether a second component holds more than an eighth of the ink."""
    _, stats = label_components(mask)
    areas = np.sort(stats[1:, cv2.CC_STAT_AREA])
    return len(areas) > 1 and bool(areas[-2] > areas.sum() / 8)


def _merge_stacked(pieces: Sequence[Atom]) -> list[Atom]:
    """Orders pieces from the left and joins those that lie above one another: they are parts of one digit."""
    atoms: list[Atom] = []
    for piece in sorted(pieces, key=lambda atom: sum(ink_box(atom.mask)[0::2])):
        left, _, right, _ = ink_box(piece.mask)
        if atoms:
            last_left, _, last_right, _ = ink_box(atoms[-1].mask)
            if _overlap(last_left, last_right - last_left, left, right - left) > 0.7:
                atoms[-1] = Atom(atoms[-1].mask | piece.mask, atoms[-1].cut_left, piece.cut_right)
                continue
        atoms.append(piece)
    return atoms
