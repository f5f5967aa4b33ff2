"""Combines networks with their weights, and runs any number of images through them."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, UInt8

from digitjax.config import TrainConfig
from digitjax.nn import devices, layers
from digitjax.nn.networks import Images, Variables, create_model

Apply = Callable[[Any], Float[Array, "n classes"]]
"""A network with its weights: maps one batch of images (`Images`) to their logits."""


class Calibration(NamedTuple):
    """What is fitted after training, see `digitjax.train.calibrate`; the defaults change nothing."""

    temperature: float = 1.0  # logits are divided by it before they become probabilities
    threshold: float = 0.0  # a picture whose `is_digit_score` is below it holds no digit


class TrainedModel(NamedTuple):
    """A network with its weights and the config that they were trained with."""

    config: TrainConfig
    network: nn.Module
    variables: Variables
    apply: Apply  # the network with these weights
    calibration: Calibration = Calibration()


# ---------------------------------------------------------------- from images to logits


@partial(jax.jit, static_argnames="model")
def apply_model(model: nn.Module, variables: Variables, images: Images) -> Float[Array, "n classes"]:
    """Returns the logits of one batch."""
    return cast("Array", model.apply(variables, images, train=False))


def compile_apply(model: nn.Module, variables: Variables) -> Apply:
    """Returns `apply_model` for one network, compiled with its weights as constants.

    Constants are laid out for the processor and passed once, not with each batch: one image takes a sixth less time.
    Weights that change, as in training, need `apply_model`, which is compiled once for all of them.
    """
    constants = jax.device_get(variables)
    return jax.jit(lambda images: cast("Array", model.apply(constants, images, train=False)))


def assemble_model(config: TrainConfig, variables: Variables) -> TrainedModel:
    """Returns a network with these weights, on all devices of this process; it isn't calibrated yet."""
    devices.refuse_fork()
    network = create_model(config)
    variables = devices.replicate(variables, devices.local_mesh())  # once, for all the calls to come
    return TrainedModel(config, network, variables, compile_apply(network, variables))


# How many images go through the network together. On a CPU, a few (a row of digits, say) or many: `vgg` then takes
# two thirds of the time per image, and MNIST's sets divide into whole batches. An accelerator needs many.
CPU_BATCHES, ACCELERATOR_BATCH = (16, 125), 1024


def compute_logits(apply: Apply, images: UInt8[np.ndarray, "n 28 28 1"]) -> Float[np.ndarray, "n classes"]:
    """Returns the logits of any number of images, on the host, in their order.

    A single image goes alone, more go in batches of one size, the last one padded. So only a few sizes are compiled,
    and no image is left out. Each batch is divided among this process's devices.

    Args:
      apply: The network with its weights.
      images: Light ink on a dark background.

    Raises:
      DigitjaxError: This process was forked from one that had used a model.
    """
    devices.refuse_fork()
    mesh = devices.local_mesh()
    few, many = CPU_BATCHES if layers.on_cpu() else (ACCELERATOR_BATCH, ACCELERATOR_BATCH)
    batch_size = 1 if len(images) == 1 else devices.round_up(few if len(images) < many else many, mesh)
    batches = []
    for start in range(0, max(len(images), 1), batch_size):
        batch = images[start : start + batch_size]
        if missing := batch_size - len(batch):  # padding by nothing would still slow a single image down
            batch = np.pad(batch, ((0, missing), (0, 0), (0, 0), (0, 0)))
        is_divided = mesh.size > 1 and batch_size > 1  # to one device, the jitted function moves it faster
        batches.append(apply(devices.split_rows(batch, mesh) if is_divided else batch))
    return np.concatenate([np.asarray(logits) for logits in batches])[: len(images)]
