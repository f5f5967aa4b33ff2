from functools import partial
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from flax import linen as nn
from jax import lax

from digitjax.config import ModelName, TrainConfig
from digitjax.nn import inference
from digitjax.nn.answers import is_digit_scores, probs_from_logits
from digitjax.nn.inference import apply_model, compile_apply, compute_logits
from digitjax.nn.networks import (
    BATCH_NORM_MOMENTUM,
    PIXEL_MEAN,
    PIXEL_STD,
    count_params,
    create_model,
    init_variables,
    normalize_pixels,
)
from digitjax.nn.saliency import integrated_gradients
from digitjax.runs import weights

# From the layers' arithmetic: kernel height * width * channels * features + features, and inputs * outputs + outputs.
PARAMETERS = {
    "mlp": (784 * 128 + 128) + (128 * 128 + 128) + (128 * 10 + 10),  # 118,282
    "cnn-16-8": (25 * 16 + 16) + (4 * 16 * 8 + 8) + (5 * 5 * 8 * 100 + 100) + 1010,  # 28 -> 24 -> 12 -> 11 -> 5
    "cnn-32-64-64": (9 * 32 + 32) + (9 * 32 * 64 + 64) + (9 * 64 * 64 + 64) + (9 * 64 * 64 + 64) + 650,  # ... 5 -> 3
    "cnn-dropout": (9 * 16 + 16) + (9 * 16 * 16 + 16) + (9 * 16 * 32 + 32) + (9 * 32 * 32 + 32) + (16 * 32 * 128 + 128)
    + 1290,  # 28 -> 26 -> 24 -> 12 -> 10 -> 8 -> 4
    "vgg": 25 * 32 + 9 * (32 * 32 + 32 * 64 + 64 * 64 + 64 * 144 + 2 * 144 * 144) + 2 * (2 * 32 + 2 * 64 + 3 * 144)
    + (3 * 3 * 144 * 10 + 10),  # 28 -> 24 -> 12 -> 6 -> 3; a scale and a shift for each channel of a convolution
    "default": (25 * 32 + 32) + (9 * 32 * 64 + 64) + (9 * 64 * 64 + 64) + (9 * 64 * 128 + 128) + 1290,
}  # fmt: skip
PUBLISHED = {
    "mlp": 118_282, "cnn-16-8": 22_046, "cnn-32-64-64": 93_322, "cnn-dropout": 83_322, "default": 131_402,
    "vgg": 535_722,
}  # fmt: skip

# Those that are slow to ask are another's class with other numbers.
NAMES = [
    pytest.param(name, marks=[pytest.mark.slow] if name in ("cnn-16-8", "cnn-32-64-64") else [])
    for name in get_args(ModelName)
]


def create(name):
    network = create_model(TrainConfig(model=name))
    return network, init_variables(network, jax.random.key(0))


@pytest.mark.parametrize("name", get_args(ModelName))
def test_parameter_counts(name):
    variables = jax.eval_shape(lambda: create(name)[1])
    assert count_params(variables["params"]) == PARAMETERS[name] == PUBLISHED[name]


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_the_same_for_both_kinds_of_pixels(name):
    network, variables = create(name)
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)
    from_bytes = apply_model(network, variables, images)
    from_floats = apply_model(network, variables, images.astype(np.float32))
    assert from_bytes.shape == (3, 10)
    assert from_bytes.dtype == jnp.float32
    np.testing.assert_array_equal(from_bytes, from_floats)


def test_pixels_are_normalized_as_mnist_is(mnist):
    pixels = normalize_pixels(jnp.asarray(mnist.train.images))
    assert float(pixels.mean()) == pytest.approx(0, abs=5e-3)
    assert float(pixels.std()) == pytest.approx(1, abs=5e-3)


def test_dropout_only_acts_while_training():
    network, variables = create("cnn-dropout")
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, 28, 28, 1), np.uint8))

    def train(seed):
        return network.apply(variables, images, train=True, rngs={"dropout": jax.random.key(seed)})

    assert not np.allclose(train(0), train(1))
    np.testing.assert_array_equal(train(0), train(0))
    evaluated = network.apply(variables, images, train=False)
    np.testing.assert_array_equal(evaluated, network.apply(variables, images, train=False))


@pytest.mark.parametrize("name", ["default", "cnn-16-8", pytest.param("cnn-32-64-64", marks=pytest.mark.slow)])
def test_pooling_first_changes_neither_logits_nor_gradients(name):
    """Beside the usual order, with Flax's operations: convolution and bias, ReLU, pooling of all that is whole."""
    network, variables = create(name)
    rng = np.random.default_rng(0)
    # Biases are 0 at first, and any order is right with those.
    params = jax.tree.map(lambda leaf: leaf + rng.normal(0, 0.3, leaf.shape).astype(np.float32), variables["params"])
    images = rng.integers(0, 256, (4, 28, 28, 1)).astype(np.float32)
    images = jnp.asarray(images * (images[:, ::-1] > 100))  # with blank ground, where all that is pooled is equal
    weights = rng.normal(size=(4, 10)).astype(np.float32)

    def usual(params):
        x = normalize_pixels(images)
        for i in range(len(network.features)):
            kernel = params[f"Conv_{i}"]["kernel"]
            x = lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            x = nn.relu(x + params[f"bias_{i}"])
            x = nn.max_pool(x, (2, 2), (2, 2)) if i < 2 else x
        x = x.reshape(4, -1)
        x = nn.relu(x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"])
        return x @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"]

    def ours(params):
        return network.apply({"params": params}, images, train=True)

    @partial(jax.jit, static_argnames="compute_logits")
    def run(compute_logits, params):
        logits, vjp = jax.vjp(compute_logits, params)
        return logits, vjp(weights)

    def assert_close(ours, usual):
        np.testing.assert_allclose(ours, usual, rtol=1e-4, atol=1e-5 * np.abs(usual).max())

    jax.tree.map(assert_close, run(ours, params), run(usual, params))


def test_batch_normalisation_learns_its_statistics():
    network, variables = create("vgg")
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (16, 28, 28, 1), np.uint8))
    _, updated = network.apply(
        variables, images, train=True, rngs={"dropout": jax.random.key(0)}, mutable=["batch_stats"]
    )
    # What the first of them normalises is the first convolution's output, which SciPy computes too.
    kernel = np.asarray(variables["params"]["Conv_0"]["kernel"], np.float64)[:, :, 0, 0]
    pixels = (np.asarray(images, np.float64)[..., 0] / 255 - PIXEL_MEAN) / PIXEL_STD
    outputs = [scipy.signal.correlate2d(image, kernel, mode="valid") for image in pixels]
    moved = 1 - BATCH_NORM_MOMENTUM
    stats = updated["batch_stats"]["BatchNorm_0"]
    assert float(stats["mean"][0]) == pytest.approx(moved * np.mean(outputs), abs=1e-5)
    assert float(stats["var"][0]) == pytest.approx(1 - moved + moved * np.var(outputs), rel=1e-4)


@pytest.mark.parametrize("on_cpu", [True, False])
@pytest.mark.parametrize("n", [0, 1, 2, 15, 16, 40, 125, 130])
def test_batches_lose_no_image(n, on_cpu, monkeypatch):
    monkeypatch.setattr(inference.layers, "on_cpu", lambda: on_cpu)
    network, variables = create("mlp")
    images = np.random.default_rng(n).integers(0, 256, (n, 28, 28, 1), np.uint8)
    logits = compute_logits(compile_apply(network, variables), images)
    assert logits.shape == (n, 10)
    for image, row in zip(images, logits, strict=True):
        np.testing.assert_allclose(
            row, network.apply(variables, jnp.asarray(image[None]), train=False)[0], rtol=1e-4, atol=1e-5
        )


def test_probabilities():
    logits = np.array([[0.0, np.log(3), 0.0]], np.float32)
    np.testing.assert_allclose(probs_from_logits(logits, "softmax"), [[0.2, 0.6, 0.2]], rtol=1e-6)
    np.testing.assert_allclose(probs_from_logits(logits, "sigmoid"), [[0.5, 0.75, 0.5]], rtol=1e-6)


def test_scores_say_whether_there_is_a_digit():
    logits = np.array([[0.0, np.log(3), 0.0], [-50.0, -50.0, -50.0], [90.0, 0.0, 0.0]], np.float32)
    # The eleventh logit of softmax models is 0: (1 + 3 + 1) / (1 + 3 + 1 + 1).
    np.testing.assert_allclose(is_digit_scores(logits, TrainConfig()), [5 / 6, 0, 1], atol=1e-6)
    sigmoid = TrainConfig(loss="sigmoid")
    np.testing.assert_allclose(is_digit_scores(logits, sigmoid), [0.75, 0, 1], atol=1e-6)
    np.testing.assert_array_equal(is_digit_scores(logits, TrainConfig(negative_share=0)), [1, 1, 1])


@pytest.mark.parametrize("which", ["small", pytest.param("shipped", marks=pytest.mark.slow)])
def test_saliency_adds_up_to_the_whole_difference(digits, run, recognizer, which):
    trained = weights.load_model(run) if which == "small" else recognizer.trained
    for image, label in zip(digits.test.images[:5], digits.test.labels[:5], strict=True):
        saliency = integrated_gradients(trained.network, trained.variables, image, label, num_steps=2048)
        both = compute_logits(trained.apply, np.stack([image, np.zeros_like(image)]))
        log_probs = np.log(probs_from_logits(both, "softmax"))[:, label]
        assert float(saliency.sum()) == pytest.approx(log_probs[0] - log_probs[1], rel=0.05)
        assert not np.asarray(saliency)[image == 0].any()
