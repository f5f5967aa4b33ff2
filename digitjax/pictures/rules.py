"""Removes a page's printed rules and squares, or a cell's border, from its ink; keeps the strokes that cross rules."""

import cv2
import numpy as np
from jaxtyping import Bool

from digitjax.pictures.shapes import find_runs, ink_box, label_components, measure_stroke_width

# A printed rule crosses at least this share of the page, tilted by up to three degrees.
RULE_LENGTH = 0.8
RULE_SLOPES = np.linspace(-0.05, 0.05, 21)

# A line across the short side of a picture is a rule if it is thinner than this share of the strokes' width.
MAX_STRIP_RULE = 0.6

# In a smaller picture, a rule can't be told from a straight stroke.
MIN_RULED_SIZE = 40

# A cell takes up at least MIN_CELL of the picture. The four sides of its border are unbroken except for a few gaps, and
# hardly any of the border lies deeper than BORDER_DEPTH of the cell, as much of a round 0 does. Writing in the cell has
# at least MIN_WRITING pixels for each of the border's; a speck has fewer.
MIN_CELL, BORDER_COVER, BORDER_DEPTH, MIN_WRITING = 0.1, 0.85, 0.12, 0.05


def remove_border(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Removes a cell's border: a rectangle with something else in it, or one as large as the picture."""
    height, width = mask.shape
    left, top, right, bottom = ink_box(mask)
    components, stats = label_components(mask[top:bottom, left:right])  # ink covers a fifth of a typical picture
    for i in np.flatnonzero(stats[:, cv2.CC_STAT_WIDTH] * stats[:, cv2.CC_STAT_HEIGHT] > MIN_CELL * mask.size):
        x, y, wide, high, area = stats[i]
        cell = components[y : y + high, x : x + wide]
        line, depth = cell == i, max(2, round(BORDER_DEPTH * min(wide, high)))
        sides = line[:depth].any(0), line[-depth:].any(0), line[:, :depth].any(1), line[:, -depth:].any(1)
        inside = np.s_[depth:-depth, depth:-depth]
        if min(side.mean() for side in sides) < BORDER_COVER or line[inside].sum() > (1 - BORDER_COVER) * area:
            continue
        others = np.count_nonzero(cell[inside]) - np.count_nonzero(line[inside])
        if others > MIN_WRITING * area or min(wide / width, high / height) > BORDER_COVER:
            rest = mask.copy()
            rest[top:bottom, left:right] &= components != i
            return rest
    return mask


def remove_rules(mask: Bool[np.ndarray, "h w"], thickest: float) -> Bool[np.ndarray, "h w"]:
    """Removes straight lines across the whole page, horizontal or vertical, and keeps the strokes that cross them."""
    height, width = mask.shape
    rest = mask
    for turn, across, along in ((np.asarray, width, height), (np.transpose, height, width)):
        found = _find_lying_rules(turn(mask), thickest)
        if found is None:
            continue
        rules = turn(found)
        # Across the short side of a strip, a stroke can be as long as a rule but is rarely as thin.
        if across >= 0.75 * along or _is_thinner(rules, mask & ~rules):
            rest = rest & ~rules
    return rest if rest is mask or rest.sum() > 0.02 * mask.sum() else mask


def _find_lying_rules(mask: Bool[np.ndarray, "h w"], thickest: float) -> Bool[np.ndarray, "h w"] | None:
    """Marks rules from left to right, on a page tilted by up to three degrees; None if a side of the page has no ink.

    The slope is the one that gathers the ink in the fewest rows (a Radon transform over a few angles).
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
