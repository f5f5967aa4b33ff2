"""Spoils the look of training images, on the device, jit-able: hollow strokes, blur, lines, light, blots, noise.

Preprocessing leaves clean ink on a dark ground; who hands 28x28 pixels to the network itself may have anything, and a
network that has seen clean ink alone is easily thrown off (Mu and Gilmer 2019, https://arxiv.org/abs/1906.02337).
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from digitjax.config import CENTER, SIZE

Inks = Float[Array, "n 28 28"]
"""Light ink on a dark ground, 0 to 1."""


def spoil_images(key: Key[Array, ""], images: Float[Array, "n 28 28 1"]) -> Float[Array, "n 28 28 1"]:
    """Spoils images, each in none, one or several ways.

    Args:
      key: Decides what happens to which image.
      images: Light ink on a dark ground, 0 to 255.

    Returns:
      The images, on the same scale.
    """
    inks = images[..., 0] / 255
    for i, (share, change) in enumerate(CHANGES):
        chance_key, change_key = jax.random.split(jax.random.fold_in(key, i))
        is_changed = jax.random.bernoulli(chance_key, share, (len(inks), 1, 1))
        inks = jnp.where(is_changed, jnp.clip(change(change_key, inks), 0, 1), inks)
    return 255 * inks[..., None]


def _draw(key: Key[Array, ""], inks: Inks, low: float, high: float) -> Float[Array, "n 1 1"]:
    """Draws a number for each image."""
    return jax.random.uniform(key, (len(inks), 1, 1), minval=low, maxval=high)


def interpolate_nodes(values: Float[Array, "*n nodes nodes"]) -> Float[Array, "*n 28 28"]:
    """Spreads the nodes of coarse grids over images, cubic between them."""
    weights = jax.image.resize(jnp.eye(values.shape[-1]), (SIZE, values.shape[-1]), "cubic")  # from nodes to pixels
    return jnp.einsum("yi,...ij,xj->...yx", weights, values, weights)


def _draw_field(key: Key[Array, ""], inks: Inks, nodes: int) -> Inks:
    """Draws a smooth random field for each image: uniform at the nodes of a grid."""
    return interpolate_nodes(jax.random.uniform(key, (len(inks), nodes, nodes)))


def _hollow(key: Key[Array, ""], inks: Inks) -> Inks:
    """Leaves the outlines of strokes: the pixels that only thicker strokes would cover."""
    steep = jnp.clip(4 * inks - 1.5, 0, 1)
    outline = jax.lax.reduce_window(steep, 0.0, jax.lax.max, (1, 3, 3), (1, 1, 1), "SAME") - steep
    return outline * _draw(key, inks, 0.5, 1)


def _blur(key: Key[Array, ""], inks: Inks) -> Inks:
    """Blurs by a Gaussian, now and then much more along one axis than along the other."""
    wide_key, y_key, x_key = jax.random.split(key, 3)
    distance = jnp.arange(SIZE)[:, None] - jnp.arange(SIZE)

    def make_kernels(key: Key[Array, ""], most: Float[Array, "n 1 1"]) -> Float[Array, "n 28 28"]:
        kernels = jnp.exp(-((distance / (0.3 + most * _draw(key, inks, 0, 1))) ** 2) / 2)
        return kernels / kernels.sum(-1, keepdims=True)

    wide = jnp.where(_draw(wide_key, inks, 0, 1) < 0.4, 2.5, 1.0)
    return jnp.einsum("nij,njk,nlk->nil", make_kernels(y_key, jnp.ones_like(wide)), inks, make_kernels(x_key, wide))


def _add_line(key: Key[Array, ""], inks: Inks) -> Inks:
    """Draws a line across, straight or wavy, whole or dashed, lying or standing."""
    keys = jax.random.split(key, 11)
    draw = [partial(_draw, each, inks) for each in keys]
    t = jnp.arange(SIZE)
    wave = draw[0](-1, 3).clip(0) * jnp.sin(2 * jnp.pi * (t / draw[1](5, 12) + draw[2](0, 1)))
    course = draw[3](-2, SIZE + 2) + (t - SIZE / 2) * draw[4](-1, 1) + wave  # [n, 1, 28]: the line's y at each x
    light = jnp.clip(1.2 - jnp.abs(t[:, None] - course) / draw[5](0.6, 1.8), 0, 1) * draw[6](0.4, 1)
    is_dash = jnp.sin(2 * jnp.pi * (t / draw[7](3, 9) + draw[8](0, 1))) > 0
    light *= jnp.where(draw[9](0, 1) < 0.5, is_dash, 1)
    return inks + jnp.where(draw[10](0, 1) < 0.6, light, light.transpose(0, 2, 1))


def _change_light(key: Key[Array, ""], inks: Inks) -> Inks:
    """Lights the ground, evenly or in clouds, until ink is a quarter as much lighter as it was."""
    keys = jax.random.split(key, 6)
    clouds = _draw_field(keys[0], inks, 3) + 0.4 * _draw_field(keys[1], inks, 6) + 0.2 * _draw_field(keys[2], inks, 14)
    clouds = _draw(keys[3], inks, 0, 3) * clouds
    dimmed = (inks + clouds) / (1 + clouds.max((1, 2), keepdims=True))
    return jnp.where(_draw(keys[4], inks, 0, 1) < 0.4, inks + _draw(keys[5], inks, 0, 0.7), dimmed)


def _invert_side(key: Key[Array, ""], inks: Inks) -> Inks:
    """Makes a negative of what lies beyond a line through the image, or of the bands beyond two."""
    angle_key, near_key, far_key, two_key = jax.random.split(key, 4)
    angle = _draw(angle_key, inks, 0, 2 * jnp.pi)
    place = jnp.arange(SIZE) - CENTER
    along = place[:, None] * jnp.sin(angle) + place * jnp.cos(angle)
    is_beyond = along > _draw(near_key, inks, 2, 11)
    is_beyond |= (along < -_draw(far_key, inks, 2, 11)) & (_draw(two_key, inks, 0, 1) < 0.5)
    return jnp.where(is_beyond, 1 - inks, inks)


def _add_blots(key: Key[Array, ""], inks: Inks) -> Inks:
    """Covers spots by a grey of their own."""
    field_key, most_key, grey_key = jax.random.split(key, 3)
    is_covered = _draw_field(field_key, inks, 9) > _draw(most_key, inks, 0.7, 1)
    return jnp.where(is_covered, _draw(grey_key, inks, 0, 1), inks)


def _add_noise(key: Key[Array, ""], inks: Inks) -> Inks:
    """Adds noise everywhere, or where there is light, or sets single pixels to black or white."""
    kind_key, even_key, light_key, normal_key, share_key, pixel_key = jax.random.split(key, 6)
    kind, normal = _draw(kind_key, inks, 0, 3), jax.random.normal(normal_key, inks.shape)
    everywhere = inks + _draw(even_key, inks, 0, 0.3) * normal
    in_light = inks + _draw(light_key, inks, 0, 0.7) * jnp.sqrt(inks) * normal
    chance = jax.random.uniform(pixel_key, inks.shape) / _draw(share_key, inks, 0.02, 0.3)
    pixels = jnp.where(chance < 1, chance < 0.5, inks)
    return jnp.where(kind < 1, everywhere, jnp.where(kind < 2, in_light, pixels))


# What happens to how many of the spoiled images, one after the other.
CHANGES = (
    (0.15, _hollow),
    (0.3, _blur),
    (0.4, _add_line),
    (0.15, _add_blots),
    (0.3, _add_noise),
    (0.3, _change_light),
    (0.15, _invert_side),
)
