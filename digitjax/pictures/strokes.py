"""Finds the strokes in the ink: contrast -> numbered components, without the paper's rules, patterns and grain."""

import cv2
import numpy as np
from jaxtyping import Float32, Int32

from digitjax.pictures.ink import MIN_CONTRAST, otsu
from digitjax.pictures.rules import remove_border, remove_rules
from digitjax.pictures.shapes import ink_box, label_components

# At least this share of a stroke is above Otsu's threshold; usually most of it, unless the stroke is hair-thin.
STRONG_SHARE = 0.15

# A pattern on the paper covers at least this share of a picture; the soft edges of strokes usually cover less.
MIN_PATTERN = 0.02


def label_strokes(
    ink: Float32[np.ndarray, "h w"], thickest_rule: float, *, is_cell: bool = False
) -> tuple[Int32[np.ndarray, "h w"], Int32[np.ndarray, "n 5"]]:
    """Numbers strokes as `label_components` does, soft edges included; the paper's rules and patterns are background.

    This is hysteresis, as in Canny's edge detector: a stroke extends down to about half of Otsu's threshold, and at
    least a certain share of its pixels is above the threshold; in grain and patterns, few are.

    Args:
      ink: How much each pixel stands out from its background, 0 to 255.
      thickest_rule: Straight lines across the whole page, up to this many pixels thick, belong to the paper.
      is_cell: Whether there is only one digit, so that a rectangle around it belongs to the paper too.
    """
    numbers, stats = np.zeros(ink.shape, np.int32), np.zeros((1, 5), np.int32)
    if float(ink.max(initial=0)) < MIN_CONTRAST:
        return numbers, stats
    threshold = otsu(ink)
    mask = ink > _find_gap(ink, threshold)
    if is_cell and not (mask := remove_border(mask)).any():
        return numbers, stats
    mask = remove_rules(mask, thickest_rule)
    left, top, right, bottom = ink_box(mask)
    inside = np.s_[top:bottom, left:right]  # ink covers a fifth of a typical picture
    components, stats = label_components(mask[inside])
    num_strong = np.bincount(components[ink[inside] > threshold], minlength=len(stats))
    strokes = num_strong > STRONG_SHARE * stats[:, cv2.CC_STAT_AREA]
    strokes[0] = False
    numbers[inside] = (
        components if strokes[1:].all() else (np.cumsum(strokes, dtype=np.int32) * strokes).take(components)
    )
    stats[1:, cv2.CC_STAT_LEFT] += left
    stats[1:, cv2.CC_STAT_TOP] += top
    return numbers, np.concatenate([stats[:1], stats[strokes]])


def _find_gap(ink: Float32[np.ndarray, "h w"], threshold: float) -> float:
    """Returns half the threshold or, if many pixels are close to that, a nearby level that few pixels are close to.

    Such a level has a paper's pattern wholly above or below it; otherwise bits of it would stick to the strokes.
    """
    if cv2.countNonZero(cv2.inRange(ink, 0.475 * threshold, 0.525 * threshold)) < MIN_PATTERN * ink.size:
        return 0.5 * threshold
    shares = np.arange(40, 61) / 100
    counts, _ = np.histogram(ink, len(shares) + 4, ((shares[0] - 0.025) * threshold, (shares[-1] + 0.025) * threshold))
    near = np.convolve(counts, np.ones(5), "valid")
    return float(shares[np.lexsort((abs(shares - 0.5), near))[0]]) * threshold
