from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from digitjax.nn import layers, winograd

DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def draw_normal(*shape, seed=0):
    """Returns random numbers; of NumPy, since JAX compiles its own for seconds, anew for each shape."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def assert_same_value_and_gradients(fast, plain, *inputs):
    """Compares two functions and their gradients for random cotangents."""

    @partial(jax.jit, static_argnums=0)
    def value_and_grads(function, *inputs):
        out, pull_back = jax.vjp(function, *inputs)
        return out, pull_back(draw_normal(*out.shape, seed=9))

    (out_fast, grads_fast), (out_plain, grads_plain) = value_and_grads(fast, *inputs), value_and_grads(plain, *inputs)
    np.testing.assert_allclose(out_fast, out_plain, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(fast(*inputs), out_plain, rtol=1e-5, atol=1e-5)  # without gradients it goes another way
    for grad_fast, grad_plain in zip(grads_fast, grads_plain, strict=True):
        np.testing.assert_allclose(grad_fast, grad_plain, rtol=1e-4, atol=1e-4)


def assert_convolution_equals_xla(images, kernel, padding):
    assert_same_value_and_gradients(
        lambda x, k: layers.conv_general_dilated(x, k, (1, 1), padding, dimension_numbers=DIMENSIONS),
        lambda x, k: lax.conv_general_dilated(x, k, (1, 1), padding, dimension_numbers=DIMENSIONS),
        images,
        kernel,
    )


@pytest.mark.parametrize("padding", ["VALID", "SAME", ((1, 0), (2, 1))])
@pytest.mark.parametrize("kernel_shape", [(3, 3, 16, 7), (2, 5, 16, 9)])
def test_convolution_to_few_features_equals_xla(padding, kernel_shape):
    assert_convolution_equals_xla(draw_normal(3, 9, 8, 16), draw_normal(*kernel_shape, seed=1), padding)


@pytest.mark.parametrize("padding", ["VALID", "SAME", ((1, 0), (2, 1))])
@pytest.mark.parametrize("kernel_shape", [(3, 3, 4, 6), (5, 5, 4, 3), (2, 2, 4, 8), (1, 3, 4, 2)])
def test_convolution_equals_xla(padding, kernel_shape):
    images = draw_normal(3, 9, 8, 4)
    kernel = draw_normal(*kernel_shape, seed=1)
    assert layers.on_cpu()
    assert_convolution_equals_xla(images, kernel, padding)


@pytest.mark.parametrize(
    ("size", "padding", "is_suited"),
    [
        ((4, 4), "VALID", True),
        ((8, 12), "VALID", True),
        ((6, 10), "SAME", True),
        ((6, 9), "SAME", True),
        ((7, 8), "VALID", False),
    ],
)
def test_winograd_equals_xla(size, padding, is_suited):
    images = draw_normal(3, *size, 16)
    kernel = draw_normal(3, 3, 16, 64, seed=1)
    padded = jnp.pad(images, ((0, 0), *lax.padtype_to_pads(size, (3, 3), (1, 1), padding), (0, 0)))
    assert winograd.is_suited(padded.shape, kernel.shape) == is_suited
    assert_convolution_equals_xla(images, kernel, padding)


@pytest.mark.parametrize(
    "options", [{"strides": 2}, {"kernel_dilation": 2}, {"input_dilation": 2, "padding": 1}, {"feature_group_count": 2}]
)
def test_unusual_convolutions_are_left_to_xla(options):
    images = draw_normal(2, 11, 10, 4)
    fast = nn.Conv(6, (3, 3), conv_general_dilated=layers.conv_general_dilated, **options)
    plain = nn.Conv(6, (3, 3), **options)
    variables = plain.init(jax.random.key(1), images)
    np.testing.assert_allclose(fast.apply(variables, images), plain.apply(variables, images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (7, 8), (9, 5), (2, 3)])
def test_pooling_equals_flax(size):
    images = draw_normal(3, *size, 5)
    assert_same_value_and_gradients(layers.max_pool, lambda x: nn.max_pool(x, (2, 2), (2, 2)), images)


def test_pooling_equals_flax_where_values_are_equal():
    # A blank ground gives windows of four equal values; few levels make every kind of tie.
    images = jnp.asarray(np.random.default_rng(0).integers(0, 3, (4, 16, 16, 3)), jnp.float32)
    assert_same_value_and_gradients(layers.max_pool, lambda x: nn.max_pool(x, (2, 2), (2, 2)), images)


def test_off_the_cpu_both_are_plain(monkeypatch):
    monkeypatch.setattr(layers, "on_cpu", lambda: False)
    images, kernel = jnp.ones((1, 6, 6, 2)), jnp.ones((3, 3, 2, 4))

    def network(x):
        x = layers.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=DIMENSIONS)
        return layers.max_pool(x)

    program = str(jax.make_jaxpr(network)(images))
    assert "conv_general_dilated" in program
    assert "reduce_window_max" in program
    assert "dot_general" not in program
