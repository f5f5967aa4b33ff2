"""Convolution of 3x3 with less than half of the multiplications: Winograd's F(2x2, 3x3).

Four outputs, 2x2, depend on a tile of 4x4 pixels. Sums and differences turn the pixels, and the kernel, into 16
coefficients each; what a convolution adds up over nine pixels and all channels is there one product of matrices for
each coefficient, over the channels alone. That is 16 multiplications where the definition takes 36, and four numbers in
memory for each pixel where patches are nine. The gradients come the same way, backwards. Matrices and method: Lavin and
Gray 2016, "Fast Algorithms for Convolutional Neural Networks", https://arxiv.org/abs/1509.09308.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

# The paper's B^T, G and A^T: from pixels and from a kernel to coefficients, and from these to outputs, along one axis.
FROM_PIXELS = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32)
FROM_KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
TO_OUTPUTS = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)

# Along one axis: a tile's outputs, and its coefficients, as many as its pixels.
OUTPUTS, COEFFICIENTS = TO_OUTPUTS.shape

# A convolution that takes fewer multiplications an image gains no more than its many small steps cost, and they take
# seconds to compile.
MIN_MULTIPLICATIONS = 2_000_000


def is_suited(image_shape: Sequence[int], kernel_shape: Sequence[int]) -> bool:
    """Whether `conv3x3` can take a convolution without padding, which needs whole tiles, and is the faster way."""
    _, height, width, channels = image_shape
    if tuple(kernel_shape[:2]) != (3, 3) or height % OUTPUTS or width % OUTPUTS or min(height, width) < COEFFICIENTS:
        return False
    return (height - 2) * (width - 2) * 9 * channels * kernel_shape[3] >= MIN_MULTIPLICATIONS


@jax.custom_vjp
def conv3x3(
    images: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c features"]
) -> Float[Array, "n h-2 w-2 features"]:
    """Returns the convolution without padding; height and width are even."""
    return _forward(images, kernel)[0]


def _forward(images: Any, kernel: Any) -> tuple[Any, Any]:
    n, height, width, channels = images.shape
    tiles = ((height - 2) // OUTPUTS, (width - 2) // OUTPUTS)
    kernels = jnp.einsum("ui,vj,ijcf->uvcf", FROM_KERNEL, FROM_KERNEL, kernel)
    rows = _split(images, axis=1)
    pixels = [[part.reshape(-1, channels) for part in _split(row, axis=2)] for row in rows]  # [4][4][n * tiles, c]
    products = [[pixels[u][v] @ kernels[u, v] for v in range(COEFFICIENTS)] for u in range(COEFFICIENTS)]
    columns = [_combine(TO_OUTPUTS, row) for row in products]  # [4][2]
    outputs = [_combine(TO_OUTPUTS, column) for column in zip(*columns, strict=True)]  # [x][y] of a tile
    grid = jnp.stack([jnp.stack(row, axis=1) for row in zip(*outputs, strict=True)], axis=1)  # [n * tiles, y, x, f]
    grid = grid.reshape(n, *tiles, OUTPUTS, OUTPUTS, -1).transpose(0, 1, 3, 2, 4, 5)
    return grid.reshape(n, height - 2, width - 2, -1), (pixels, kernels)


def _backward(residuals: Any, grads: Any) -> tuple[Any, Any]:
    pixels, kernels = residuals
    n, height, width, features = grads.shape
    tiles = (height // OUTPUTS, width // OUTPUTS)
    grid = grads.reshape(n, tiles[0], OUTPUTS, tiles[1], OUTPUTS, features)
    columns = [_combine(TO_OUTPUTS.T, [grid[:, :, y, :, x] for y in range(OUTPUTS)]) for x in range(OUTPUTS)]
    products = [  # the gradients of the products, [4][4][n * tiles, f]
        [part.reshape(-1, features) for part in _combine(TO_OUTPUTS.T, row)] for row in zip(*columns, strict=True)
    ]
    places = [(u, v) for u in range(COEFFICIENTS) for v in range(COEFFICIENTS)]
    kernel_grads = jnp.stack([pixels[u][v].T @ products[u][v] for u, v in places]).reshape(kernels.shape)
    pixel_grads = [(products[u][v] @ kernels[u, v].T).reshape(n, *tiles, -1) for u, v in places]
    rows = [_join(pixel_grads[i : i + COEFFICIENTS], axis=2) for i in range(0, len(places), COEFFICIENTS)]
    return _join(rows, axis=1), jnp.einsum("ui,vj,uvcf->ijcf", FROM_KERNEL, FROM_KERNEL, kernel_grads)


conv3x3.defvjp(_forward, _backward)


def _split(images: Any, axis: int) -> list[Any]:
    """Returns the coefficients of the tiles along an axis, which overlap by two pixels."""
    length = images.shape[axis] - 2
    pixels = [lax.slice_in_dim(images, i, i + length - 1, OUTPUTS, axis) for i in range(COEFFICIENTS)]
    return _combine(FROM_PIXELS, pixels)


def _join(coefficients: Sequence[Any], axis: int) -> Any:
    """Returns the sums over the tiles that share a pixel: the gradient of `_split`."""
    pixels = _combine(FROM_PIXELS.T, coefficients)
    before, after = ([(0, 0)] * pixels[0].ndim for _ in range(2))
    before[axis], after[axis] = (1, 0), (0, 1)
    # A pixel is the first or second of one tile, and the third or fourth of the tile before.
    pairs = [jnp.pad(pixels[i], after) + jnp.pad(pixels[i + OUTPUTS], before) for i in range(OUTPUTS)]
    shape = list(pairs[0].shape)
    shape[axis] *= OUTPUTS
    return jnp.stack(pairs, axis=axis + 1).reshape(shape)


def _combine(matrix: np.ndarray, arrays: Sequence[Any]) -> list[Any]:
    """Returns the product of a matrix and a list of arrays; sums and differences where the matrix holds 1 and -1."""
    sums = []
    for row in matrix:
        terms = [array if factor == 1 else -array for factor, array in zip(row, arrays, strict=True) if factor != 0]
        sums.append(sum(terms[1:], start=terms[0]))
    return sums
