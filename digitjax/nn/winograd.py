"""3x3 convolution with two thirds of the multiplications: Winograd's F(2, 3) along y, patches along x.

Two outputs, one above the other, depend on four rows of pixels. Sums and differences turn these rows, and the kernel's
three, into four coefficients each. Two outputs then need four products, one per coefficient, instead of six, one per
output and kernel row. Along x and over the channels these are matrix products, as with patches (im2col), but take six
numbers in memory per pixel, where 3x3 patches take nine. The matrices and the method are from Lavin and Gray 2016,
"Fast Algorithms for Convolutional Neural Networks", https://arxiv.org/abs/1509.09308, who use it along both axes. That
needs even fewer multiplications, but in sixteen small products, and takes as long.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

# The paper's B^T, G and A^T: pixels to coefficients, kernel to coefficients, coefficients to outputs.
FROM_PIXELS = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32)
FROM_KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
TO_OUTPUTS = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)

# How many outputs and coefficients a tile has; it has as many pixels as coefficients.
OUTPUTS, COEFFICIENTS = TO_OUTPUTS.shape

# With fewer channels, the products are too small to be worth the sums.
MIN_CHANNELS = 16


def is_suited(image_shape: Sequence[int], kernel_shape: Sequence[int]) -> bool:
    """Whether `conv3x3` can do a convolution without padding, which takes whole tiles, and is faster."""
    _, height, _, channels = image_shape
    return tuple(kernel_shape[:2]) == (3, 3) and height % OUTPUTS == 0 and channels >= MIN_CHANNELS


def extract_patches(
    images: Float[Array, "n h w c"], kernel_height: int, kernel_width: int
) -> Float[Array, "n out_h out_w patch"]:
    """Returns what a convolution without padding sees at each place, in the kernel's order (im2col)."""
    height, width = images.shape[1] - kernel_height + 1, images.shape[2] - kernel_width + 1
    return jnp.concatenate(
        [images[:, y : y + height, x : x + width] for y in range(kernel_height) for x in range(kernel_width)], axis=-1
    )


@jax.custom_vjp
def conv3x3(
    images: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c features"]
) -> Float[Array, "n h-2 w-2 features"]:
    """Returns the convolution without padding; the height must be even.

    The gradient is written out: JAX's own gives the same, but stores every column of patches, padded, on the way.
    """
    return _forward(images, kernel)[0]


def _forward(images: Any, kernel: Any) -> tuple[Any, Any]:
    n, height, width, channels = images.shape
    tiles, out_width, features = (height - 2) // OUTPUTS, width - 2, kernel.shape[3]
    rows = [lax.slice_in_dim(images, y, y + height - 3, OUTPUTS, axis=1) for y in range(COEFFICIENTS)]
    patches = [  # [4][n * tiles * out_width, 3 * c]
        extract_patches(pixels, 1, 3).reshape(-1, 3 * channels) for pixels in _combine(FROM_PIXELS, rows)
    ]
    kernels = [part.reshape(-1, features) for part in _combine(FROM_KERNEL, list(kernel))]
    outputs = _combine(TO_OUTPUTS, [part @ kernels[u] for u, part in enumerate(patches)])
    grid = jnp.stack([output.reshape(n, tiles, out_width, features) for output in outputs], axis=2)
    return grid.reshape(n, height - 2, out_width, features), (patches, kernels)


def _backward(residuals: Any, grads: Any) -> tuple[Any, Any]:
    patches, kernels = residuals
    n, out_height, out_width, features = grads.shape
    tiles = out_height // OUTPUTS
    grid = grads.reshape(n, tiles, OUTPUTS, out_width, features)
    products = [part.reshape(-1, features) for part in _combine(TO_OUTPUTS.T, [grid[:, :, y] for y in range(OUTPUTS)])]
    kernel_grads = [(part.T @ products[u]).reshape(3, -1, features) for u, part in enumerate(patches)]
    pixel_grads = [
        _add_columns((products[u] @ part.T).reshape(n, tiles, out_width, 3, -1)) for u, part in enumerate(kernels)
    ]
    return _join(_combine(FROM_PIXELS.T, pixel_grads)), jnp.stack(_combine(FROM_KERNEL.T, kernel_grads))


conv3x3.defvjp(_forward, _backward)


def _add_columns(grads: Float[Array, "n tiles out_w 3 c"]) -> Float[Array, "n tiles out_w+2 c"]:
    """Sums each pixel over the patches that contain it, at most three."""
    padded = [jnp.pad(grads[:, :, :, x], ((0, 0), (0, 0), (x, 2 - x), (0, 0))) for x in range(3)]
    return padded[0] + padded[1] + padded[2]


def _join(rows: Sequence[Float[Array, "n tiles w c"]]) -> Float[Array, "n 2*tiles+2 w c"]:
    """Sums each row over the tiles that contain it: as first or second of one, third or fourth of the one above."""
    first, last = ((0, 0), (0, 1), (0, 0), (0, 0)), ((0, 0), (1, 0), (0, 0), (0, 0))
    pairs = [jnp.pad(rows[y], first) + jnp.pad(rows[y + OUTPUTS], last) for y in range(OUTPUTS)]
    n, tiles, width, channels = pairs[0].shape
    return jnp.stack(pairs, axis=2).reshape(n, OUTPUTS * tiles, width, channels)


def _combine(matrix: np.ndarray, arrays: Sequence[Any]) -> list[Any]:
    """Multiplies a matrix by a list of arrays, leaving out factors of 0."""
    sums = []
    for row in matrix:
        terms = [array if factor == 1 else factor * array for factor, array in zip(row, arrays, strict=True) if factor]
        sums.append(sum(terms[1:], start=terms[0]))
    return sums
