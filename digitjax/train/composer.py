"""Fresh pages for every step of a page reader's training, composed in other processes while the network trains."""

import functools
import itertools
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float16, Float32, Int32

from digitjax.config import TrainConfig
from digitjax.data.arrays import Splits
from digitjax.drawing.pages import Page, Sources, compose_page, gather_sources
from digitjax.nn import devices
from digitjax.nn.inference import apply_model
from digitjax.nn.networks import Variables, create_model
from digitjax.nn.reader import Targets, compute_page_losses
from digitjax.pictures.normalize import normalize_page

# The size of the pages in pixels, and how many digits of one are learned at most.
HEIGHT, WIDTH, MOST = 160, 320, 112

# Pages that go through the network together, see `batches.MICRO_BATCH`; and those of all of validation.
MICRO_BATCH, NUM_VALIDATION = 2, 128

# How many steps' pages wait for the network.
WAITING = 6


class PageBatch(NamedTuple):
    """The pages of a step."""

    pages: Float16[np.ndarray, "n h w 1"]
    boxes: Float32[np.ndarray, "n most 4"]
    labels: Int32[np.ndarray, "n most"]

    def draw_batch(self, _key: Any, _step: Any, _config: TrainConfig) -> tuple[Any, Targets]:
        """Returns the pages and their digits in micro-batches, each divided among the devices."""
        micro = [devices.divide(jnp.reshape(x, (-1, MICRO_BATCH, *x.shape[1:])), 1) for x in self]
        return micro[0].astype(jnp.float32), Targets(*micro[1:])


def make_batch(pages: Sequence[Page], rng: np.random.Generator) -> PageBatch:
    """Puts pages of one size together; of one with too many digits, some aren't learned."""
    boxes = np.zeros((len(pages), MOST, 4), np.float32)
    labels = np.full((len(pages), MOST), -1, np.int32)
    for i, page in enumerate(pages):
        kept = rng.permutation(len(page.labels))[:MOST]
        boxes[i, : len(kept)], labels[i, : len(kept)] = page.boxes[kept], page.labels[kept]
    return PageBatch(
        np.stack([normalize_page(page.picture) for page in pages])[..., None].astype(np.float16), boxes, labels
    )


def compose_batch(sources: Sources, seed: int, step: int, batch_size: int) -> PageBatch:
    """Composes the pages of a step; they hang on the seed and the step alone."""
    rng = np.random.default_rng((seed, step))
    return make_batch([compose_page(rng, sources, HEIGHT, WIDTH) for _ in range(batch_size)], rng)


class PageFeed:
    """What a page reader's training shows: a few fresh pages a step."""

    steps_per_epoch = 1_000

    def __init__(self, config: TrainConfig, splits: Splits) -> None:
        """Gathers what the pages are composed of; the processes start with the first epoch."""
        self._config, self._sources = config, gather_sources(splits.train, splits.extra)
        self._held_out = gather_sources(splits.validation, splits.held_out)
        self._processes: list[Any] = []
        self._batches: Iterator[PageBatch] = iter(())

    def __enter__(self) -> "PageFeed":
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the processes."""
        for process in self._processes:
            process.kill()

    def start_epoch(self, _epoch: int, step: int) -> tuple[TrainConfig, Iterator[PageBatch]]:
        """Returns the config, which stays as it is, and the batches from a step on."""
        if not self._processes:
            context = multiprocessing.get_context("spawn")  # a fork of JAX's threads may hang
            queues = [context.Queue(WAITING) for _ in range(max(1, (os.cpu_count() or 1) // 2))]
            for i, queue in enumerate(queues):
                arguments = queue, self._sources, self._config, step + i, len(queues)
                self._processes.append(context.Process(target=_compose_every, args=arguments, daemon=True))
                self._processes[-1].start()
            self._batches = (queue.get() for queue in itertools.cycle(queues))
        return self._config, self._batches

    @functools.cached_property
    def _validation(self) -> list[PageBatch]:
        return [compose_batch(self._held_out, 0, step, MICRO_BATCH) for step in range(NUM_VALIDATION // MICRO_BATCH)]

    def validate(self, variables: Variables) -> tuple[float, float]:
        """Returns the mean loss on pages by hands that training never sees, and the share of their digits found."""
        apply = functools.partial(apply_model, create_model(self._config), variables)
        measured = np.array(
            [
                jax.device_get(compute_page_losses(apply(batch.pages.astype(np.float32)), Targets(*batch[1:])))
                for batch in self._validation
            ]
        )
        loss, num_right, num_digits = measured.T
        return float(loss.mean()), float(num_right.sum() / num_digits.sum())


def _compose_every(queue: Any, sources: Sources, config: TrainConfig, step: int, stride: int) -> None:
    """Composes the pages of every so many steps, for ever."""
    cv2.setNumThreads(1)
    while True:
        queue.put(compose_batch(sources, config.seed, step, config.batch_size))
        step += stride
