"""Finds the ink in a picture: brightness -> how much each pixel stands out from the background around it.

A page is rarely evenly bright: a hand casts a shadow, a lamp stands on one side, the table shows behind the page. So
the background is estimated around each pixel; strokes are narrow and differ from it.
"""

from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float32, Shaped, UInt8

from digitjax.pictures.gray import reduction, shrink
from digitjax.pictures.shapes import rim_median

# The background is smooth, so 128 pixels are enough to show it, and 64 after a Gaussian of an eighth of the picture.
GROUND_SIZE, COARSE_SIZE = 128, 64

# Ink with less contrast than this, on a scale of 255, is taken for camera or JPEG noise.
MIN_CONTRAST = 24.0

# A first vote this clear needs no second. In 500 real and drawn pictures, the first vote never reached 0.6 where the
# second disagreed and prevailed.
SURE_VOTE = 0.8

# Strokes are narrower than this share of a picture of one digit; MNIST's thickest 2 % are 0.25 of their box.
STROKE_SHARE = 0.2


def extract_ink(
    gray: Float32[np.ndarray, "h w"],
    window: float,
    *,
    ground_size: int = GROUND_SIZE,
    stroke_share: float = STROKE_SHARE,
    rim_weight: float = 1.0,
) -> Float32[np.ndarray, "h w"]:
    """Returns how much each pixel stands out from its background, 0 to 255, for dark and light ink alike.

    Args:
      gray: Brightness, 0 to 255.
      window: How far to look for background, in pixels: more than the width of the thickest stroke, and in even light
        the larger the better. Anything wider than this, such as a table beside the page, counts as background.
      ground_size: The background is estimated on a copy of the picture no larger than this.
      stroke_share: Strokes are narrower than this share of the picture.
      rim_weight: How much the rim is trusted to be background: less where a table may show around the page.
    """
    height, width = gray.shape
    factors = reduction((width, height), ground_size)
    small = shrink(gray, *factors)
    if is_light_ink(small, stroke_share, rim_weight):
        gray, small = 255 - gray, 255 - small
    closed = _morph(small, cv2.MORPH_CLOSE, window / min(factors))
    if closed.min() == closed.max():  # even, as on a screen
        return np.maximum(closed[0, 0] - gray, 0)
    even = _smooth_ground(small, closed)
    if small.shape != gray.shape:
        closed, even = (cv2.resize(ground, (width, height)) for ground in (closed, even))
    # Closing is wrong where light falls off towards the rim, smoothing at the edge of the page: ink is what both find.
    contrast = np.minimum(closed, even)
    contrast -= gray
    return np.maximum(contrast, 0, out=contrast)


def is_light_ink(gray: Float32[np.ndarray, "h w"], stroke_share: float = STROKE_SHARE, rim_weight: float = 1.0) -> bool:
    """Whether the ink is lighter than the background.

    Two measures vote, each from -1 (dark ink) to 1 (light ink): what differs from the rim's median, which a tight frame
    can't fool, and what is narrow, which shadows can't fool. Squaring lets ink, which is strong and small, outweigh
    shading, which is weak and wide.
    """
    # The rim is so wide that a rule along two sides, or a cell's border, covers less than half of it.
    ground = rim_median(gray, max(2, min(gray.shape) // 12))
    vote = rim_weight * _vote(np.maximum(gray - ground, 0), np.maximum(ground - gray, 0))
    if abs(vote) < SURE_VOTE:
        vote += _vote(*_find_narrow(gray, stroke_share * max(gray.shape)))
    return vote > 0


def _vote(lighter: Shaped[np.ndarray, "h w"], darker: Shaped[np.ndarray, "h w"]) -> float:
    light, dark = cv2.norm(lighter, cv2.NORM_L2SQR), cv2.norm(darker, cv2.NORM_L2SQR)
    return (light - dark) / max(light + dark, 1e-6)


def _find_narrow(
    gray: Float32[np.ndarray, "h w"], widest: float
) -> tuple[UInt8[np.ndarray, "h w"], UInt8[np.ndarray, "h w"]]:
    """Returns the light parts and the dark parts that are as narrow as strokes.

    A window wider than the gaps between strokes would take the gaps for ink of the other polarity. So this uses the
    smallest window that shows half the contrast that the widest shows.
    """
    blurred = cv2.GaussianBlur(gray, (0, 0), 1)  # otherwise a slanted edge's steps are narrow too
    levels = cv2.convertScaleAbs(blurred)  # integers are precise enough for a vote, and faster
    windows = [window for window in (3, 5, 9, 17, 33, 65) if window < min(widest, *gray.shape)] or [3]
    wide = _hats(levels, windows[-1])
    counts = np.bincount(np.maximum(*wide).ravel(), minlength=256)  # pixels per level; faster than sorting them
    half = 0.5 * np.searchsorted(np.cumsum(counts), 0.998 * gray.size)
    for window in windows[:-1]:
        narrow = _hats(levels, window)
        if np.count_nonzero(np.maximum(*narrow) >= half) >= 0.002 * gray.size:
            return narrow
    return wide


def _hats(gray: UInt8[np.ndarray, "h w"], window: float) -> tuple[UInt8[np.ndarray, "h w"], UInt8[np.ndarray, "h w"]]:
    """Returns the parts narrower than the window: those lighter, and those darker, than their surroundings."""
    lighter, darker = (_morph(gray, hat, window) for hat in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT))
    return lighter, darker


def _morph(gray: Shaped[np.ndarray, "h w"], operation: int, window: float) -> Shaped[np.ndarray, "h w"]:
    """Applies one of OpenCV's morphological operations with a square window."""
    side = 2 * max(1, round(window / 2)) + 1
    return cv2.morphologyEx(gray, operation, np.ones((side, side), np.uint8))


def _smooth_ground(gray: Float32[np.ndarray, "h w"], closed: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Averages the brightness around each pixel, leaving out ink, with a Gaussian of an eighth of the picture."""
    ink = closed - gray
    bare = (ink <= max(otsu(ink) / 2, MIN_CONTRAST / 2)).astype(np.float32)
    bare = cv2.erode(bare, np.ones((3, 3), np.uint8))
    if not bare.any():
        return closed
    height, width = gray.shape
    factors = reduction((width, height), COARSE_SIZE)
    total, weight, rest = (shrink(x, *factors) for x in (gray * bare, bare, closed))
    down, across = (_blur_matrix(side, max(total.shape) / 8) for side in total.shape)
    total, weight = (down @ x @ across.T for x in (total, weight))
    # Where there is nothing but ink far around, closing gives the better estimate.
    return cv2.resize((total + 1e-3 * rest) / (weight + 1e-3), (width, height))


@lru_cache(maxsize=64)
def _blur_matrix(size: int, sigma: float) -> Float32[np.ndarray, "size size"]:
    """Returns a matrix that blurs columns as OpenCV's Gaussian does, in a third of the time for so wide a blur."""
    reach = round(4 * sigma)
    return cv2.GaussianBlur(np.eye(size, dtype=np.float32), (1, 2 * reach + 1), sigmaX=1, sigmaY=sigma)


def otsu(ink: Float32[np.ndarray, "h w"]) -> float:
    """Returns Otsu's threshold (IEEE Trans. SMC 9, 1979) between background and ink, on the scale of the ink."""
    strongest = max(float(ink.max()), 1e-6)
    threshold, _ = cv2.threshold(
        (ink * (255 / strongest)).astype(np.uint8), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU
    )
    return max(float(threshold), 25.0) * strongest / 255  # for two clean levels it gives the lower one, not the middle
