import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import TINY_RUN

from digitjax import checkpoint, layers, model, runs, train
from digitjax.config import PRESETS, AugmentConfig, TrainConfig
from digitjax.idx import Dataset

STILL = AugmentConfig(rotation_degrees=0, scale=0, shear=0, shift_pixels=0)
CONFIG = TrainConfig(dataset="digits", model="mlp", epochs=3, settle_epochs=1, batch_size=64)
DIGITS_ALONE = replace(CONFIG, negative_share=0.0, one_seven_share=0.0, redrawn_share=0.0)


def assert_same_trees(a, b):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))


def on_device(dataset, order):
    return train.DeviceData(jnp.asarray(dataset.images), jnp.asarray(dataset.labels), order)


# ---------------------------------------------------------------- loss

LOGITS = np.array([[2.0, -1.0, 0.5], [0.1, 0.2, -3.0]], np.float32)
LABELS = np.array([0, 2], np.int32)


def test_softmax_loss_is_the_formula():
    for smoothing in (0.0, 0.3):
        losses = train.compute_loss(LOGITS, LABELS, replace(DIGITS_ALONE, label_smoothing=smoothing))
        for logits, label, loss in zip(LOGITS, LABELS, losses, strict=True):
            log_probs = [math.log(math.exp(z) / sum(map(math.exp, logits))) for z in logits]
            targets = [(1 - smoothing) * (k == label) + smoothing / 3 for k in range(3)]
            assert loss == pytest.approx(-sum(t * p for t, p in zip(targets, log_probs, strict=True)), rel=1e-5)


def test_with_negatives_there_is_one_more_class_of_logit_0():
    labels = np.array([0, 3], np.int32)  # the second image holds none of the three
    with_negatives = train.compute_loss(LOGITS, labels, replace(CONFIG, label_smoothing=0.1))
    four = np.concatenate([LOGITS, np.zeros((2, 1), np.float32)], axis=1)
    np.testing.assert_allclose(
        with_negatives, train.compute_loss(four, labels, replace(DIGITS_ALONE, label_smoothing=0.1)), rtol=1e-6
    )
    # To ten independent questions it is ten times "no".
    sigmoid = train.compute_loss(LOGITS, labels, replace(CONFIG, loss="sigmoid", label_smoothing=0.0))
    assert float(sigmoid[1]) == pytest.approx(sum(math.log(1 + math.exp(z)) for z in LOGITS[1]), rel=1e-5)


def test_sigmoid_loss_is_the_formula():
    for smoothing in (0.0, 0.3):
        losses = train.compute_loss(LOGITS, LABELS, replace(CONFIG, loss="sigmoid", label_smoothing=smoothing))
        for logits, label, loss in zip(LOGITS, LABELS, losses, strict=True):
            probs = [1 / (1 + math.exp(-z)) for z in logits]
            targets = [(1 - smoothing) * (k == label) + smoothing / 3 for k in range(3)]
            expected = -sum(t * math.log(p) + (1 - t) * math.log(1 - p) for t, p in zip(targets, probs, strict=True))
            assert loss == pytest.approx(expected, rel=1e-5)


# ---------------------------------------------------------------- step


def test_every_image_is_in_every_epoch():
    for epoch in range(3):
        order = np.array(train.draw_order(0, epoch, n=50, steps=4, batch_size=16))
        assert order.shape == (4, 16)
        assert set(order.ravel().tolist()) == set(range(50))
    first, second = (np.array(train.draw_order(0, epoch, n=50, steps=4, batch_size=16)) for epoch in (0, 1))
    assert not np.array_equal(first, second)


def test_epochs_that_settle_show_all_own_images_and_few_drawn_ones():
    is_drawn = np.arange(9_000) % 3 == 0
    config = replace(CONFIG, epochs=4, settle_epochs=2)
    assert train.plan_epoch(is_drawn, config, 1)[0].tolist() == list(range(9_000))
    shown = [set(train.plan_epoch(is_drawn, config, epoch)[0].tolist()) for epoch in (2, 3)]
    for rows in shown:
        assert rows >= set(np.flatnonzero(~is_drawn).tolist())
        assert len(rows) == 6_000 + 750
    assert shown[0] != shown[1]


def test_a_run_shorter_than_its_settling_settles_all_along():
    config = replace(CONFIG, epochs=1, settle_epochs=2)
    rows, limits = train.plan_epoch(np.arange(90) % 3 == 0, config, 0)
    assert len(rows) == 60 + round(0.25 * 30)
    assert limits == config.augment.scaled(0.25)


@pytest.mark.parametrize(("batch_size", "micro_batches"), [(128, 4), (64, 2), (100, 4), (32, 1), (7, 1), (127, 1)])
def test_micro_batches_divide_the_batch(batch_size, micro_batches):
    assert train._num_micro_batches(batch_size) == micro_batches


@pytest.mark.parametrize(
    ("model", "change"), [("cnn-16-8", "larger micro-batches"), ("cnn-16-8", "no CPU"), ("vgg", "no CPU")]
)
def test_however_computed_a_step_is_the_same(digits, monkeypatch, model, change):
    order = train.draw_order(0, 0, n=len(digits.train.labels), steps=5, batch_size=64)
    config = replace(CONFIG, model=model, learning_rate=1e-3, schedule="constant")
    batches = on_device(digits.train, order)
    states, first_states, programs = [], [], set()
    for changed in (False, True):
        if changed and change == "no CPU":
            monkeypatch.setattr(layers, "on_cpu", lambda: False)
        elif changed:
            monkeypatch.setattr(train, "MICRO_BATCH", 64)

        @jax.jit  # of a new function, or JAX would take the program that it traced before
        def step(state):
            return train.train_step.__wrapped__(state, batches, config=config, num_steps=5)

        state = train.create_state(config, 5)
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
    before = jax.device_get(train.create_state(config, 10))
    after = train.train_step(
        train.create_state(config, 10), on_device(digits.train, order), config=config, num_steps=10
    )
    network = model.create_model(config)

    def mean_loss(params):
        logits = network.apply({"params": params}, jnp.asarray(digits.train.images[:8]), train=False)
        return -jax.nn.log_softmax(logits)[jnp.arange(8), digits.train.labels[:8]].mean()

    loss, grads = jax.value_and_grad(mean_loss)(before.params)
    tx = train.create_optimizer(config, 10)
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
    params = train.create_state(config, 10).params
    tx = train.create_optimizer(config, 10)
    grads = jax.tree.map(
        lambda leaf: jax.random.normal(jax.random.key(leaf.size), leaf.shape) * jnp.arange(1, leaf.shape[-1] + 1),
        params,
    )
    updates, _ = tx.update(grads, tx.init(params), params)
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
    state = train.create_state(config, 100)
    for _ in range(100):
        state = state._replace(metrics=train._zero_metrics())
        state = train.train_step(state, on_device(batch, order), config=config, num_steps=100)
    assert int(state.metrics.num_correct) == 32
    assert float(state.metrics.loss) < 0.02


def test_schedules():
    constant = train.create_schedule(replace(CONFIG, schedule="constant"), 100)
    cosine = train.create_schedule(replace(CONFIG, schedule="cosine"), 100)
    onecycle = train.create_schedule(replace(CONFIG, schedule="onecycle"), 100)
    peak = CONFIG.learning_rate
    assert float(constant(99)) == pytest.approx(peak)
    assert [float(cosine(step)) for step in (0, 50, 100)] == pytest.approx([peak, peak / 2, 0], abs=1e-9)
    rates = [float(onecycle(step)) for step in range(101)]
    assert np.argmax(rates) == 25
    assert max(rates) == pytest.approx(peak)
    assert rates[0] < peak / 10
    assert rates[100] < peak / 1000


# ---------------------------------------------------------------- fit


def fit(config, digits, out, **options):
    return train.fit(config, digits, out, show_progress=False, **options)


@pytest.fixture(scope="module")
def uninterrupted(digits, tmp_path_factory):
    return fit(CONFIG, digits, tmp_path_factory.mktemp("uninterrupted"))


def without_times(history):
    return [{k: v for k, v in record.items() if k not in ("seconds", "images_per_second")} for record in history]


def test_the_seed_decides_every_bit(digits, tmp_path, uninterrupted):
    again = fit(CONFIG, digits, tmp_path / "again")
    assert_same_trees(again.variables, uninterrupted.variables)
    assert without_times(again.history) == without_times(uninterrupted.history)
    other = fit(replace(CONFIG, seed=1), digits, tmp_path / "other")
    assert not np.array_equal(
        other.variables["params"]["Dense_0"]["kernel"], uninterrupted.variables["params"]["Dense_0"]["kernel"]
    )


def test_training_learns(uninterrupted):
    accuracies = [record["validation_accuracy"] for record in uninterrupted.history]
    assert accuracies[-1] > 0.8
    assert accuracies[-1] > accuracies[0]


@pytest.mark.parametrize("steps_before", [1, 23, 24, 50])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_loses_nothing(digits, tmp_path, monkeypatch, uninterrupted, steps_before, number):
    # 23 steps an epoch: the signals come in the first step, at an epoch's end, after it, and in the epoch that settles.
    real_step, calls = train.train_step, []

    def step_with_signal(*args, **options):
        calls.append(None)
        if len(calls) == steps_before:
            os.kill(os.getpid(), number)
        return real_step(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(train, "train_step", step_with_signal)
        handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        stopped = fit(CONFIG, digits, tmp_path)
    assert stopped.interrupted
    assert len(calls) == steps_before
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    resumed = fit(CONFIG, digits, tmp_path)
    assert not resumed.interrupted
    assert_same_trees(resumed.variables, uninterrupted.variables)
    assert without_times(resumed.history) == without_times(uninterrupted.history)


def test_fit_works_in_a_thread(digits, tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(fit(replace(CONFIG, epochs=1), digits, tmp_path)))
    thread.start()
    thread.join()
    assert not results[0].interrupted


def test_epochs_that_settle_vary_images_less(digits, tmp_path, monkeypatch):
    limits = []

    def watched_step(state, batches, *, config, num_steps):
        limits.append(config.augment)
        assert batches.order.shape == (num_steps // 3, config.batch_size)
        return state._replace(step=state.step + 1, metrics=state.metrics._replace(num_examples=jnp.int32(1)))

    monkeypatch.setattr(train, "train_step", watched_step)
    usual = AugmentConfig(scale=0.1, elastic_pixels=0.8, spoiled_share=0.2)
    fit(replace(CONFIG, augment=usual), digits, tmp_path)
    first, last = limits[: len(limits) // 3 * 2], limits[len(limits) // 3 * 2 :]
    assert set(first) == {usual}
    assert {(each.scale, each.elastic_pixels, each.spoiled_share) for each in last} == {(0.025, 0.2, 0.05)}


def scripted_validation(monkeypatch, losses):
    """Makes validation report these losses, epoch by epoch."""
    script = iter(losses)
    monkeypatch.setattr(train, "_validate", lambda *_: (next(script), 0.5))


def test_early_stopping_keeps_the_best_epoch(digits, tmp_path, monkeypatch):
    config = replace(CONFIG, epochs=9, settle_epochs=0, early_stopping_epochs=2, schedule="constant")
    scripted_validation(monkeypatch, [0.9, 0.5, 0.6, 0.7, 0.1])
    stopped = fit(config, digits, tmp_path / "stopped")
    assert [record["epoch"] for record in stopped.history] == [1, 2, 3, 4]
    scripted_validation(monkeypatch, [0.9, 0.5])
    two_epochs = fit(replace(config, epochs=2, early_stopping_epochs=0), digits, tmp_path / "two")
    assert_same_trees(stopped.variables, two_epochs.variables)


def test_the_learning_rate_halves_on_a_plateau(digits, tmp_path, monkeypatch):
    config = replace(CONFIG, epochs=6, plateau_epochs=2, schedule="constant", learning_rate=1e-3)
    scripted_validation(monkeypatch, [0.9, 0.5, 0.6, 0.6, 0.6, 0.6])
    history = fit(config, digits, tmp_path).history
    assert [record["learning_rate"] for record in history] == pytest.approx([1e-3] * 4 + [5e-4] * 2)


def test_without_averaging_the_last_weights_are_kept(digits, tmp_path):
    config = replace(CONFIG, epochs=1, average_decay=0.0)
    result = fit(config, digits, tmp_path)
    with runs.RunCheckpoints(tmp_path) as checkpoints:
        state, _ = checkpoints.restore(train.create_state(config, 19))
    assert_same_trees(result.variables["params"], state.params)


@pytest.mark.parametrize("model", ["default", "cnn-16-8", "cnn-32-64-64", "cnn-dropout"])
def test_every_network_trains(digits, tmp_path, model):
    splits = digits._replace(train=Dataset(digits.train.images[:256], digits.train.labels[:256]))
    result = fit(replace(CONFIG, model=model, epochs=8, batch_size=32, average_decay=0.9), splits, tmp_path)
    assert result.history[-1]["validation_accuracy"] > 0.5  # chance is 0.1


# ---------------------------------------------------------------- command


def test_a_run_leaves_its_folder(run):
    names = {path.name for path in run.iterdir()}
    assert names == {
        "config.json", "calibration.json", "metrics.jsonl",
        "report.json", "report.html", "history.png", "confusion_matrix.png", "mistakes.png",
        "state", "weights.npz", "SHA256SUMS", ".lock",
    }  # fmt: skip
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2, 3, 4, 5, 6]
    report = json.loads((run / "report.json").read_text())
    assert report["dataset"] == "digits"
    assert report["num_examples"] == 400
    assert report["accuracy"] > 0.8


def test_a_run_is_never_overwritten_unasked(run, capsys):
    before = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    assert train.main([*TINY_RUN, "--out", str(run)]) == 2
    error = capsys.readouterr().err
    assert "--resume" in error
    assert "--overwrite" in error
    assert {path: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_overwriting_leaves_other_files(tmp_path):
    arguments = [*TINY_RUN, "--out", str(tmp_path), "--epochs", "1"]
    (tmp_path / "notes.txt").write_text("mine")
    assert train.main(arguments) == 0
    assert train.main([*arguments, "--overwrite"]) == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1


def test_an_output_that_is_no_folder_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert train.main([*TINY_RUN, "--out", str(tmp_path / "file" / "run")]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / "file") in error
    assert "Traceback" not in error


def test_resuming_a_finished_run_changes_nothing(run, capsys):
    weights = checkpoint.load_model(run).variables
    assert train.main(["--resume", "--out", str(run)]) == 0
    assert "is complete" in capsys.readouterr().out
    assert_same_trees(checkpoint.load_model(run).variables, weights)


@pytest.mark.parametrize(
    ("option", "value", "started"),
    [("--epochs", "30", "epochs=6"), ("--dataset", "mnist", "dataset='digits'"), ("--model", "vgg", "model='mlp'")],
)
def test_resuming_with_other_options_is_refused(run, option, value, started, capsys):
    assert train.main(["--resume", "--out", str(run), option, value]) == 2
    assert f"started with {started}" in capsys.readouterr().err


def test_resuming_nothing_is_refused(tmp_path, capsys):
    assert train.main(["--resume", "--out", str(tmp_path / "none")]) == 2
    assert "config.json" in capsys.readouterr().err


def test_a_killed_run_goes_on_bit_for_bit(tmp_path, run):
    command = [sys.executable, "-m", "digitjax.train", *TINY_RUN, "--out", str(tmp_path / "killed")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        for line in process.stderr:  # reading waits for the second epoch
            if "epoch   2/6" in line:
                process.kill()
                break
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "report.json").exists()
    assert train.main(["--resume", "--out", str(tmp_path / "killed")]) == 0
    assert_same_trees(checkpoint.load_model(tmp_path / "killed").variables, checkpoint.load_model(run).variables)


def kill_at_random(rng, out, num_kills, num_epochs):
    """Trains in processes that are killed in or after one of their first epochs, and then to the end."""
    command = [sys.executable, "-m", "digitjax.train", *TINY_RUN, "--epochs", str(num_epochs), "--out", str(out)]
    for _ in range(num_kills):
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
            epochs_left = rng.integers(1, 3)
            for line in process.stderr:
                epochs_left -= line.startswith("epoch")
                if not epochs_left:
                    break
            # An epoch takes about as long as writing its state does, so half of the kills strike there.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0, 0.5))
            process.kill()
            process.stderr.read()
        assert process.returncode == -signal.SIGKILL
        if "--resume" not in command:
            command.append("--resume")
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("num_kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_kills_at_random_moments_change_no_bit(tmp_path, num_kills):
    num_epochs = 5 * num_kills
    kill_at_random(np.random.default_rng(num_kills), tmp_path / "killed", num_kills, num_epochs)
    assert train.main([*TINY_RUN, "--epochs", str(num_epochs), "--out", str(tmp_path / "whole")]) == 0
    assert_same_trees(
        checkpoint.load_model(tmp_path / "killed").variables, checkpoint.load_model(tmp_path / "whole").variables
    )


def test_a_run_whose_loss_is_lost_stops_and_keeps_the_last_good_state(digits, tmp_path, monkeypatch):
    real_step = train.train_step

    def poison(state, *args, **options):
        step = int(state.step)
        state = real_step(state, *args, **options)
        return state._replace(params=jax.tree.map(lambda leaf: leaf * np.nan, state.params)) if step == 30 else state

    monkeypatch.setattr(train, "train_step", poison)
    with pytest.raises(train.TrainingError, match=r"since step 32; the state of step 23 is kept.*--learning-rate"):
        fit(CONFIG, digits, tmp_path)
    with runs.RunCheckpoints(tmp_path) as checkpoints:
        state, history = checkpoints.restore(train.create_state(CONFIG, 100))
    assert int(state.step) == 23
    assert len(history) == 1
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))


def test_a_learning_rate_that_explodes_is_one_clear_error(tmp_path, capsys):
    assert train.main([*TINY_RUN, "--learning-rate", "1e30", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "no finite number any more, since step" in error
    assert "no state was saved before it" in error


def test_a_full_disk_is_one_clear_error(tmp_path, python):
    code = (
        "import resource, sys; from digitjax import train\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))\n"
        "sys.exit(train.main(sys.argv[1:]))"
    )
    result = python("-c", code, *TINY_RUN, "--out", str(tmp_path))
    assert result.returncode == 2
    error = result.stderr.decode().splitlines()
    assert "can't be written" in error[-1]
    assert not any("Traceback" in line for line in error)


def test_two_runs_into_one_folder_are_refused(tmp_path, capsys):
    with runs.lock_run(tmp_path):
        assert train.main([*TINY_RUN, "--overwrite", "--out", str(tmp_path)]) == 2
    assert "another process is training into it" in capsys.readouterr().err
    assert not (tmp_path / "config.json").exists()


def test_a_damaged_state_is_told_and_the_run_ends_in_the_same_weights(tmp_path, run, caplog):
    shutil.copytree(run, tmp_path / "copy")
    (tmp_path / "copy" / "report.json").unlink()
    newest = max((tmp_path / "copy" / "state").iterdir(), key=lambda path: int(path.name))
    path = next(path for path in (newest / "state" / "d").rglob("*") if path.is_file())
    path.write_bytes(path.read_bytes()[:-1])
    assert train.main(["--resume", "--out", str(tmp_path / "copy")]) == 0
    assert f"{path}: is damaged" in caplog.text
    assert_same_trees(checkpoint.load_model(tmp_path / "copy").variables, checkpoint.load_model(run).variables)


def test_ctrl_c_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    real_step = train.train_step

    def interrupted_step(*args, **options):
        os.kill(os.getpid(), signal.SIGINT)
        return real_step(*args, **options)

    monkeypatch.setattr(train, "train_step", interrupted_step)
    assert train.main([*TINY_RUN, "--out", str(tmp_path)]) == 130
    assert f"python -m digitjax.train --resume --out {tmp_path}" in capsys.readouterr().err
    assert checkpoint.load_model(tmp_path).config.model == "mlp"


def test_presets_are_whole_recipes_that_options_change(tmp_path, monkeypatch):
    configs = []
    monkeypatch.setattr(train, "train", lambda args: configs.append(args.config) or 0)
    assert train.main(["--preset", "best"]) == train.main(["--preset=best", "--epochs", "3"]) == train.main([]) == 0
    assert train.main(["--preset", "quick"]) == 0
    assert configs == [PRESETS["best"], replace(PRESETS["best"], epochs=3), PRESETS["default"], PRESETS["quick"]]
    with pytest.raises(SystemExit, match="2"):
        train.main(["--preset", "worst"])


def test_the_default_folder_is_named_for_data_and_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train.main([*TINY_RUN, "--epochs", "1"]) == 0
    assert (tmp_path / "checkpoints" / "digits-mlp" / "report.json").exists()


def test_mnist_is_learned(mnist, tmp_path):
    """A guard against slow rot: a tenth of MNIST, two epochs of the default network."""
    part = mnist._replace(train=Dataset(mnist.train.images[:10_000], mnist.train.labels[:10_000]))
    result = fit(TrainConfig(dataset="mnist", epochs=3), part, tmp_path)
    assert result.history[-1]["validation_accuracy"] > 0.97
