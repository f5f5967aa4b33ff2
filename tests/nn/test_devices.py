import json
import os
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest

from digitjax.config import TrainConfig
from digitjax.data.splits import load_splits
from digitjax.nn import devices
from digitjax.nn.inference import compile_apply, compute_logits
from digitjax.nn.networks import create_model, init_variables
from digitjax.runs.files import CheckpointError
from digitjax.train.batches import DeviceData, draw_order
from digitjax.train.state import create_state
from digitjax.train.step import train_step

CONFIG = TrainConfig(dataset="digits", learning_rate=1e-4, schedule="constant")
NUM_STEPS = 3

# Four devices divide micro-batches of 32, but not those of 25, and batch normalisation would count what fills them up.
BATCH_SIZES = {"cnn-16-8": 64, "vgg": 50}

# Prints what `compute_figures` returns, on as many devices as the environment says.
PROGRAM = "import json, test_devices; print(json.dumps(test_devices.compute_figures()))"


def compute_figures():
    """The losses of some steps, and some logits."""
    digits = load_splits("digits")
    figures = {"devices": jax.device_count()}
    for name, batch_size in BATCH_SIZES.items():
        config = replace(CONFIG, model=name, batch_size=batch_size)
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
    network = create_model(TrainConfig(model="cnn-16-8"))
    variables = devices.replicate(init_variables(network, jax.random.key(0)), devices.local_mesh())
    apply = compile_apply(network, variables)
    for n in (1, 5, 150):
        figures[f"logits {n}"] = compute_logits(apply, digits.test.images[:n]).tolist()
    return figures


@pytest.fixture(scope="module")
def one_and_four():
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4", "PYTHONPATH": "tests/nn"}
    output = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, env=environment).stdout
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


def test_rows_of_all_processes_are_found():
    counts = np.array([3, 0, 5, 2])  # filled up to 5 each
    assert devices.locate_rows(np.arange(10), counts).tolist() == [0, 1, 2, 10, 11, 12, 13, 14, 15, 16]


# As JAX words them: three where a process was killed, and what has other causes.
GLOO = (
    "INTERNAL: Error dispatching computation: Gloo all-reduce failed: [external/gloo/gloo/transport/tcp/pair.cc:547] "
    "Connection closed by peer [127.0.0.1]:12708"
)
COORDINATOR = "UNAVAILABLE: The following tasks are unhealthy (stopped sending heartbeats): 1"
BARRIER = "DEADLINE_EXCEEDED: Barrier timed out. Id: saved 23"
MEMORY = "RESOURCE_EXHAUSTED: Out of memory allocating 137438953472 bytes."


def caused_by(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "is_loss"),
    [
        (caused_by(CheckpointError("state/23: can't be written"), jax.errors.JaxRuntimeError(BARRIER)), True),
        (caused_by(CheckpointError("state/23: can't be written"), OSError(28, "No space left on device")), False),
        (jax.errors.JaxRuntimeError(GLOO), True),
        (jax.errors.JaxRuntimeError(COORDINATOR), True),
        (jax.errors.JaxRuntimeError(MEMORY), False),
        (ValueError("Incompatible shapes for broadcasting: (128, 10) and (128, 11)"), False),
        (RuntimeError("dictionary changed size during iteration"), False),
    ],
)
def test_only_a_lost_process_is_called_one(error, is_loss, monkeypatch):
    assert not devices.is_loss_of_another(error)  # there is no other
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert devices.is_loss_of_another(error) == is_loss
