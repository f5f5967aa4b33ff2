import json
import os
import socket
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest

from digitjax.config import AugmentConfig, TrainConfig
from digitjax.data import arrays
from digitjax.data.arrays import ALL, Dataset, Part
from digitjax.data.splits import load_splits
from digitjax.drawing.mix import add_drawn
from digitjax.nn import devices
from digitjax.nn.inference import compile_apply, compute_logits
from digitjax.nn.networks import VGG, create_model, init_variables
from digitjax.runs.history import read_history
from digitjax.train import __main__ as command
from digitjax.train import state as state_module
from digitjax.train import step as step_module
from digitjax.train.batches import DeviceData, draw_order
from digitjax.train.state import create_state
from digitjax.train.step import train_step

CONFIG = TrainConfig(dataset="digits", learning_rate=1e-4, schedule="constant")
NUM_STEPS = 3
STILL = AugmentConfig(rotation_degrees=0, scale=0, shear=0, shift_pixels=0)

# Four devices divide micro-batches of 32, but not those of 25, and batch normalisation would count what fills them up.
BATCH_SIZES = {"mlp": 64, "vgg": 50}
SMALL_VGG = VGG(block_features=(8, 16, 16), block_depths=(1, 2, 1))

# Prints what `compute_figures` returns, on as many devices as the environment says.
PROGRAM = "import json, test_devices; print(json.dumps(test_devices.compute_figures()))"


def compute_figures():
    """The losses of some steps, and some logits."""
    digits = load_splits("digits")
    figures = {"devices": jax.device_count()}
    for module in (state_module, step_module):
        module.create_model = lambda config: SMALL_VGG if config.model == "vgg" else create_model(config)
    for name, batch_size in BATCH_SIZES.items():
        config = replace(CONFIG, model=name, batch_size=batch_size)
        if name == "mlp":
            config = replace(config, augment=STILL)  # compiled in no time
        n = len(digits.train.labels)
        order = draw_order(0, 0, n=n, steps=NUM_STEPS, batch_size=batch_size)
        mesh = devices.global_mesh()
        batches = DeviceData(
            devices.split_rows(digits.train.images, mesh),
            devices.split_rows(digits.train.labels, mesh),
            devices.replicate(order, mesh),
        )
        state = devices.replicate(create_state(config, NUM_STEPS), mesh)
        losses = []
        for _ in range(NUM_STEPS):
            state = train_step(state, batches, config=config, num_steps=NUM_STEPS)
            losses.append(float(state.metrics.loss))
        figures[f"losses of {name}"] = losses
    figures["rows a device"] = batches.images.addressable_shards[0].data.shape[0]
    network = create_model(TrainConfig(model="mlp"))
    variables = devices.replicate(init_variables(network, jax.random.key(0)), devices.local_mesh())
    apply = compile_apply(network, variables)
    for n in (1, 5, 150):
        figures[f"logits {n}"] = compute_logits(apply, digits.test.images[:n]).tolist()
    return figures


@pytest.fixture(scope="module")
def one_and_four():
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4", "PYTHONPATH": "tests/nn"}
    output = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, env=environment).stdout
    with pytest.MonkeyPatch.context() as patch:  # `compute_figures` sets these itself
        for module in (state_module, step_module):
            patch.setattr(module, "create_model", create_model)
        return compute_figures(), json.loads(output)


@pytest.mark.slow  # four devices compile for ten seconds, one for as long again
def test_four_devices_train_as_one_does(one_and_four):
    one, four = one_and_four
    assert (one["devices"], four["devices"]) == (1, 4)
    for name in BATCH_SIZES:
        np.testing.assert_allclose(four[f"losses of {name}"], one[f"losses of {name}"], rtol=1e-4)
    # Each holds a quarter of the images, the last one's filled up.
    assert four["rows a device"] == -(-one["rows a device"] // 4)


@pytest.mark.slow
def test_four_devices_predict_as_one_does(one_and_four):
    one, four = one_and_four
    for n in (1, 5, 150):
        assert len(four[f"logits {n}"]) == n
        np.testing.assert_allclose(four[f"logits {n}"], one[f"logits {n}"], atol=1e-5)


# ---------------------------------------------------------------- processes


def test_every_part_has_its_own_blocks():
    for n in (0, 5, 4_096, 55_000, 240_000):
        whole = ALL.blocks(n)
        assert [start for _, start, _ in whole[1:]] == [stop for _, _, stop in whole[:-1]]
        assert (whole[0][1], whole[-1][2]) == (0, n)
        for count in (2, 3, 50):
            assert [block for i in range(count) for block in Part(i, count).blocks(n)] == whole


def test_a_part_is_drawn_as_it_is_in_the_whole(digits, monkeypatch):
    monkeypatch.setattr(arrays, "BLOCK", 200)
    config = replace(CONFIG, negative_share=0.2)
    whole, n = add_drawn(digits.train, config), len(digits.train.labels)
    parts = []
    for part in (Part(0, 2), Part(1, 2)):
        blocks = part.blocks(n)
        own = slice(blocks[0][1], blocks[-1][2])
        mine = Dataset(digits.train.images[own], digits.train.labels[own])
        parts.append(add_drawn(mine, config, part, n))
    np.testing.assert_array_equal(np.concatenate([part.images for part in parts]), whole.images)
    np.testing.assert_array_equal(np.concatenate([part.labels for part in parts]), whole.labels)


def test_rows_of_all_processes_are_found():
    counts = np.array([3, 0, 5, 2])  # filled up to 5 each
    assert devices.locate_rows(np.arange(10), counts).tolist() == [0, 1, 2, 10, 11, 12, 13, 14, 15, 16]


# Smaller blocks than in earnest, so that each process has some.
COMMAND = """
import sys
from digitjax.data import arrays
from digitjax.train.__main__ import main
arrays.BLOCK = 300
raise SystemExit(main(sys.argv[1:]))
"""
ARGUMENTS = ["--dataset", "digits", "--model", "cnn-16-8", "--batch-size", "256", "--epochs", "4"]


def start_two(out, *arguments):
    """Starts two processes that train together; returns both."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    group = ["--distributed", "--coordinator", coordinator, "--num-processes", "2", "--out", str(out), *arguments]
    return [
        subprocess.Popen(
            [sys.executable, "-c", COMMAND, *ARGUMENTS, *group, "--process-id", str(i)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]


@pytest.mark.slow
def test_two_processes_go_on_after_one_was_killed_and_end_as_one_does(monkeypatch, tmp_path):
    first, second = start_two(tmp_path / "two")
    seen = []
    for line in first.stderr:
        seen.append(line)
        if "epoch   1/4" in line:
            break
    else:
        pytest.fail("".join(seen))
    second.kill()
    second.communicate()
    _, errors = first.communicate()
    assert first.returncode == 2
    assert "another process was lost" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "two" / "report.json").exists()

    outputs = [process.communicate() for process in start_two(tmp_path / "two", "--resume")]
    assert "report.html shows all of it" in outputs[0][0], outputs[0][1]
    assert "report" not in outputs[1][0]  # one of them speaks for both

    monkeypatch.setattr(arrays, "BLOCK", 300)
    assert command.main([*ARGUMENTS, "--out", str(tmp_path / "one")]) == 0
    two, one = (read_history(tmp_path / name) for name in ("two", "one"))
    assert len(two) == len(one) == 4
    # Rounding errors grow from step to step: by themselves the two would end a thousandth apart.
    for name in ("loss", "validation_loss", "accuracy", "validation_accuracy"):
        np.testing.assert_allclose([record[name] for record in two], [record[name] for record in one], rtol=1e-2)


def test_what_is_missing_to_find_the_others_is_told(capsys):
    assert command.main(["--dataset", "digits", "--distributed"]) == 2
    assert "--coordinator HOST:PORT --num-processes N --process-id I" in capsys.readouterr().err
