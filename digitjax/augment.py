"""Random changes of training images, on the device, jit-able, decided by a key."""

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Key, UInt8

from digitjax.config import AugmentConfig

SIZE = 28
CENTER = (SIZE - 1) / 2


def augment_images(
    key: Key[Array, ""], images: UInt8[Array, "n 28 28 1"], config: AugmentConfig
) -> Float[Array, "n 28 28 1"]:
    """Turns, scales, slants and shifts each image about its centre, each by its own random amounts.

    Args:
      key: Decides all amounts; the same key gives the same images.
      images: Light ink on a dark ground; what comes in from outside the picture is dark.
      config: The limits, see `AugmentConfig`. With all limits 0 the images come back as they are.

    Returns:
      The images on the same scale, 0 to 255, as float32: bilinear sampling makes values between the whole ones.
    """
    matrices, shifts = _draw_affine(key, images.shape[0], config)
    return jax.vmap(_sample)(images, matrices, shifts)


def _draw_affine(
    key: Key[Array, ""], n: int, config: AugmentConfig
) -> tuple[Float[Array, "n 2 2"], Float[Array, "n 2"]]:
    """Draws the maps from output (y, x) to input (y, x), both measured from the centre."""
    angle_key, scale_key, shear_key, shift_key = jax.random.split(key, 4)

    def draw(key: Key[Array, ""], limit: float, shape: tuple[int, ...] = (n,)) -> Float[Array, "..."]:
        return jax.random.uniform(key, shape, minval=-limit, maxval=limit)

    angle = jnp.deg2rad(draw(angle_key, config.rotation_degrees))
    scale = 1 + draw(scale_key, config.scale, (n, 2))
    shear = draw(shear_key, config.shear)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    rotation = jnp.stack([jnp.stack([cos, -sin], -1), jnp.stack([sin, cos], -1)], -2)  # [n, 2, 2]
    slant = jnp.stack([jnp.stack([jnp.ones(n), jnp.zeros(n)], -1), jnp.stack([shear, jnp.ones(n)], -1)], -2)
    matrices = (rotation @ slant) / scale[:, None, :]
    return matrices, draw(shift_key, config.shift_pixels, (n, 2))


def _sample(
    image: UInt8[Array, "28 28 1"], matrix: Float[Array, "2 2"], shift: Float[Array, "2"]
) -> Float[Array, "28 28 1"]:
    places = jnp.stack(jnp.meshgrid(jnp.arange(SIZE), jnp.arange(SIZE), indexing="ij")) - CENTER  # [2, 28, 28]
    y, x = jnp.einsum("ij,jyx->iyx", matrix, places - shift[:, None, None]) + CENTER
    return map_coordinates(image[..., 0].astype(jnp.float32), [y, x], order=1)[..., None]
