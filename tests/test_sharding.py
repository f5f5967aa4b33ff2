import json
import os
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest

from digitjax import data, model, sharding, train
from digitjax.config import TrainConfig

CONFIG = TrainConfig(dataset="digits", learning_rate=1e-4, schedule="constant")
NUM_STEPS = 3

# Eight devices divide micro-batches of 32, but not those of 25, and batch normalisation would count what fills them up.
BATCH_SIZES = {"cnn-16-8": 64, "vgg": 50}

# Prints what `compute_figures` returns, on as many devices as the environment says.
PROGRAM = "import json, test_sharding; print(json.dumps(test_sharding.compute_figures()))"


def compute_figures():
    """The losses of some steps, and some logits."""
    digits = data.load_splits("digits")
    figures = {"devices": jax.device_count()}
    for name, batch_size in BATCH_SIZES.items():
        config = replace(CONFIG, model=name, batch_size=batch_size)
        n = len(digits.train.labels)
        order = train.draw_order(0, 0, n=n, steps=NUM_STEPS, batch_size=batch_size)
        batches = train.DeviceData(
            sharding.split_rows(digits.train.images),
            sharding.split_rows(digits.train.labels),
            sharding.replicate(order),
        )
        state = sharding.replicate(train.create_state(config, NUM_STEPS))
        losses = []
        for _ in range(NUM_STEPS):
            state = train.train_step(state, batches, config=config, num_steps=NUM_STEPS)
            losses.append(float(state.metrics.loss))
        figures[f"losses of {name}"] = losses
    figures["rows a device"] = batches.images.addressable_shards[0].data.shape[0]
    network = model.create_model(TrainConfig(model="cnn-16-8"))
    variables = sharding.replicate(model.init_variables(network, jax.random.key(0)))
    for n in (1, 5, 150):
        figures[f"logits {n}"] = model.compute_logits(network, variables, digits.test.images[:n]).tolist()
    return figures


@pytest.fixture(scope="module")
def one_and_eight():
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "PYTHONPATH": "tests"}
    output = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, env=environment).stdout
    return compute_figures(), json.loads(output)


def test_eight_devices_train_as_one_does(one_and_eight):
    one, eight = one_and_eight
    assert (one["devices"], eight["devices"]) == (1, 8)
    for name in BATCH_SIZES:
        np.testing.assert_allclose(eight[f"losses of {name}"], one[f"losses of {name}"], rtol=1e-4)
    # Each holds an eighth of the images, the last one's filled up.
    assert eight["rows a device"] == -(-one["rows a device"] // 8)


def test_eight_devices_predict_as_one_does(one_and_eight):
    one, eight = one_and_eight
    for n in (1, 5, 150):
        assert len(eight[f"logits {n}"]) == n
        np.testing.assert_allclose(eight[f"logits {n}"], one[f"logits {n}"], atol=1e-5)
