"""Which pixels of a picture are ink: brightness -> how much each pixel stands out from the ground around it.

A page is rarely one brightness: a hand throws a shadow, a lamp stands on one side, the table shows behind the page. So
the ground is estimated around each pixel; the strokes are what is narrow and differs from it.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8

# The ground is smooth, and is estimated on a version of the picture no larger than this.
GROUND_SIZE = 128

# Ink fainter than this against its ground, on a scale of 255, is taken for noise of the camera or of JPEG.
MIN_CONTRAST = 24.0

# Strokes are narrower than this share of a picture of one digit; MNIST's thickest 2 % are 0.25 of their box.
STROKE_SHARE = 0.2

# A printed rule crosses at least this share of the page, and is no thicker than the second share of it.
RULE_LENGTH, RULE_THICKNESS = 0.8, 0.035

# In a smaller picture a rule can't be told from a straight stroke.
MIN_RULED_SIZE = 40


# ---------------------------------------------------------------- from brightness to contrast


def extract_ink(gray: Float32[np.ndarray, "h w"], window: float) -> Float32[np.ndarray, "h w"]:
    """Returns how much each pixel stands out from its ground, 0 to 255, for dark ink and for light ink alike.

    Args:
      gray: Brightness, 0 to 255.
      window: How far the ground is looked for, in pixels: more than the width of the thickest stroke, and for even
        light the more the better; what is wider than this, such as a table beside the page, is ground itself.
    """
    height, width = gray.shape
    scale = min(1.0, GROUND_SIZE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    if is_light_ink(small):
        gray, small = 255 - gray, 255 - small
    closed = _close(small, window * scale)
    even = _smooth_ground(small, closed)
    if scale < 1:
        closed, even = (cv2.resize(ground, (width, height)) for ground in (closed, even))
    # Closing is wrong where light falls off towards the rim, smoothing at the edge of the page: ink is what both see.
    return np.maximum(np.minimum(closed, even) - gray, 0)


def is_light_ink(gray: Float32[np.ndarray, "h w"]) -> bool:
    """Whether the ink is lighter than the ground.

    Two witnesses vote, each from -1 (dark ink) to 1: what differs from the rim's median, which can't be fooled by a
    tight frame, and what is narrow, which can't be fooled by shadows. Squares let ink, which is strong and small,
    outweigh shading, which is weak and wide.
    """
    rim = np.concatenate([gray[0], gray[-1], gray[1:-1, 0], gray[1:-1, -1]])
    ground = np.float32(np.median(rim))
    window = STROKE_SHARE * max(gray.shape)
    deviations = [
        (np.maximum(gray - ground, 0), np.maximum(ground - gray, 0)),
        (gray + _close(-gray, window), _close(gray, window) - gray),
    ]
    votes = 0.0
    for lighter, darker in deviations:
        light, dark = float((lighter**2).sum()), float((darker**2).sum())
        votes += (light - dark) / max(light + dark, 1e-6)
    return votes > 0


def _close(gray: Float32[np.ndarray, "h w"], window: float) -> Float32[np.ndarray, "h w"]:
    """Fills what is darker than its surroundings and narrower than the window (grey closing)."""
    side = 2 * max(1, round(window / 2)) + 1
    return cv2.morphologyEx(gray, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))


def _smooth_ground(gray: Float32[np.ndarray, "h w"], closed: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Averages the brightness of what is no ink around each pixel, by a Gaussian over an eighth of the picture."""
    ink = closed - gray
    bare = (ink <= max(otsu(ink) / 2, MIN_CONTRAST / 2)).astype(np.float32)
    bare = cv2.erode(bare, np.ones((3, 3), np.uint8))
    if not bare.any():
        return closed
    sigma = max(gray.shape) / 8
    weight = cv2.GaussianBlur(bare, (0, 0), sigma)
    # Where all is ink for far around, closing knows better.
    return (cv2.GaussianBlur(gray * bare, (0, 0), sigma) + 1e-3 * closed) / (weight + 1e-3)


def otsu(ink: Float32[np.ndarray, "h w"]) -> float:
    """Returns Otsu's threshold (IEEE Trans. SMC 9, 1979) between ground and ink, on the scale of the ink."""
    strongest = max(float(ink.max()), 1e-6)
    threshold, _ = cv2.threshold(
        (ink * (255 / strongest)).astype(np.uint8), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU
    )
    return max(float(threshold), 25.0) * strongest / 255  # of two clean levels it names the lower one, not the middle


# ---------------------------------------------------------------- from contrast to strokes


def find_strokes(ink: Float32[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Marks the pixels of strokes, their soft edges included; rules and patterns of the paper are left out.

    Hysteresis as in Canny's edge detector: a stroke holds pixels above Otsu's threshold, and reaches as far as half of
    it.
    """
    if float(ink.max(initial=0)) < MIN_CONTRAST:
        return np.zeros(ink.shape, bool)
    threshold = otsu(ink)
    mask = remove_rules(ink > threshold / 2)
    components, _ = label_components(mask)
    strong = np.zeros(int(components.max()) + 1, bool)
    strong[components[ink > threshold]] = True
    strong[0] = False
    return strong[components]


def label_components(mask: Bool[np.ndarray, "h w"]) -> tuple[Int32[np.ndarray, "h w"], Int32[np.ndarray, "n 5"]]:
    """Returns the number of each pixel's component, 0 for ground, and of each its left, top, width, height and area."""
    _, components, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return components, stats


def remove_rules(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Takes out straight lines across the whole page, lying or standing, and leaves the strokes that cross them."""
    lying = _find_lying_rules(mask)
    standing = _find_lying_rules(np.ascontiguousarray(mask.T)).T
    rules = lying | standing
    if not rules.any():
        return mask
    rest = mask & ~rules
    return rest if rest.sum() > 0.02 * mask.sum() else mask


def _find_lying_rules(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Marks rules from left to right; a page that is turned a little breaks them in runs of a tenth of its width."""
    height, width = mask.shape
    if min(height, width) < MIN_RULED_SIZE:
        return np.zeros(mask.shape, bool)
    pixels = mask.astype(np.uint8)
    runs = cv2.morphologyEx(pixels, cv2.MORPH_OPEN, np.ones((1, max(8, width // 10)), np.uint8))
    components, stats = label_components(cv2.dilate(runs, np.ones((3, 1 + 2 * (width // 20)), np.uint8)) > 0)
    rules = np.zeros(mask.shape, bool)
    limit = max(3.0, RULE_THICKNESS * max(height, width))
    for number in 1 + np.flatnonzero(stats[1:, cv2.CC_STAT_WIDTH] >= RULE_LENGTH * width):
        rule = (components == number) & (runs > 0)
        columns = rule.any(axis=0)
        reaches_rims = columns[:3].any() and columns[-3:].any()  # a digit's stroke ends inside the picture
        if reaches_rims and columns.sum() >= RULE_LENGTH * width and rule.sum() <= limit * width:
            rules |= rule
    if not rules.any():
        return rules
    # A stroke that crosses a rule makes a column of ink taller than the rule.
    thickness = rules.sum() / max(1, rules.any(axis=0).sum())
    column = np.ones((2 * int(np.ceil(thickness)) + 2, 1), np.uint8)
    crossing = cv2.morphologyEx(pixels, cv2.MORPH_OPEN, column) > 0
    grown = cv2.dilate(rules.astype(np.uint8), np.ones((3, 1), np.uint8)) > 0
    return grown & mask & ~crossing


# ---------------------------------------------------------------- the width of strokes


def measure_stroke_width(mask: Bool[np.ndarray, "h w"]) -> float:
    """Returns the mean width of the strokes in pixels: four times the mean distance to the edge, as in a strip."""
    distance = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    # The distance is to the middle of the nearest pixel of ground, half a pixel further than the edge.
    return 4 * float(distance[distance > 0].mean() - 0.5) if mask.any() else 0.0


def ink_box(mask: Bool[np.ndarray, "h w"]) -> tuple[int, int, int, int]:
    """Returns left, top, right and bottom of what is marked, the last two exclusive; there must be some."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def disk(diameter: int) -> UInt8[np.ndarray, "d d"]:
    """Returns a round brush for dilating and eroding."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter))
