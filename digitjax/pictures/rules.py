"""Takes a page's printed rules and squares out of its ink, and leaves the strokes that cross them."""

import cv2
import numpy as np
from jaxtyping import Bool

from digitjax.pictures.shapes import find_runs, measure_stroke_width

# A printed rule crosses at least this share of the page, at up to three degrees.
RULE_LENGTH = 0.8
RULE_SLOPES = np.linspace(-0.05, 0.05, 21)

# Across the short side of a picture, what is thinner than this share of the strokes' width is a rule.
MAX_STRIP_RULE = 0.6

# In a smaller picture a rule can't be told from a straight stroke.
MIN_RULED_SIZE = 40


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
