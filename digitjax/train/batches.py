"""The way of the training images: onto the devices, into an order for each epoch, augmented into batches."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Int32, Key, UInt8

from digitjax.config import AugmentConfig, TrainConfig
from digitjax.data.arrays import Character, Dataset, Part, Splits
from digitjax.drawing import mix
from digitjax.nn import augment, devices
from digitjax.nn.inference import apply_model, compute_logits
from digitjax.nn.networks import Variables, create_model
from digitjax.train.loss import compute_loss
from digitjax.train.state import derive_keys

# ---------------------------------------------------------------- onto the devices


class TrainingSet(NamedTuple):
    """All that training shows, divided among the devices."""

    images: UInt8[Array, "rows 28 28 1"]
    labels: Int32[Array, "rows"]
    counts: Int[np.ndarray, "processes"]  # how many of the rows each process filled with images
    is_drawn: Bool[np.ndarray, "n"]  # which of the images, numbered through all processes, are drawn by program


def place_images(own: Dataset, config: TrainConfig, extra: Sequence[Character] = ()) -> TrainingSet:
    """Adds the drawn images to the data's own, and puts all of them onto the devices.

    Args:
      own: The data's own images, or this process's part of them.
      config: How many are drawn.
      extra: Characters by other hands, to draw them, too; the same in all processes.
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

    def draw_batch(
        self, key: Key[Array, ""], step: Int32[Array, ""], config: TrainConfig
    ) -> tuple[Float[Array, "k m 28 28 1"], Int32[Array, "k m"]]:
        """Returns a step's augmented images and their labels, in micro-batches; each is divided among the devices."""
        steps_per_epoch, batch_size = self.order.shape
        indices = devices.divide(self.order[step % steps_per_epoch])
        images = augment.augment_images(key, self.images[indices], config.augment)  # [batch, 28, 28, 1]
        k = num_micro_batches(batch_size)
        images, labels = images.reshape(k, -1, *images.shape[1:]), self.labels[indices].reshape(k, -1)
        return devices.divide(images, 1), devices.divide(labels, 1)


def order_epoch(train: TrainingSet, config: TrainConfig, epoch: int) -> tuple[DeviceData, AugmentConfig]:
    """Returns the images in the order of an epoch (from 0), and how far they are varied."""
    rows, limits = plan_epoch(train.is_drawn, config, epoch)
    steps = count_steps(train, config)
    order = draw_order(config.seed, epoch, n=len(rows), steps=steps, batch_size=config.batch_size)
    places: Any = devices.locate_rows(rows[np.asarray(order)], train.counts)
    return DeviceData(train.images, train.labels, devices.replicate(places, devices.global_mesh())), limits


def count_steps(train: TrainingSet, config: TrainConfig) -> int:
    """Returns how many steps an epoch has; epochs that settle, and show fewer images, have as many."""
    return -(-len(train.is_drawn) // config.batch_size)


@partial(jax.jit, static_argnames=("seed", "n", "steps", "batch_size"))
def draw_order(
    seed: int, epoch: int | Int32[Array, ""], *, n: int, steps: int, batch_size: int
) -> Int32[Array, "steps batch"]:
    """Shuffles an epoch's images into batches; the last is filled up from the front, so none is left out."""
    key = jax.random.fold_in(derive_keys(seed).order, epoch)
    return jnp.resize(jax.random.permutation(key, n), (steps, batch_size)).astype(jnp.int32)


# How much of all that varies and adds to the images is left in the epochs that settle.
SETTLED = 0.25


def plan_epoch(
    is_drawn: Bool[np.ndarray, "n"], config: TrainConfig, epoch: int
) -> tuple[Int32[np.ndarray, "shown"], AugmentConfig]:
    """Returns which images an epoch (from 0) shows, and how far they are varied.

    An epoch that settles shows all of the data's own images and a share of the drawn ones. It has as many steps as the
    others, so images are shown again: where 44 % are drawn, as `best` has it, each 1.5 times on average. Towards the
    end, less distortion brings training closer to what is tested (Touvron et al. 2019,
    https://arxiv.org/abs/1906.06423). And drawn digits aren't by MNIST's writers: for them an upstroke makes a 7.
    """
    if epoch < config.epochs - config.settle_epochs:
        return np.arange(len(is_drawn), dtype=np.int32), config.augment
    own, drawn_ones = np.flatnonzero(~is_drawn), np.flatnonzero(is_drawn)
    rng = np.random.default_rng((config.seed, epoch))
    some = rng.choice(drawn_ones, round(SETTLED * len(drawn_ones)), replace=False)
    return np.concatenate([own, some]).astype(np.int32), config.augment.scaled(SETTLED)


class ImageFeed:
    """What a classifier's training shows: the same images in each epoch, in another order."""

    def __init__(self, config: TrainConfig, splits: Splits) -> None:
        """Draws what is to be drawn, and puts all onto the devices."""
        self._config, self._validation = config, splits.validation
        self._train = place_images(splits.train, config, splits.extra)
        self.steps_per_epoch = count_steps(self._train, config)

    def __enter__(self) -> "ImageFeed":
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Does nothing."""

    def start_epoch(self, epoch: int, _step: int) -> tuple[TrainConfig, Iterator[DeviceData]]:
        """Returns the config with how far this epoch varies images, and the data for each of its steps."""
        data, limits = order_epoch(self._train, self._config, epoch)
        return dataclasses.replace(self._config, augment=limits), itertools.repeat(data)

    def validate(self, variables: Variables) -> tuple[float, float]:
        """Returns loss (without smoothing) and accuracy over all validation images, the same in all processes."""
        variables = devices.replicate(variables, devices.local_mesh())
        images, labels = self._validation
        logits = compute_logits(partial(apply_model, create_model(self._config), variables), images)
        losses = compute_loss(logits, labels, dataclasses.replace(self._config, label_smoothing=0))
        accuracy = np.mean(logits.argmax(-1) == labels)
        loss, accuracy = devices.agree(np.array([losses.mean(), accuracy], np.float64)).tolist()
        return loss, accuracy


# ---------------------------------------------------------------- into batches

# The images that go through the network together. A CPU takes one micro-batch after the other, since the patches of
# more images don't fit its caches and a step would take twice as long; an accelerator takes all at once. The step is
# the same: batch normalisation's statistics, too, are those of a micro-batch (Hoffer et al. 2017,
# https://arxiv.org/abs/1705.08741).
MICRO_BATCH = 32


def num_micro_batches(batch_size: int) -> int:
    """Returns in how many micro-batches of one size a batch is taken."""
    divisors = [size for size in range(MICRO_BATCH // 4, MICRO_BATCH + 1) if batch_size % size == 0]
    return batch_size // max(divisors, default=batch_size)
