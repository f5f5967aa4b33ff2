import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from digitjax.config import PRESETS, AugmentConfig, TrainConfig
from digitjax.data.arrays import Dataset
from digitjax.nn import layers
from digitjax.nn.networks import VGG, create_model
from digitjax.train import batches as batching
from digitjax.train import state as state_module
from digitjax.train import step as step_module
from digitjax.train.batches import DeviceData, draw_order, num_micro_batches, plan_epoch
from digitjax.train.loss import compute_loss
from digitjax.train.schedule import create_schedule
from digitjax.train.state import create_optimizer, create_state, zero_metrics
from digitjax.train.step import train_step

STILL = AugmentConfig(rotation_degrees=0, scale=0, shear=0, shift_pixels=0)
CONFIG = TrainConfig(dataset="digits", model="mlp", epochs=3, settle_epochs=1, batch_size=64)
DIGITS_ALONE = replace(CONFIG, negative_share=0.0, style_share=0.0, redrawn_share=0.0)


def on_device(dataset, order):
    return DeviceData(jnp.asarray(dataset.images), jnp.asarray(dataset.labels), order)


# ---------------------------------------------------------------- loss

LOGITS = np.array([[2.0, -1.0, 0.5], [0.1, 0.2, -3.0]], np.float32)
LABELS = np.array([0, 2], np.int32)


def test_softmax_loss_is_the_formula():
    for smoothing in (0.0, 0.3):
        losses = compute_loss(LOGITS, LABELS, replace(DIGITS_ALONE, label_smoothing=smoothing))
        for logits, label, loss in zip(LOGITS, LABELS, losses, strict=True):
            log_probs = [math.log(math.exp(z) / sum(map(math.exp, logits))) for z in logits]
            targets = [(1 - smoothing) * (k == label) + smoothing / 3 for k in range(3)]
            assert loss == pytest.approx(-sum(t * p for t, p in zip(targets, log_probs, strict=True)), rel=1e-5)


def test_with_negatives_there_is_one_more_class_of_logit_0():
    labels = np.array([0, 3], np.int32)  # the second image holds none of the three
    with_negatives = compute_loss(LOGITS, labels, replace(CONFIG, label_smoothing=0.1))
    four = np.concatenate([LOGITS, np.zeros((2, 1), np.float32)], axis=1)
    np.testing.assert_allclose(
        with_negatives, compute_loss(four, labels, replace(DIGITS_ALONE, label_smoothing=0.1)), rtol=1e-6
    )
    # To ten independent questions it is ten times "no".
    sigmoid = compute_loss(LOGITS, labels, replace(CONFIG, loss="sigmoid", label_smoothing=0.0))
    assert float(sigmoid[1]) == pytest.approx(sum(math.log(1 + math.exp(z)) for z in LOGITS[1]), rel=1e-5)


def test_sigmoid_loss_is_the_formula():
    for smoothing in (0.0, 0.3):
        losses = compute_loss(LOGITS, LABELS, replace(CONFIG, loss="sigmoid", label_smoothing=smoothing))
        for logits, label, loss in zip(LOGITS, LABELS, losses, strict=True):
            probs = [1 / (1 + math.exp(-z)) for z in logits]
            targets = [(1 - smoothing) * (k == label) + smoothing / 3 for k in range(3)]
            expected = -sum(t * math.log(p) + (1 - t) * math.log(1 - p) for t, p in zip(targets, probs, strict=True))
            assert loss == pytest.approx(expected, rel=1e-5)


# ---------------------------------------------------------------- step


def test_every_image_is_in_every_epoch():
    for epoch in range(3):
        order = np.array(draw_order(0, epoch, n=50, steps=4, batch_size=16))
        assert order.shape == (4, 16)
        assert set(order.ravel().tolist()) == set(range(50))
    first, second = (np.array(draw_order(0, epoch, n=50, steps=4, batch_size=16)) for epoch in (0, 1))
    assert not np.array_equal(first, second)


def test_epochs_that_settle_show_all_own_images_and_few_drawn_ones():
    is_drawn = np.arange(9_000) % 3 == 0
    config = replace(CONFIG, epochs=4, settle_epochs=2)
    assert plan_epoch(is_drawn, config, 1)[0].tolist() == list(range(9_000))
    shown = [set(plan_epoch(is_drawn, config, epoch)[0].tolist()) for epoch in (2, 3)]
    for rows in shown:
        assert rows >= set(np.flatnonzero(~is_drawn).tolist())
        assert len(rows) == 6_000 + 750
    assert shown[0] != shown[1]


def test_a_run_shorter_than_its_settling_settles_all_along():
    config = replace(CONFIG, epochs=1, settle_epochs=2)
    rows, limits = plan_epoch(np.arange(90) % 3 == 0, config, 0)
    assert len(rows) == 60 + round(0.25 * 30)
    assert limits == config.augment.scaled(0.25)


def test_an_epoch_that_settles_has_as_many_steps_and_shows_images_again():
    """Half as often again where 44 % are drawn, as the preset `best` has it."""
    config = replace(PRESETS["best"], epochs=2, settle_epochs=1)
    is_drawn = np.arange(10_000) < 4_400
    steps = -(-10_000 // config.batch_size)
    for epoch, times in ((0, 1), (1, 10_000 / (5_600 + 1_100))):
        rows, _ = plan_epoch(is_drawn, config, epoch)
        order = np.asarray(draw_order(0, epoch, n=len(rows), steps=steps, batch_size=config.batch_size))
        assert order.size >= 10_000
        shown = np.bincount(order.ravel(), minlength=len(rows))
        assert shown.min() >= 1  # none is left out
        assert shown.mean() == pytest.approx(times, rel=0.02)


@pytest.mark.parametrize(("batch_size", "micro_batches"), [(128, 4), (64, 2), (100, 4), (32, 1), (7, 1), (127, 1)])
def test_micro_batches_divide_the_batch(batch_size, micro_batches):
    assert num_micro_batches(batch_size) == micro_batches


# Compiled in seconds, and with all that `vgg` has: batch normalisation, dropout, convolutions that Winograd's method
# takes and some that it leaves.
SMALL_VGG = VGG(block_features=(8, 16, 16), block_depths=(1, 2, 1))


@pytest.mark.parametrize(
    ("model", "change", "network"),
    [
        ("cnn-16-8", "larger micro-batches", None),
        ("vgg", "no CPU", SMALL_VGG),
        pytest.param("cnn-16-8", "no CPU", None, marks=pytest.mark.slow),
        pytest.param("vgg", "no CPU", None, marks=pytest.mark.slow),
    ],
)
def test_however_computed_a_step_is_the_same(digits, monkeypatch, model, change, network):
    order = draw_order(0, 0, n=320, steps=5, batch_size=64)
    config = replace(CONFIG, model=model, learning_rate=1e-3, schedule="constant")
    if network:
        config = replace(config, seed=7)  # no other test's: JAX keeps the programs of this network

        for module in (state_module, step_module):
            monkeypatch.setattr(module, "create_model", lambda _: network)
    batches = on_device(digits.train.take(np.arange(320)), order)
    states, first_states, programs = [], [], set()
    for changed in (False, True):
        if changed and change == "no CPU":
            monkeypatch.setattr(layers, "on_cpu", lambda: False)
        elif changed:
            monkeypatch.setattr(batching, "MICRO_BATCH", 64)

        @jax.jit  # of a new function, or JAX would take the program that it traced before
        def step(state):
            return train_step.__wrapped__(state, batches, config=config, num_steps=5)

        state = create_state(config, 5)
        programs.add(str(jax.make_jaxpr(step)(state)))
        first_states.append(state := step(state))
        for _ in range(2):
            state = step(state)
        states.append(state)
    assert len(programs) == 2
    assert states[0].metrics.num_correct == states[1].metrics.num_correct
    for a, b in zip(*(jax.tree.leaves((state.params, state.stats)) for state in states), strict=True):
        # Where a gradient is nearly 0, Adam makes a whole step of its rounding error.
        assert np.mean(abs(a - b) <= 5e-4) > 0.999
    # Its first steps show the signs of gradients alone; the gradients themselves are what it keeps.
    first_grads = (optax.tree_utils.tree_get(state.opt_state, "mu") for state in first_states)
    for a, b in zip(*map(jax.tree.leaves, first_grads), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-3 * float(abs(b).max()))


def test_a_step_is_optax_on_the_mean_gradient(digits):
    config = replace(DIGITS_ALONE, augment=STILL, average_decay=0.5, label_smoothing=0.0, batch_size=8)
    order = jnp.arange(8, dtype=jnp.int32)[None]
    before = jax.device_get(create_state(config, 10))
    after = train_step(create_state(config, 10), on_device(digits.train, order), config=config, num_steps=10)
    network = create_model(config)

    def mean_loss(params):
        logits = network.apply({"params": params}, jnp.asarray(digits.train.images[:8]), train=False)
        return -jax.nn.log_softmax(logits)[jnp.arange(8), digits.train.labels[:8]].mean()

    loss, grads = jax.jit(jax.value_and_grad(mean_loss))(before.params)
    tx = create_optimizer(config, 10)
    updates, _ = tx.update(grads, before.opt_state, before.params)
    expected = optax.apply_updates(before.params, updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), after.params, expected)
    assert float(after.metrics.loss) == pytest.approx(float(loss), rel=1e-5)
    assert int(after.metrics.num_examples) == 8
    assert int(after.step) == 1
    # The first average is a tenth old: min(0.5, (1 + 0) / (10 + 0)).
    average = jax.tree.map(lambda old, new: 0.1 * old + 0.9 * new, before.params, expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), after.average["params"], average)


def test_muons_steps_are_orthogonal():
    config = replace(CONFIG, model="cnn-16-8", optimizer="muon", schedule="constant", learning_rate=0.1, weight_decay=0)
    params = create_state(config, 10).params
    tx = create_optimizer(config, 10)
    rng = np.random.default_rng(0)
    grads = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * np.arange(1, leaf.shape[-1] + 1), jnp.float32), params
    )
    updates, _ = jax.jit(tx.update)(grads, tx.init(params), params)
    for name, fan_in, features in (("Conv_0", 25, 16), ("Conv_1", 64, 8)):
        matrix = np.asarray(updates[name]["kernel"]).reshape(fan_in, features)
        singular_values = np.linalg.svd(matrix, compute_uv=False)
        # All of a size, though those of the gradients aren't; and a number changes by half the learning rate.
        assert singular_values.max() / singular_values.min() < 2
        assert np.sqrt(np.mean(matrix**2)) == pytest.approx(0.05, rel=0.3)
    # The rest is Adam's, whose first step is one size for all.
    sizes = np.abs(updates["Dense_0"]["kernel"])
    np.testing.assert_allclose(sizes, sizes[0, 0], rtol=0.01)


def test_one_batch_overfits(digits):
    config = replace(
        DIGITS_ALONE, model="cnn-16-8", augment=STILL, label_smoothing=0.0, schedule="constant", weight_decay=0.0
    )
    batch = Dataset(digits.train.images[:32], digits.train.labels[:32])
    order = jnp.arange(32, dtype=jnp.int32)[None]
    state = create_state(config, 100)
    for _ in range(100):
        state = state._replace(metrics=zero_metrics())
        state = train_step(state, on_device(batch, order), config=config, num_steps=100)
    assert int(state.metrics.num_correct) == 32
    assert float(state.metrics.loss) < 0.02


def test_schedules():
    constant = create_schedule(replace(CONFIG, schedule="constant"), 100)
    cosine = create_schedule(replace(CONFIG, schedule="cosine"), 100)
    onecycle = create_schedule(replace(CONFIG, schedule="onecycle"), 100)
    peak = CONFIG.learning_rate
    assert float(constant(99)) == pytest.approx(peak)
    assert [float(cosine(step)) for step in (0, 50, 100)] == pytest.approx([peak, peak / 2, 0], abs=1e-9)
    rates = [float(onecycle(step)) for step in range(101)]
    assert np.argmax(rates) == 25
    assert max(rates) == pytest.approx(peak)
    assert rates[0] < peak / 10
    assert rates[100] < peak / 1000
