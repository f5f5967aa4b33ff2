"""Random changes of training images: on the device, jittable, determined by a key."""

import dataclasses
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Key, UInt8

from digitjax.config import CENTER, SIZE, AugmentConfig
from digitjax.nn.spoil import interpolate_nodes, spoil_images

# Nodes of the grid of elastic displacements, in y and in x: so few that a bend is about as long as a stroke.
ELASTIC_NODES = 5

# Spoiled images are moved this many times as far.
FAR = 2.0


def augment_images(
    key: Key[Array, ""], images: UInt8[Array, "n 28 28 1"], config: AugmentConfig
) -> Float[Array, "n 28 28 1"]:
    """Changes the strokes of each image, bends it, and rotates, scales, slants and shifts it about its centre.

    Args:
      key: Determines all amounts, which differ for each image; the same key gives the same images.
      images: Light ink on a dark background; whatever comes in from outside the image is dark.
      config: The limits, see `AugmentConfig`. With all limits 0, the images come back as they are.

    Returns:
      The images on the same scale, 0 to 255, as float32: bilinear sampling gives values between the integers.
    """
    if not any(dataclasses.astuple(config)):
        return images.astype(jnp.float32)
    affine_key, elastic_key, stroke_key = jax.random.split(key, 3)
    n = images.shape[0]
    spoiled = np.linspace(0, n, round(config.spoiled_share * n), endpoint=False).astype(int)  # evenly spread
    matrices, shifts = _draw_affine(affine_key, n, config, jnp.ones(n).at[spoiled].set(FAR))
    inks = images[..., 0].astype(jnp.float32)
    if config.stroke_pixels:
        amounts = jax.random.uniform(stroke_key, (n,), minval=-config.stroke_pixels, maxval=config.stroke_pixels)
        inks = _change_strokes(inks, amounts)
    places = jnp.stack(jnp.meshgrid(jnp.arange(SIZE), jnp.arange(SIZE), indexing="ij")) - CENTER  # [2, 28, 28]
    places = jnp.einsum("nij,njyx->niyx", matrices, places - shifts[:, :, None, None]) + CENTER
    if config.elastic_pixels:
        places += _draw_bends(elastic_key, n, config)
    sampled = jax.vmap(lambda ink, place: map_coordinates(ink, list(place), order=1))(inks, places)[..., None]
    if len(spoiled):
        sampled = sampled.at[spoiled].set(spoil_images(jax.random.fold_in(key, 0), sampled[spoiled]))
    return sampled


def _change_strokes(inks: Float[Array, "n 28 28"], amounts: Float[Array, "n"]) -> Float[Array, "n 28 28"]:
    """Makes strokes thicker (amount above 0) or thinner on every side, by up to one pixel at 1 and -1.

    Each pixel's value moves towards the largest or the smallest of its own and its four neighbours'.
    """
    padded = jnp.pad(inks, ((0, 0), (1, 1), (1, 1)))
    neighbours = [inks, padded[:, :-2, 1:-1], padded[:, 2:, 1:-1], padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]]
    amounts = amounts[:, None, None]
    thicker, thinner = reduce(jnp.maximum, neighbours), reduce(jnp.minimum, neighbours)
    return inks + jnp.maximum(amounts, 0) * (thicker - inks) - jnp.maximum(-amounts, 0) * (inks - thinner)


def _draw_bends(key: Key[Array, ""], n: int, config: AugmentConfig) -> Float[Array, "n 2 28 28"]:
    """Draws smooth displacements (Simard et al. 2003): random at the nodes of a coarse grid."""
    limit = config.elastic_pixels
    return interpolate_nodes(jax.random.uniform(key, (n, 2, ELASTIC_NODES, ELASTIC_NODES), minval=-limit, maxval=limit))


def _draw_affine(
    key: Key[Array, ""], n: int, config: AugmentConfig, times: Float[Array, "n"]
) -> tuple[Float[Array, "n 2 2"], Float[Array, "n 2"]]:
    """Draws maps from output (y, x) to input (y, x), both measured from the centre; `times` multiplies the limits."""
    angle_key, scale_key, shear_key, shift_key = jax.random.split(key, 4)

    def draw(key: Key[Array, ""], limit: float, shape: tuple[int, ...] = (n,)) -> Float[Array, "..."]:
        return jax.random.uniform(key, shape, minval=-limit, maxval=limit)

    angle = times * jnp.deg2rad(draw(angle_key, config.rotation_degrees))
    scale = 1 + times[:, None] * draw(scale_key, config.scale, (n, 2))
    shear = times * draw(shear_key, config.shear)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    rotation = jnp.stack([jnp.stack([cos, -sin], -1), jnp.stack([sin, cos], -1)], -2)  # [n, 2, 2]
    slant = jnp.stack([jnp.stack([jnp.ones(n), jnp.zeros(n)], -1), jnp.stack([shear, jnp.ones(n)], -1)], -2)
    matrices = (rotation @ slant) / scale[:, None, :]
    return matrices, times[:, None] * draw(shift_key, config.shift_pixels, (n, 2))
