"""The form that all data takes: images with labels, in parts and splits; nothing here reads a file."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int, Int32, UInt8

from digitjax.config import DigitjaxError


class DatasetError(DigitjaxError):
    """A data set that isn't available, or that has a wrong file."""


class Dataset(NamedTuple):
    """Images with their labels, on the host."""

    images: UInt8[np.ndarray, "n 28 28 1"]  # light ink on a dark background
    labels: Int32[np.ndarray, "n"]  # class indices

    def take(self, indices: Int[np.ndarray, "m"]) -> "Dataset":
        """Returns the examples at these indices, in their order."""
        return Dataset(self.images[indices], self.labels[indices])


Stroke = Float32[np.ndarray, "_ 2"]
"""The path of a pen until it is lifted: one or more points (x, y), y downwards, in any unit."""


class Character(NamedTuple):
    """A handwritten character."""

    text: str  # "7", "a", or a name for a character of another script
    ink: tuple[Stroke, ...] | UInt8[np.ndarray, "28 28"]  # pen strokes, or light ink on a dark background
    dataset: str  # an `ExtraName`


# The approximate number of training images in a block, the unit that is divided among processes.
BLOCK = 4_096


@dataclasses.dataclass(frozen=True)
class Part:
    """One of several equal parts of the training images."""

    index: int = 0  # from 0
    count: int = 1

    def blocks(self, n: int) -> list[tuple[int, int, int]]:
        """Returns number, start and stop of each block of this part, out of `n` images in all.

        Block sizes differ by at most one image, and don't depend on the number of parts.
        """
        num_blocks = max(round(n / BLOCK), 1)
        first, last = (i * num_blocks // self.count for i in (self.index, self.index + 1))
        return [(i, i * n // num_blocks, (i + 1) * n // num_blocks) for i in range(first, last)]

    def indices(self, n: int) -> Int[np.ndarray, "part"]:
        """Returns which of `n` images are in this part."""
        return np.concatenate([np.arange(0), *(np.arange(start, stop) for _, start, stop in self.blocks(n))])


ALL = Part()


class Splits(NamedTuple):
    """The three parts of a data set, with the name under which results are reported."""

    name: str
    class_names: tuple[str, ...]
    train: Dataset
    validation: Dataset
    test: Dataset
    class_hashes: tuple[str, ...] = ()  # see `TrainConfig.class_hashes`
    extra: Sequence[Character] = ()  # by other writers, for training
    held_out: Sequence[Character] = ()  # by writers that training never sees

    @property
    def parts(self) -> dict[str, Dataset]:
        """The three parts by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}
