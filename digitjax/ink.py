"""Which pixels of a picture are ink: brightness -> how much each pixel stands out from the ground around it.

A page is rarely one brightness: a hand throws a shadow, a lamp stands on one side, the table shows behind the page. So
the ground is estimated around each pixel; the strokes are what is narrow and differs from it.
"""

from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int32, Shaped, UInt8

from digitjax.picture import reduction, shrink

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

# At least this share of a stroke is above Otsu's threshold; most of it is, unless the stroke is hair-thin.
STRONG_SHARE = 0.15

# So much of a picture, at least, a pattern of the paper takes; the soft edges of strokes mostly take less.
MIN_PATTERN = 0.02

# A printed rule crosses at least this share of the page, at up to three degrees.
RULE_LENGTH = 0.8
RULE_SLOPES = np.linspace(-0.05, 0.05, 21)

# Across the short side of a picture, what is thinner than this share of the strokes' width is a rule.
MAX_STRIP_RULE = 0.6

# In a smaller picture a rule can't be told from a straight stroke.
MIN_RULED_SIZE = 40


# ---------------------------------------------------------------- from brightness to contrast


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
    # A rule along two sides is half of the outermost ring, and less of two or more rings.
    ground = rim_median(gray, max(2, min(gray.shape) // 32))
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


# ---------------------------------------------------------------- from contrast to strokes


def label_strokes(
    ink: Float32[np.ndarray, "h w"], thickest_rule: float
) -> tuple[Int32[np.ndarray, "h w"], Int32[np.ndarray, "n 5"]]:
    """Numbers strokes as `label_components` does, soft edges included; rules and patterns of the paper are ground.

    Hysteresis as in Canny's edge detector: a stroke reaches as far as about half of Otsu's threshold, and holds a share
    of pixels above it; grain and patterns hold few.

    Args:
      ink: How much each pixel stands out from its ground, 0 to 255.
      thickest_rule: Straight lines across the whole page up to this thickness, in pixels, are the paper's.
    """
    if float(ink.max(initial=0)) < MIN_CONTRAST:
        return np.zeros(ink.shape, np.int32), np.zeros((1, 5), np.int32)
    threshold = otsu(ink)
    mask = remove_rules(ink > _find_gap(ink, threshold), thickest_rule)
    left, top, right, bottom = ink_box(mask)
    inside = np.s_[top:bottom, left:right]  # ink takes a fifth of a usual picture
    components, stats = label_components(mask[inside])
    num_strong = np.bincount(components[ink[inside] > threshold], minlength=len(stats))
    strokes = num_strong > STRONG_SHARE * stats[:, cv2.CC_STAT_AREA]
    strokes[0] = False
    numbers = np.zeros(ink.shape, np.int32)
    numbers[inside] = (
        components if strokes[1:].all() else (np.cumsum(strokes, dtype=np.int32) * strokes).take(components)
    )
    stats[1:, cv2.CC_STAT_LEFT] += left
    stats[1:, cv2.CC_STAT_TOP] += top
    return numbers, np.concatenate([stats[:1], stats[strokes]])


def _find_gap(ink: Float32[np.ndarray, "h w"], threshold: float) -> float:
    """Returns half of the threshold; where many pixels are near that, a level around it that the fewest are near.

    There a pattern of the paper is above it all along, or below; else bits of it would stay at the strokes.
    """
    if cv2.countNonZero(cv2.inRange(ink, 0.475 * threshold, 0.525 * threshold)) < MIN_PATTERN * ink.size:
        return 0.5 * threshold
    shares = np.arange(40, 61) / 100
    counts, _ = np.histogram(ink, len(shares) + 4, ((shares[0] - 0.025) * threshold, (shares[-1] + 0.025) * threshold))
    near = np.convolve(counts, np.ones(5), "valid")
    return float(shares[np.lexsort((abs(shares - 0.5), near))[0]]) * threshold


def label_components(mask: Bool[np.ndarray, "h w"]) -> tuple[Int32[np.ndarray, "h w"], Int32[np.ndarray, "n 5"]]:
    """Returns the number of each pixel's component, 0 for ground, and of each its left, top, width, height and area.

    The ground has zeros.
    """
    _, components, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    stats[0] = 0
    return components, stats


def remove_rules(mask: Bool[np.ndarray, "h w"], thickest: float) -> Bool[np.ndarray, "h w"]:
    """Takes out straight lines across the whole page, lying or standing, and leaves the strokes that cross them."""
    height, width = mask.shape
    rest = mask
    for turn, across, along in ((np.asarray, width, height), (np.transpose, height, width)):
        found = _find_lying_rules(turn(mask), thickest)
        if found is None:
            continue
        rules = turn(found)
        # Across the short side of a strip a stroke is as long as a rule, but rarely as thin.
        if across >= 0.75 * along or _is_thinner(rules, mask & ~rules):
            rest = rest & ~rules
    return rest if rest is mask or rest.sum() > 0.02 * mask.sum() else mask


def _find_lying_rules(mask: Bool[np.ndarray, "h w"], thickest: float) -> Bool[np.ndarray, "h w"] | None:
    """Marks rules from left to right, on a page that may be turned by up to three degrees; None: no ink at both rims.

    The slope is the one along which ink gathers in the fewest rows (a Radon transform of a few angles).
    """
    height, width = mask.shape
    rim = int(np.ceil(0.03 * width))
    if min(height, width) < MIN_RULED_SIZE or not (mask[:, :rim].any() and mask[:, -rim:].any()):
        return None
    rules = np.zeros(mask.shape, bool)
    mask = np.ascontiguousarray(mask)
    y, x = np.nonzero(mask)
    margin = int(np.ceil(RULE_SLOPES[-1] * width))
    best_rows, best_counts, best_sharpness = y, np.zeros(0), 0.0
    for slope in RULE_SLOPES:
        rows = np.rint(y - slope * (x - width / 2)).astype(np.int64) + margin
        counts = np.bincount(rows, minlength=height + 2 * margin) / width
        if (sharpness := float((counts**4).sum())) > best_sharpness:
            best_rows, best_counts, best_sharpness = rows, counts, sharpness
    rims = (x < 0.03 * width) | (x >= 0.97 * width)
    for first, last in find_runs(best_counts >= 0.75 * RULE_LENGTH):
        # A digit's stroke ends inside the picture.
        at_rims = x[rims & (best_rows >= first) & (best_rows < last)]
        through = len(at_rims) > 0 and at_rims.min() < 0.03 * width and at_rims.max() >= 0.97 * width
        if through and best_counts[first:last].max() >= RULE_LENGTH and last - first <= thickest:
            band = (best_rows >= first - 1) & (best_rows < last + 1)
            rule = np.zeros(mask.shape, bool)
            rule[y[band], x[band]] = True
            # A stroke that crosses a rule makes a column of ink taller than the rule.
            column = np.ones((2 * (last - first) + 2, 1), np.uint8)
            rules |= rule & (cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, column) == 0)
    return rules


def _is_thinner(rules: Bool[np.ndarray, "h w"], strokes: Bool[np.ndarray, "h w"]) -> bool:
    return measure_stroke_width(rules) < MAX_STRIP_RULE * measure_stroke_width(strokes)


def find_runs(marked: Bool[np.ndarray, "n"]) -> list[tuple[int, int]]:
    """Returns the first and the last place, the latter exclusive, of each run of marked places."""
    edges = np.flatnonzero(np.diff(np.pad(marked.astype(np.int8), 1)))
    return [(int(first), int(last)) for first, last in zip(edges[::2], edges[1::2], strict=True)]


# ---------------------------------------------------------------- the width of strokes


def measure_stroke_width(mask: Bool[np.ndarray, "h w"]) -> float:
    """Returns the mean width of the strokes in pixels: four times the mean distance to the edge, as in a strip."""
    area = cv2.countNonZero(mask.view(np.uint8))
    if not area:
        return 0.0
    distance = cv2.distanceTransform(add_margin(mask.view(np.uint8), 1), cv2.DIST_L2, cv2.DIST_MASK_5)
    # The distance is to the middle of the nearest pixel of ground, half a pixel further than the edge.
    return 4 * (cv2.sumElems(distance)[0] / area - 0.5)


def rim_pixels(image: Shaped[np.ndarray, "h w"], width: int = 1) -> Shaped[np.ndarray, "n"]:
    """Returns the pixels of an image's outermost rings, as many as `width`."""
    inside = image[width:-width]
    return np.concatenate(
        [side.ravel() for side in (image[:width], image[-width:], inside[:, :width], inside[:, -width:])]
    )


def rim_median(image: Shaped[np.ndarray, "h w"], width: int = 1) -> np.float32:
    """Returns the median of `rim_pixels`, the upper one of two; NumPy's own takes ten times as long for so few."""
    pixels = rim_pixels(image, width)
    middle = len(pixels) // 2
    return np.float32(np.partition(pixels, middle)[middle])


def add_margin(image: Shaped[np.ndarray, "h w"], width: int) -> Shaped[np.ndarray, "h2 w2"]:
    """Adds zeros on all sides; `np.pad` takes eight times as long for a digit."""
    return cv2.copyMakeBorder(image, width, width, width, width, cv2.BORDER_CONSTANT)


def ink_box(mask: Bool[np.ndarray, "h w"]) -> tuple[int, int, int, int]:
    """Returns left, top, right and bottom of what is marked, the last two exclusive; there must be some."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return left, top, left + width, top + height


def disk(diameter: int) -> UInt8[np.ndarray, "d d"]:
    """Returns a round brush for dilating and eroding."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter))
