"""Convolution and pooling that are fast on the CPU and plain on an accelerator.

XLA's CPU backend runs two things badly that training a CNN needs: the gradient of `reduce_window` (select-and-scatter,
one thread, element by element) and the gradients of convolutions inside a loop. So on the CPU a convolution whose
gradients are asked for is made of matrix products, by Winograd's method or over its patches (im2col), or has gradients
that XLA runs well, and so has pooling; elsewhere both are the usual XLA operations. `on_cpu` is the only switch. Either
way gives the same values and gradients up to float32 rounding; the tests compare them.
"""

import contextlib
import contextvars
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float, UInt8

from digitjax.nn import winograd

# Over fewer features the products are too small to be worth the patches.
MIN_FEATURES = 64

_is_plain = contextvars.ContextVar("is_plain", default=False)


def on_cpu() -> bool:
    """Whether computations go to the CPU, and so take the forms that are fast there."""
    return jax.default_backend() == "cpu" and not _is_plain.get()


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """What is traced inside takes the usual operations, since it shall run anywhere."""
    token = _is_plain.set(True)
    try:
        yield
    finally:
        _is_plain.reset(token)


# ---------------------------------------------------------------- convolution


def conv_general_dilated(
    lhs: Float[Array, "n h w c"],
    rhs: Float[Array, "kh kw c_in features"],
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    **options: Any,
) -> Float[Array, "n out_h out_w features"]:
    """Stands in for `lax.conv_general_dilated` in `nn.Conv(conv_general_dilated=...)`.

    Plain convolutions of stride 1 become matrix products on the CPU; all others go to XLA as they are.

    Args:
      lhs: The images, channels last.
      rhs: The kernel, in Flax's layout.
      window_strides: Step in y and in x.
      padding: As in `lax.conv_general_dilated`: "VALID", "SAME", or (before, after) for y and for x.
      **options: `lax.conv_general_dilated`'s other arguments, as Flax gives them.
    """
    dilated = any(d != 1 for name in ("lhs_dilation", "rhs_dilation") for d in options.get(name) or ())
    grouped = options.get("feature_group_count", 1) != 1
    if not on_cpu() or dilated or grouped or any(stride != 1 for stride in window_strides):
        return lax.conv_general_dilated(lhs, rhs, window_strides, padding, **options)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], window_strides, padding)
    channels, features = rhs.shape[2:]
    if channels >= winograd.MIN_CHANNELS and features < MIN_FEATURES:
        return _conv_by_xla(lhs, rhs, tuple(padding))
    if any(amount != 0 for pair in padding for amount in pair):
        lhs = jnp.pad(lhs, ((0, 0), *padding, (0, 0)))
    return _conv(lhs, rhs)


_Padding = tuple[tuple[int, int], ...]  # (before, after) for y and for x


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv_by_xla(
    images: Float[Array, "n h w c"], kernel: Float[Array, "kh kw c features"], padding: _Padding
) -> Float[Array, "n out_h out_w features"]:
    """XLA's own, with gradients that it runs as fast inside a loop.

    JAX's gradients are convolutions whose axes stand in another order, which XLA puts right outside of loops alone; in
    one they would take a hundred times as long. So the axes are put right here.
    """
    return lax.conv_general_dilated(images, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _conv_by_xla_forward(images: Any, kernel: Any, padding: _Padding) -> tuple[Any, Any]:
    return _conv_by_xla(images, kernel, padding), (images, kernel)


def _conv_by_xla_backward(padding: _Padding, residuals: Any, grads: Any) -> tuple[Any, Any]:
    images, kernel = residuals
    rest = [(size - 1 - before, size - 1 - after) for size, (before, after) in zip(kernel.shape, padding, strict=False)]
    image_grads = _conv_by_xla(grads, kernel[::-1, ::-1].swapaxes(2, 3), tuple(rest))
    # Each channel is an image here, whose own channels are the images of the batch; the gradients are the kernel.
    kernel_grads = _conv_by_xla(images.transpose(3, 1, 2, 0), grads.transpose(1, 2, 0, 3), padding)
    return image_grads, kernel_grads.transpose(1, 2, 0, 3)


_conv_by_xla.defvjp(_conv_by_xla_forward, _conv_by_xla_backward)


@jax.custom_vjp
def _conv(
    images: Float[Array, "n h w c"], kernel: Float[Array, "kh kw c features"]
) -> Float[Array, "n out_h out_w features"]:
    """XLA's own where nobody asks for gradients: forward alone and in no loop it is twice as fast."""
    return lax.conv_general_dilated(images, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _conv_forward(images: Any, kernel: Any) -> tuple[Any, Any]:
    conv = winograd.conv3x3 if winograd.is_suited(images.shape, kernel.shape) else _conv_by_matmul
    return jax.vjp(conv, images, kernel)


def _conv_backward(vjp: Any, grads: Any) -> Any:
    return vjp(grads)


_conv.defvjp(_conv_forward, _conv_backward)


def _conv_by_matmul(
    images: Float[Array, "n h w c"], kernel: Float[Array, "kh kw c features"]
) -> Float[Array, "n out_h out_w features"]:
    kernel_height, kernel_width, _, features = kernel.shape
    patches = winograd.extract_patches(images, kernel_height, kernel_width)
    products = patches.reshape(-1, patches.shape[-1]) @ kernel.reshape(-1, features)  # a fifth faster than in 4-d
    return products.reshape(*patches.shape[:3], features)


Conv = partial(nn.Conv, conv_general_dilated=conv_general_dilated)

# ---------------------------------------------------------------- pooling


def max_pool(images: Float[Array, "n h w c"]) -> Float[Array, "n h//2 w//2 c"]:
    """Maximum over windows of 2x2, step 2, as `nn.max_pool(images, (2, 2), (2, 2))`.

    An odd last row or column is left out. Among equal values the gradient goes to the first in reading order, as XLA's
    does: on MNIST's blank ground all four are often equal.
    """
    if not on_cpu():
        return nn.max_pool(images, window_shape=(2, 2), strides=(2, 2))
    return _max_pool_2x2(images)


@jax.custom_vjp
def _max_pool_2x2(images: Float[Array, "n h w c"]) -> Float[Array, "n out_h out_w c"]:
    return _windows(images).max(axis=(2, 4))


def _windows(images: Float[Array, "n h w c"]) -> Float[Array, "n out_h 2 out_w 2 c"]:
    n, height, width, channels = images.shape
    height, width = height // 2, width // 2
    return images[:, : 2 * height, : 2 * width].reshape(n, height, 2, width, 2, channels)


_Winners = UInt8[Array, "n out_h out_w c"]  # which of a window's four pixels is its maximum, 0 to 3 in reading order


def _max_pool_forward(images: Float[Array, "n h w c"]) -> tuple[Float[Array, "n out_h out_w c"], tuple[_Winners, Any]]:
    windows = _windows(images)
    maxima = windows.max(axis=(2, 4))
    a, b, c, d = (windows[:, :, y, :, x] for y in range(2) for x in range(2))
    c_or_d = jnp.maximum(c, d)
    # Compared with each other, not with `maxima`: XLA may compute the pixels anew for that, and round otherwise.
    wins = [a >= jnp.maximum(b, c_or_d), b >= c_or_d, c >= d]
    winners = jnp.select(wins, [jnp.uint8(0), jnp.uint8(1), jnp.uint8(2)], jnp.uint8(3))
    return maxima, (winners, images[:0])  # of the images only the shape is needed later


def _max_pool_backward(
    residuals: tuple[_Winners, Float[Array, "0 h w c"]], grads: Float[Array, "n out_h out_w c"]
) -> tuple[Float[Array, "n h w c"]]:
    winners, empty = residuals
    n, height, width, channels = grads.shape
    place = jnp.arange(4, dtype=jnp.uint8).reshape(1, 1, 2, 1, 2, 1)
    image_grads = jnp.where(winners[:, :, None, :, None] == place, grads[:, :, None, :, None], 0)
    image_grads = image_grads.reshape(n, 2 * height, 2 * width, channels)
    rest = (empty.shape[1] - 2 * height, empty.shape[2] - 2 * width)
    return (jnp.pad(image_grads, ((0, 0), (0, rest[0]), (0, rest[1]), (0, 0))),)


_max_pool_2x2.defvjp(_max_pool_forward, _max_pool_backward)
