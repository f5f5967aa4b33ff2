"""Adds drawn images to a data set's own, as a config says: digits in other styles, redrawn digits, non-digits."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from digitjax.config import TrainConfig
from digitjax.data.arrays import ALL, Character, Dataset, Part
from digitjax.drawing.digits import draw_styles, redraw_digits
from digitjax.drawing.hands import Hands, divide_hands
from digitjax.drawing.negatives import draw_negatives


def add_drawn(
    digits: Dataset,
    config: TrainConfig,
    part: Part = ALL,
    num_digits: int | None = None,
    extra: Sequence[Character] = (),
) -> Dataset:
    """Adds digits in other styles, redrawn digits and non-digits to the digits, as many as the config says.

    The config's seed determines all of them; non-digits are labelled `config.no_digit`. Digits come in blocks, each
    followed by what is drawn from its own digits, so that a part can be made without the rest.

    Args:
      digits: The digits of a part.
      config: The shares, and the seed.
      part: Which part they are.
      num_digits: How many digits all parts have together; None if these are all.
      extra: Characters by other writers, to be drawn too.
    """
    hands = divide_hands(extra)
    blocks = part.blocks(len(digits.labels) if num_digits is None else num_digits)
    drawn = [Dataset(digits.images[:0], digits.labels[:0])]
    for i, start, stop in blocks:
        block = Dataset(*(array[start - blocks[0][1] : stop - blocks[0][1]] for array in digits))
        drawn.append(_add_drawn(block, hands, config, np.random.default_rng((config.seed, i))))
    return Dataset(*(np.concatenate(arrays) for arrays in zip(*drawn, strict=True)))


def mark_drawn(config: TrainConfig, num_digits: int) -> Bool[np.ndarray, "n"]:
    """Returns which images are drawn ones, among those that `add_drawn` returns for all parts together."""
    counts = [(stop - start, sum(_count_drawn(config, stop - start))) for _, start, stop in ALL.blocks(num_digits)]
    return np.repeat(np.tile([False, True], len(counts)), np.ravel(counts))


def _count_drawn(config: TrainConfig, num_digits: int) -> tuple[int, int, int]:
    """Returns how many digits in other styles, redrawn digits and non-digits to add to this many digits."""
    shares = (config.style_share, config.redrawn_share, config.negative_share)
    styles, redrawn, negatives = (round(num_digits / (1 - sum(shares)) * share) for share in shares)
    return styles, redrawn, negatives


def _add_drawn(digits: Dataset, hands: Hands, config: TrainConfig, rng: np.random.Generator) -> Dataset:
    num_styles, num_redrawn, num_negatives = _count_drawn(config, len(digits.labels))
    styles = draw_styles(rng, num_styles)
    redrawn = redraw_digits(rng, num_redrawn, digits, hands.digits)
    negatives = draw_negatives(rng, num_negatives, digits, hands.others)
    return Dataset(
        np.concatenate([digits.images, styles.images, redrawn.images, negatives]),
        np.concatenate(
            [digits.labels, styles.labels, redrawn.labels, np.full(len(negatives), config.no_digit, np.int32)]
        ),
    )
