"""Any picture of a digit -> the 28x28 image that MNIST's makers would have drawn of it.

MNIST's digits are light ink on a dark ground, scaled to fit a box of 20x20 pixels with their aspect kept, and placed in
28x28 so that their centre of mass is in the middle (http://yann.lecun.com/exdb/mnist/). Library, command line and demo
all come through `preprocess_image`, so what a user sees is what the model sees.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from digitjax.config import SIZE
from digitjax.pictures.ink import extract_ink, otsu
from digitjax.pictures.shapes import Box, add_margin, disk, ink_box, measure_stroke_width, rim_median
from digitjax.pictures.source import ImageSource, load_picture
from digitjax.pictures.strokes import label_strokes

# MNIST's digits fit into a box of this side, in pixels.
BOX = 20

# Where MNIST's centres of mass lie, in y and in x, counting from the edge: over the test images 14.5, spread evenly
# over one pixel, since its makers moved the drawings by whole pixels.
MASS_CENTER = 14.5

# While it is worked on, no side of a picture has more pixels than this, and the longer side of one that was larger more
# than half as many: a digit that fills a sixth of it is still as large as MNIST's.
WORK_SIZE = 256

# The width of strokes in the box of 20x20, as `measure_stroke_width` finds it on four times as many pixels: 90 % of
# MNIST's training images lie between 1.7 and 3.9, 98 % between 1.4 and 4.9.
MIN_STROKE, MAX_STROKE = 1.8, 4.4
FINE_BOX = 4 * BOX

# A rule behind a digit that fills the picture is thinner than this share of the picture.
RULE_SHARE = 0.03


class PreprocessedImage(NamedTuple):
    """What the model gets to see of a picture."""

    canonical: UInt8[np.ndarray, "28 28"]  # light ink on a dark ground; all zero where there is no ink
    box: Box | None  # where the ink is, in the picture's own pixels; None: no ink


def preprocess_image(image: ImageSource) -> PreprocessedImage:
    """Finds the ink of a picture and draws it as MNIST does.

    Either polarity will do, and light or dark ink on a transparent ground. A picture that is 28x28 and drawn as MNIST's
    already comes back as it is.

    Raises:
      ImageError: The picture can't be read; the message says why.
    """
    picture = load_picture(image, WORK_SIZE)
    if picture.gray.shape == (SIZE, SIZE) and (canonical := _as_canonical(picture.gray)) is not None:
        return PreprocessedImage(canonical, ink_box(canonical > 0))
    contrast = extract_ink(picture.gray, max(picture.gray.shape) / 3)
    digit = find_digit(contrast)
    if not digit.any():
        return PreprocessedImage(np.zeros((SIZE, SIZE), np.uint8), None)
    return PreprocessedImage(draw_digit(contrast, digit), picture.to_source(ink_box(digit)))


# ---------------------------------------------------------------- from ink to one digit


def find_digit(ink: Float32[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Marks the strokes of the one digit of a picture: the largest thing in its middle, and what is broken off it.

    Specks are left out, and so is what the rim cuts: a neighbour's stroke, a dark frame, the table beside the page.
    """
    components, stats = label_strokes(ink, RULE_SHARE * max(ink.shape), is_cell=True)
    areas = stats[1:, cv2.CC_STAT_AREA].astype(np.float64)
    if len(areas) <= 1:
        return components > 0
    height, width = ink.shape
    left, top, wide, high = (stats[1:, column] for column in range(4))
    touches = np.stack([left == 0, top == 0, left + wide == width, top + high == height])
    num_touched = touches.sum(axis=0)
    # How far its middle lies from the picture's, 0 to 1 at the rim.
    off_center = np.maximum(
        abs(left + wide / 2 - width / 2) / (width / 2), abs(top + high / 2 - height / 2) / (height / 2)
    )
    extent = np.hypot(wide, high)
    # A frame along three sides or more is as large as the picture and yet no digit, if there is anything else.
    frames = (num_touched >= 3) & (areas < 0.5 * wide * high) & (np.minimum(wide, high) > 0.9 * min(width, height))
    weight = extent * (1.2 - off_center) * np.where(num_touched, 0.6, 1) * np.where(frames, 0.1, 1)
    main = int(weight.argmax())
    kept = (areas >= max(2, 0.03 * areas[main])) & ~((num_touched > 0) & (weight < 0.5 * weight[main]))
    kept[main] = True
    digit = np.zeros(ink.shape, bool)
    inside = np.s_[top[kept].min() : (top + high)[kept].max(), left[kept].min() : (left + wide)[kept].max()]
    digit[inside] = np.concatenate([[False], kept]).take(components[inside])
    return digit


def draw_box(gray: Float32[np.ndarray, "h w"], box: Box) -> UInt8[np.ndarray, "28 28"]:
    """Draws the digit in a box of a page as `preprocess_image` draws one alone; all zero where the box is even.

    In so close a box the background is the median, and the ink is on the side on which brightness has its long tail.
    """
    left, top, right, bottom = box
    contrast = gray[top:bottom, left:right] - np.float32(np.median(gray[top:bottom, left:right]))
    ink = np.maximum(contrast if (contrast**3).sum() > 0 else -contrast, 0)
    mask = ink > otsu(ink) / 2
    return draw_digit(ink, mask) if mask.any() else np.zeros((SIZE, SIZE), np.uint8)


# ---------------------------------------------------------------- from ink to MNIST's drawing


def draw_digit(ink: Float32[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "28 28"]:
    """Draws the marked strokes as MNIST does, thin and thick ones with the width of MNIST's.

    Args:
      ink: How much each pixel stands out from the ground, 0 to 255.
      mask: What belongs to the digit; at least one pixel.
    """
    left, top, right, bottom = ink_box(mask)
    ink, mask = ink[top:bottom, left:right], mask[top:bottom, left:right]
    inside = ink[mask]
    tenth = len(inside) // 10
    full = max(float(np.partition(inside, -1 - tenth)[-1 - tenth]), 1e-6)  # a tenth is stronger
    ink = np.where(mask, np.minimum(ink * np.float32(255 / full), 255), 0)
    return draw_canonical(_adjust_stroke_width(ink))


def _adjust_stroke_width(ink: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h2 w2"]:
    """Makes strokes thicker or thinner that are outside MNIST's range, once scaled to its box."""
    factor = int(np.ceil(FINE_BOX / max(ink.shape)))  # few pixels can't tell widths, nor change them by a little
    fine = ink if factor == 1 else cv2.resize(ink, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    scale = BOX / max(fine.shape)
    width = measure_stroke_width(fine > 127) * scale
    if 0 < width < MIN_STROKE and (change := round((MIN_STROKE - width) / scale)) >= 1:
        return cv2.dilate(add_margin(fine, change), disk(change + 1))
    if width > MAX_STROKE and (change := round((width - MAX_STROKE) / scale)) >= 1:
        thinner = cv2.erode(add_margin(fine, 1), disk(change + 1))
        return thinner if thinner.max() > 127 else ink
    return ink


def draw_canonical(ink: Float32[np.ndarray, "h w"]) -> UInt8[np.ndarray, "28 28"]:
    """Draws ink as MNIST's makers did: its box scaled to 20x20, its centre of mass put in the middle of 28x28.

    Args:
      ink: Light ink on ground of exactly 0, on a scale of 0 to 255; at least one pixel of ink.
    """
    left, top, right, bottom = ink_box(ink > 0)
    ink = ink[top:bottom, left:right]
    height, width = ink.shape
    scale = BOX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(ink, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    small = small.clip(0, 255, out=small)
    small *= 255 / max(float(small.max()), 1e-6)  # a thin stroke grows pale when it shrinks; MNIST's never are
    y, x = (_placement(small, axis) for axis in (0, 1))
    canonical = np.zeros((SIZE, SIZE), np.uint8)
    canonical[y : y + size[1], x : x + size[0]] = small.round().astype(np.uint8)
    return canonical


def _placement(small: Float32[np.ndarray, "h w"], axis: int) -> int:
    """Where the small drawing begins, so that its centre of mass is in the middle and none of it is cut."""
    profile = small.sum(axis=1 - axis)
    center = float((profile * (np.arange(len(profile)) + 0.5)).sum() / profile.sum())
    return min(max(round(MASS_CENTER - center), 0), SIZE - len(profile))


def _as_canonical(gray: Float32[np.ndarray, "28 28"]) -> UInt8[np.ndarray, "28 28"] | None:
    """Returns a 28x28 image that is drawn as MNIST draws: even ground, box of 20x20, centre of mass in the middle."""
    ground = rim_median(gray)
    darker, lighter = np.maximum(ground - gray, 0), np.maximum(gray - ground, 0)
    ink = darker if darker.sum() > lighter.sum() else lighter
    if ink.max() < 128:
        return None
    left, top, right, bottom = ink_box(ink > 0)
    if max(right - left, bottom - top) > BOX:
        return None
    total = ink.sum()
    places = np.arange(SIZE) + 0.5
    center_y, center_x = (ink.sum(axis=1) * places).sum() / total, (ink.sum(axis=0) * places).sum() / total
    if max(abs(center_y - MASS_CENTER), abs(center_x - MASS_CENTER)) >= 1:
        return None
    return ink.round().astype(np.uint8)
