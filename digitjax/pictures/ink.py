"""Which pixels of a picture are ink: brightness -> how much each pixel stands out from the ground around it.

A page is rarely one brightness: a hand throws a shadow, a lamp stands on one side, the table shows behind the page. So
the ground is estimated around each pixel; the strokes are what is narrow and differs from it.
"""

from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float32, Shaped, UInt8

from digitjax.pictures.gray import reduction, shrink
from digitjax.pictures.shapes import rim_median

# 128 pixels or less show all of the ground, which is smooth, 64 what is left of it after a Gaussian of an eighth of the
# picture.
GROUND_SIZE, COARSE_SIZE = 128, 64

# Ink fainter than this against its ground, on a scale of 255, is taken for noise of the camera or of JPEG.
MIN_CONTRAST = 24.0

# Who votes so clearly needs no second witness. Of 500 real and drawn pictures, where the two disagree and the second
# prevails, the first never reaches 0.6.
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
    """Returns how much each pixel stands out from its ground, 0 to 255, for dark ink and for light ink alike.

    Args:
      gray: Brightness, 0 to 255.
      window: How far the ground is looked for, in pixels: more than the width of the thickest stroke, and for even
        light the more the better; what is wider than this, such as a table beside the page, is ground itself.
      ground_size: The ground is estimated on a version of the picture no larger than this.
      stroke_share: Strokes are narrower than this share of the picture.
      rim_weight: How far the rim is trusted to be ground: less where a table may show around the page.
    """
    height, width = gray.shape
    factors = reduction((width, height), ground_size)
    small = shrink(gray, *factors)
    if is_light_ink(small, stroke_share, rim_weight):
        gray, small = 255 - gray, 255 - small
    closed = _morph(small, cv2.MORPH_CLOSE, window / min(factors))
    if closed.min() == closed.max():  # as on a screen
        return np.maximum(closed[0, 0] - gray, 0)
    even = _smooth_ground(small, closed)
    if small.shape != gray.shape:
        closed, even = (cv2.resize(ground, (width, height)) for ground in (closed, even))
    # Closing is wrong where light falls off towards the rim, smoothing at the edge of the page: ink is what both see.
    contrast = np.minimum(closed, even)
    contrast -= gray
    return np.maximum(contrast, 0, out=contrast)


def is_light_ink(gray: Float32[np.ndarray, "h w"], stroke_share: float = STROKE_SHARE, rim_weight: float = 1.0) -> bool:
    """Whether the ink is lighter than the ground.

    Two witnesses vote, each from -1 (dark ink) to 1: what differs from the rim's median, which can't be fooled by a
    tight frame, and what is narrow, which can't be fooled by shadows. Squares let ink, which is strong and small,
    outweigh shading, which is weak and wide.
    """
    # A rule along two sides, or the border of a cell, is less than half of so wide a rim.
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
    """Returns what is narrow and light, and what is narrow and dark: as narrow as the strokes.

    A window that is wider than the gaps between strokes takes these for ink of the other polarity; so it is the
    smallest that shows half of the contrast that the widest shows.
    """
    blurred = cv2.GaussianBlur(gray, (0, 0), 1)  # the steps of a slanted edge are narrow too
    levels = cv2.convertScaleAbs(blurred)  # whole levels are enough to vote, and faster
    windows = [window for window in (3, 5, 9, 17, 33, 65) if window < min(widest, *gray.shape)] or [3]
    wide = _hats(levels, windows[-1])
    counts = np.bincount(np.maximum(*wide).ravel(), minlength=256)  # of each level: faster than to sort the pixels
    half = 0.5 * np.searchsorted(np.cumsum(counts), 0.998 * gray.size)
    for window in windows[:-1]:
        narrow = _hats(levels, window)
        if np.count_nonzero(np.maximum(*narrow) >= half) >= 0.002 * gray.size:
            return narrow
    return wide


def _hats(gray: UInt8[np.ndarray, "h w"], window: float) -> tuple[UInt8[np.ndarray, "h w"], UInt8[np.ndarray, "h w"]]:
    """Returns what is lighter, and what is darker, than its surroundings and narrower than the window."""
    lighter, darker = (_morph(gray, hat, window) for hat in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT))
    return lighter, darker


def _morph(gray: Shaped[np.ndarray, "h w"], operation: int, window: float) -> Shaped[np.ndarray, "h w"]:
    """Does one of OpenCV's operations of mathematical morphology with a square window."""
    side = 2 * max(1, round(window / 2)) + 1
    return cv2.morphologyEx(gray, operation, np.ones((side, side), np.uint8))


def _smooth_ground(gray: Float32[np.ndarray, "h w"], closed: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Averages the brightness of what is no ink around each pixel, by a Gaussian over an eighth of the picture."""
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
    # Where all is ink for far around, closing knows better.
    return cv2.resize((total + 1e-3 * rest) / (weight + 1e-3), (width, height))


@lru_cache(maxsize=64)
def _blur_matrix(size: int, sigma: float) -> Float32[np.ndarray, "size size"]:
    """Blurs columns by a Gaussian as OpenCV does; a product with it takes a third of the time where that is so wide."""
    reach = round(4 * sigma)
    return cv2.GaussianBlur(np.eye(size, dtype=np.float32), (1, 2 * reach + 1), sigmaX=1, sigmaY=sigma)


def otsu(ink: Float32[np.ndarray, "h w"]) -> float:
    """Returns Otsu's threshold (IEEE Trans. SMC 9, 1979) between ground and ink, on the scale of the ink."""
    strongest = max(float(ink.max()), 1e-6)
    threshold, _ = cv2.threshold(
        (ink * (255 / strongest)).astype(np.uint8), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU
    )
    return max(float(threshold), 25.0) * strongest / 255  # of two clean levels it names the lower one, not the middle
