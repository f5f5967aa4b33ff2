import os
import signal
import threading
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import assert_same_trees

from digitjax.config import AugmentConfig, TrainConfig
from digitjax.runs.states import RunCheckpoints
from digitjax.train import loop
from digitjax.train.loop import TrainingError
from digitjax.train.state import create_state
from digitjax.train.step import compile_step, train_step

CONFIG = TrainConfig(dataset="digits", model="mlp", epochs=3, settle_epochs=1, batch_size=64)


def fit(config, digits, out, **options):
    return loop.fit(config, digits, out, show_progress=False, **options)


@pytest.fixture(scope="module")
def uninterrupted(digits, tmp_path_factory):
    return fit(CONFIG, digits, tmp_path_factory.mktemp("uninterrupted"))


def without_times(history):
    return [{k: v for k, v in record.items() if k not in ("seconds", "images_per_second")} for record in history]


def test_the_seed_decides_every_bit(digits, tmp_path, uninterrupted):
    again = fit(CONFIG, digits, tmp_path / "again")
    assert_same_trees(again.variables, uninterrupted.variables)
    assert without_times(again.history) == without_times(uninterrupted.history)
    other = fit(replace(CONFIG, seed=1, epochs=1), digits, tmp_path / "other")
    assert not np.array_equal(
        other.variables["params"]["Dense_0"]["kernel"], uninterrupted.variables["params"]["Dense_0"]["kernel"]
    )


def test_training_learns(uninterrupted):
    accuracies = [record["validation_accuracy"] for record in uninterrupted.history]
    assert accuracies[-1] > 0.8
    assert accuracies[-1] > accuracies[0]


def stop_after(steps_before, monkeypatch, train, number=signal.SIGINT):
    """Trains until a signal comes, in the last of so many steps."""
    real_step, calls = loop.train_step, []

    def step_with_signal(*args, **options):
        calls.append(None)
        if len(calls) == steps_before:
            os.kill(os.getpid(), number)
        return real_step(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", step_with_signal)
        assert train().interrupted
    assert len(calls) == steps_before


@pytest.mark.parametrize(
    ("number", "steps_before"), [*((signal.SIGINT, steps) for steps in (1, 23, 24, 50)), (signal.SIGTERM, 24)]
)
def test_a_signal_loses_nothing(digits, tmp_path, monkeypatch, uninterrupted, number, steps_before):
    # 23 steps an epoch: the signals come in the first step, at an epoch's end, after it, and in the epoch that settles.
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    stop_after(steps_before, monkeypatch, lambda: fit(CONFIG, digits, tmp_path), number)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    resumed = fit(CONFIG, digits, tmp_path)
    assert not resumed.interrupted
    assert_same_trees(resumed.variables, uninterrupted.variables)
    assert without_times(resumed.history) == without_times(uninterrupted.history)


@pytest.mark.parametrize("steps_before", [None, 10, 23])
def test_a_signal_between_two_steps_loses_nothing(digits, tmp_path, monkeypatch, uninterrupted, steps_before):
    """While a run is restored or an epoch begins, no step is taken that would have to be saved."""
    if steps_before:
        stop_after(steps_before, monkeypatch, lambda: fit(CONFIG, digits, tmp_path))

    real_order = loop.order_epoch

    def signalled_order(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        return real_order(*args)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "order_epoch", signalled_order)
        assert fit(CONFIG, digits, tmp_path).interrupted
    assert_same_trees(fit(CONFIG, digits, tmp_path).variables, uninterrupted.variables)


def test_times_are_of_the_steps_alone_and_of_all_of_them(digits, tmp_path, monkeypatch):
    """A clock that steps and compiling move on: 1 s and 1,000 s."""
    now, real_step, real_compile = [0.0], train_step, compile_step
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])

    def timed_step(*args, **options):
        now[0] += 1
        return real_step(*args, **options)

    def timed_compile(*args, **options):
        now[0] += 1000
        return real_compile(*args, **options)

    monkeypatch.setattr(loop, "train_step", timed_step)
    monkeypatch.setattr(loop, "compile_step", timed_compile)
    stop_after(30, monkeypatch, lambda: fit(CONFIG, digits, tmp_path))
    history = fit(CONFIG, digits, tmp_path).history
    assert [record["seconds"] for record in history] == [23, 23, 23]
    assert [record["images_per_second"] for record in history] == [64, 64, 64]
    assert now[0] == 69 + 3 * 1000  # two processes, and the epoch that settles varies images otherwise


def test_fit_works_in_a_thread(digits, tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(fit(CONFIG, digits, tmp_path)))
    thread.start()
    thread.join()
    assert not results[0].interrupted


def test_epochs_that_settle_vary_images_less(digits, tmp_path, monkeypatch):
    limits = []

    def watched_step(state, batches, rate_scale, *, config, num_steps):
        limits.append(config.augment)
        assert batches.order.shape == (num_steps // 3, config.batch_size)
        return state._replace(step=state.step + 1, metrics=state.metrics._replace(num_examples=jnp.int32(1)))

    monkeypatch.setattr(loop, "train_step", watched_step)
    monkeypatch.setattr(loop, "compile_step", lambda *_, **__: None)
    usual = AugmentConfig(scale=0.1, elastic_pixels=0.8, spoiled_share=0.2)
    fit(replace(CONFIG, augment=usual), digits, tmp_path)
    first, last = limits[: len(limits) // 3 * 2], limits[len(limits) // 3 * 2 :]
    assert set(first) == {usual}
    assert {(each.scale, each.elastic_pixels, each.spoiled_share) for each in last} == {(0.025, 0.2, 0.05)}


def scripted_validation(monkeypatch, losses):
    """Makes validation report these losses, epoch by epoch."""
    script = iter(losses)
    monkeypatch.setattr(loop, "_validate", lambda *_: (next(script), 0.5))


def test_early_stopping_keeps_the_best_epoch(digits, tmp_path, monkeypatch):
    config = replace(CONFIG, epochs=9, settle_epochs=0, early_stopping_epochs=2, schedule="constant")
    scripted_validation(monkeypatch, [0.9, 0.5, 0.6, 0.7, 0.1])
    stopped = fit(config, digits, tmp_path / "stopped")
    assert [record["epoch"] for record in stopped.history] == [1, 2, 3, 4]
    scripted_validation(monkeypatch, [0.9, 0.5])
    two_epochs = fit(replace(config, epochs=2, early_stopping_epochs=0), digits, tmp_path / "two")
    assert_same_trees(stopped.variables, two_epochs.variables)


def test_the_learning_rate_halves_on_a_plateau(digits, tmp_path, monkeypatch):
    config = replace(CONFIG, epochs=6, settle_epochs=0, plateau_epochs=2, schedule="constant", learning_rate=1e-3)
    scripted_validation(monkeypatch, [0.9, 0.5, 0.6, 0.6, 0.6, 0.6])
    history = fit(config, digits, tmp_path).history
    assert [record["learning_rate"] for record in history] == pytest.approx([1e-3] * 4 + [5e-4] * 2)


def test_without_averaging_the_last_weights_are_kept(digits, tmp_path):
    config = replace(CONFIG, epochs=1, average_decay=0.0)
    result = fit(config, digits, tmp_path)
    with RunCheckpoints(tmp_path) as checkpoints:
        state = checkpoints.restore(create_state(config, 19)).state
    assert_same_trees(result.variables["params"], state.params)


# Two are the default network with other numbers; of the third, dropout is in the steps that `test_step.py` takes, too.
OTHER_CNNS = [pytest.param(name, marks=pytest.mark.slow) for name in ("cnn-16-8", "cnn-32-64-64", "cnn-dropout")]


@pytest.mark.parametrize("model", ["default", *OTHER_CNNS])
def test_every_network_trains(digits, tmp_path, model):
    splits = digits._replace(train=digits.train.take(np.arange(256)))
    result = fit(
        replace(CONFIG, model=model, epochs=8, settle_epochs=0, batch_size=32, average_decay=0.9), splits, tmp_path
    )
    assert result.history[-1]["validation_accuracy"] > 0.5  # chance is 0.1


def test_a_run_whose_loss_is_lost_stops_and_keeps_the_last_good_state(digits, tmp_path, monkeypatch):
    real_step = train_step

    def poison(state, *args, **options):
        step = int(state.step)
        state = real_step(state, *args, **options)
        return state._replace(params=jax.tree.map(lambda leaf: leaf * np.nan, state.params)) if step == 30 else state

    monkeypatch.setattr(loop, "train_step", poison)
    with pytest.raises(TrainingError, match=r"at step 32; the state of step 23 is kept.*--learning-rate"):
        fit(CONFIG, digits, tmp_path)
    with RunCheckpoints(tmp_path) as checkpoints:
        state, history, _ = checkpoints.restore(create_state(CONFIG, 100))
    assert int(state.step) == 23
    assert len(history) == 1
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))


@pytest.mark.slow
def test_mnist_is_learned(mnist, tmp_path):
    """A guard against slow rot: a fifth of MNIST, three epochs of the default network."""
    part = mnist._replace(train=mnist.train.take(np.arange(10_000)))
    result = fit(TrainConfig(dataset="mnist", epochs=3), part, tmp_path)
    assert result.history[-1]["validation_accuracy"] > 0.97
