"""Puts the training images onto the devices, orders them for each epoch, and augments them in batches."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Int32, Key, UInt8

from digitjax.config import AugmentConfig, TrainConfig
from digitjax.data.arrays import Character, Dataset, Part
from digitjax.drawing import mix
from digitjax.nn import augment, devices
from digitjax.train.state import derive_keys

# ---------------------------------------------------------------- onto the devices


class TrainingSet(NamedTuple):
    """All images that training shows, divided among the devices."""

    images: UInt8[Array, "rows 28 28 1"]
    labels: Int32[Array, "rows"]
    counts: Int[np.ndarray, "processes"]  # how many of the rows each process filled with images
    is_drawn: Bool[np.ndarray, "n"]  # which images, numbered across all processes, are drawn by program


def place_images(own: Dataset, config: TrainConfig, extra: Sequence[Character] = ()) -> TrainingSet:
    """Adds the drawn images to the data's own, and puts all of them onto the devices.

    Args:
      own: The data's own images, or this process's part of them.
      config: Says how many to draw.
      extra: Characters by other writers, to be drawn, too; the same in all processes.
    """
    num_own = int(devices.gather(len(own.labels)).sum())
    train = mix.add_drawn(own, config, process_part(), num_own, extra)
    counts = devices.gather(len(train.labels))
    return TrainingSet(
        devices.join_rows(train.images, counts),
        devices.join_rows(train.labels, counts),
        counts,
        mix.mark_drawn(config, num_own),
    )


def process_part() -> Part:
    """Returns which part of the training images this process reads."""
    return Part(jax.process_index(), jax.process_count())


# ---------------------------------------------------------------- into an order


class DeviceData(NamedTuple):
    """The training images on the device, and the order in which this epoch takes them."""

    images: UInt8[Array, "n 28 28 1"]
    labels: Int32[Array, "n"]
    order: Int32[Array, "steps batch"]


def order_epoch(train: TrainingSet, config: TrainConfig, epoch: int) -> tuple[DeviceData, AugmentConfig]:
    """Returns the images in the order of an epoch (from 0), and how far they are varied."""
    rows, limits = plan_epoch(train.is_drawn, config, epoch)
    steps = count_steps(train, config)
    order = draw_order(config.seed, epoch, n=len(rows), steps=steps, batch_size=config.batch_size)
    places: Any = devices.locate_rows(rows[np.asarray(order)], train.counts)
    return DeviceData(train.images, train.labels, devices.replicate(places, devices.global_mesh())), limits


def count_steps(train: TrainingSet, config: TrainConfig) -> int:
    """Returns the number of steps per epoch; settling epochs show fewer images, but have as many."""
    return -(-len(train.is_drawn) // config.batch_size)


@partial(jax.jit, static_argnames=("seed", "n", "steps", "batch_size"))
def draw_order(
    seed: int, epoch: int | Int32[Array, ""], *, n: int, steps: int, batch_size: int
) -> Int32[Array, "steps batch"]:
    """Shuffles an epoch's images into batches; the last batch is filled up from the front, so no image is left out."""
    key = jax.random.fold_in(derive_keys(seed).order, epoch)
    return jnp.resize(jax.random.permutation(key, n), (steps, batch_size)).astype(jnp.int32)


# The share of augmentation and of drawn images that is left in settling epochs.
SETTLED = 0.25


def plan_epoch(
    is_drawn: Bool[np.ndarray, "n"], config: TrainConfig, epoch: int
) -> tuple[Int32[np.ndarray, "shown"], AugmentConfig]:
    """Returns which images an epoch (from 0) shows, and how far they are varied.

    A settling epoch shows all of the data's own images and a share of the drawn ones. It has as many steps as the
    others, so images are repeated: with 62 % drawn, as in `best`, each is shown 1.9 times on average. Towards the end,
    less distortion brings training closer to test conditions (Touvron et al. 2019, https://arxiv.org/abs/1906.06423).
    Besides, drawn digits aren't by MNIST's writers, for whom an upstroke makes a 7.
    """
    if epoch < config.epochs - config.settle_epochs:
        return np.arange(len(is_drawn), dtype=np.int32), config.augment
    own, drawn_ones = np.flatnonzero(~is_drawn), np.flatnonzero(is_drawn)
    rng = np.random.default_rng((config.seed, epoch))
    some = rng.choice(drawn_ones, round(SETTLED * len(drawn_ones)), replace=False)
    return np.concatenate([own, some]).astype(np.int32), config.augment.scaled(SETTLED)


# ---------------------------------------------------------------- into batches

# The number of images that go through the network together. A CPU takes one micro-batch after another: the patches of
# more images don't fit into its caches, and a step would take twice as long. An accelerator takes all at once. The step
# is the same: even batch normalisation's statistics are those of a micro-batch (Hoffer et al. 2017,
# https://arxiv.org/abs/1705.08741).
MICRO_BATCH = 32


def num_micro_batches(batch_size: int) -> int:
    """Returns the number of equal micro-batches into which a batch is divided."""
    divisors = [size for size in range(MICRO_BATCH // 4, MICRO_BATCH + 1) if batch_size % size == 0]
    return batch_size // max(divisors, default=batch_size)


def draw_batch(
    key: Key[Array, ""], train: DeviceData, step: Int32[Array, ""], config: TrainConfig
) -> tuple[Float[Array, "k m 28 28 1"], Int32[Array, "k m"]]:
    """Returns a step's augmented images and their labels, in micro-batches; each is divided among the devices."""
    steps_per_epoch, batch_size = train.order.shape
    indices = devices.divide(train.order[step % steps_per_epoch])
    images = augment.augment_images(key, train.images[indices], config.augment)  # [batch, 28, 28, 1]
    k = num_micro_batches(batch_size)
    images, labels = images.reshape(k, -1, *images.shape[1:]), train.labels[indices].reshape(k, -1)
    return devices.divide(images, 1), devices.divide(labels, 1)
