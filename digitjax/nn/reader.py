"""The page reader's network: a grey page -> where digits are, which, and how large; and what its training minimises.

As in CenterNet (Zhou et al. 2019, https://arxiv.org/abs/1904.07850) a heat map for each class peaks at the middle of
each digit; beside it stand the distances from there to the four sides of its box.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int32

from digitjax.config import DIGITS
from digitjax.nn import layers
from digitjax.nn.layers import Conv

STRIDE = 4
"""Heat maps have a place for each square of so many pixels."""

# Distances are learned in this unit, in pixels, which brings them to about 1.
UNIT = 16.0

# Heat falls off with the distance from a digit's middle: the standard deviation, in sizes of the digit, and in places.
SPREAD, MIN_SPREAD = 0.15, 0.45

# The box is learned where the heat is at least this.
MIN_HEAT = 0.4

BOX_WEIGHT = 0.5

BATCH_NORM_MOMENTUM = 0.97


class Targets(NamedTuple):
    """The digits of a batch of pages."""

    boxes: Float[Array, "n most 4"]  # left, top, right, bottom, in pixels
    labels: Int32[Array, "n most"]  # -1: none


class Unit(nn.Module):
    """A convolution of 3x3, or of 1x1, with batch normalisation and ReLU."""

    features: int
    size: int = 3

    @nn.compact
    def __call__(self, x: Any, *, train: bool) -> Any:
        """Returns as many places, with `features` values each."""
        if self.size == 1:
            x = nn.Dense(self.features, use_bias=False)(x)
        else:
            x = Conv(self.features, (3, 3), padding="SAME", use_bias=False)(x)
        return nn.relu(nn.BatchNorm(use_running_average=not train, momentum=BATCH_NORM_MOMENTUM)(x))


class PageReader(nn.Module):
    """Convolutions down to a sixteenth of the page and up again to a quarter, with shortcuts (a feature pyramid)."""

    widths: tuple[int, int, int, int] = (24, 48, 96, 128)
    head_width: int = 64

    @nn.compact
    def __call__(self, pages: Float[Array, "n h w 1"], *, train: bool) -> Float[Array, "n h4 w4 14"]:
        """Returns, for each place, the logits of the ten classes and the distances to left, top, right, bottom.

        Args:
          pages: As `normalize_page` leaves them.
          train: Whether the statistics of the batch are taken.
        """
        half, quarter, eighth, sixteenth = self.widths

        def apply(x: Any, *features: int) -> Any:
            for width in features:
                x = Unit(width)(x, train=train)
            return x

        n, height, width, _ = pages.shape
        down, across = -height % 16, -width % 16
        x = jnp.pad(pages, ((0, 0), (0, down), (0, across), (0, 0)), mode="edge")
        x = x.reshape(n, (height + down) // 2, 2, (width + across) // 2, 2).transpose(0, 1, 3, 2, 4)
        x = layers.max_pool(apply(x.reshape(*x.shape[:3], 4), half))
        at_quarter = apply(x, quarter, quarter)
        x = apply(layers.max_pool(at_quarter), eighth)
        x = x + apply(x, eighth, eighth)
        at_eighth = x + apply(x, eighth, eighth)
        x = apply(layers.max_pool(at_eighth), sixteenth)
        x = x + apply(x, sixteenth, sixteenth)
        x = apply(_enlarge(Unit(eighth, 1)(x, train=train)) + at_eighth, eighth)
        x = _enlarge(Unit(self.head_width, 1)(x, train=train)) + Unit(self.head_width, 1)(at_quarter, train=train)
        x = apply(x, self.head_width)
        x = nn.Dense(len(DIGITS) + 4, bias_init=_init_bias)(x)
        return x[:, : -(-height // STRIDE), : -(-width // STRIDE)]


def _init_bias(key: Any, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """At first each class is as rare as one place in a hundred, or the many places without a digit would explode."""
    del key
    return jnp.where(jnp.arange(shape[0]) < len(DIGITS), -4.6, 0.0).astype(dtype)


def _enlarge(x: Float[Array, "n h w c"]) -> Float[Array, "n 2*h 2*w c"]:
    n, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (n, height, 2, width, 2, channels))
    return x.reshape(n, 2 * height, 2 * width, channels)


# ---------------------------------------------------------------- training


def compute_page_losses(
    outputs: Float[Array, "n h w 14"], targets: Targets
) -> tuple[Float[Array, ""], Int32[Array, ""], Int32[Array, ""]]:
    """Returns the mean loss, and of all digits how many are found and right, and how many there are.

    The loss of the heat maps is CenterNet's, the focal loss (Lin et al. 2017) with less weight near a middle, that of
    the boxes the distances' absolute errors.
    """
    heat, distances, weights = jax.vmap(lambda boxes, labels: _draw_targets(outputs.shape[1:3], boxes, labels))(
        *targets
    )
    logits, found = outputs[..., : len(DIGITS)], outputs[..., len(DIGITS) :]
    probs, is_middle = nn.sigmoid(logits), heat == 1
    focal = jnp.where(
        is_middle,
        -((1 - probs) ** 2) * nn.log_sigmoid(logits),
        -((1 - heat) ** 4) * probs**2 * nn.log_sigmoid(-logits),
    )
    num_digits = (targets.labels >= 0).sum()
    box_errors = (jnp.abs(found - distances).sum(-1) * weights).sum() / jnp.maximum(weights.sum(), 1)
    loss = focal.sum() / jnp.maximum(num_digits, 1) + BOX_WEIGHT * box_errors
    best = logits.max(-1, keepdims=True)
    num_right = (is_middle & (logits == best) & (logits > 0)).sum()
    return loss, num_right, num_digits


def _draw_targets(shape: tuple[int, ...], boxes: Float[Array, "most 4"], labels: Int32[Array, "most"]) -> Any:
    """Returns heat maps [h, w, 10], distances [h, w, 4] and the weights of these [h, w]."""
    height, width = shape
    middle_x, middle_y = (jnp.round((boxes[:, i] + boxes[:, i + 2]) / (2 * STRIDE) - 0.5) for i in range(2))
    sizes = SPREAD * (boxes[:, 2:] - boxes[:, :2]) / STRIDE
    spread_x, spread_y = jnp.maximum(sizes, MIN_SPREAD).T
    y, x = jnp.arange(height)[:, None, None], jnp.arange(width)[None, :, None]
    # Digits whose middle lies beyond the rim are pulled to it.
    middle_x, middle_y = middle_x.clip(0, width - 1), middle_y.clip(0, height - 1)
    exponent = ((x - middle_x) / spread_x) ** 2 + ((y - middle_y) / spread_y) ** 2
    near = jnp.where(labels >= 0, jnp.exp(-exponent / 2), 0)  # [h, w, most]
    heat = jnp.stack([jnp.where(labels == label, near, 0).max(-1) for label in range(len(DIGITS))], axis=-1)
    weights = near.max(-1)
    owners = boxes[near.argmax(-1)]  # [h, w, 4]
    center_x, center_y = (x[..., 0] + 0.5) * STRIDE, (y[..., 0] + 0.5) * STRIDE
    left, top, right, bottom = jnp.moveaxis(owners, -1, 0)
    distances = jnp.stack([center_x - left, center_y - top, right - center_x, bottom - center_y], axis=-1) / UNIT
    return heat, distances, jnp.where(weights > MIN_HEAT, weights, 0)
