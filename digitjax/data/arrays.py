"""What all data becomes: images with their labels, in parts and splits; nothing here reads a file."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int, Int32, UInt8

from digitjax.config import DigitjaxError


class DatasetError(DigitjaxError):
    """A data set that can't be had, or a file of it that isn't what it should be."""


class Dataset(NamedTuple):
    """Images with their labels, on the host."""

    images: UInt8[np.ndarray, "n 28 28 1"]  # light ink on a dark ground
    labels: Int32[np.ndarray, "n"]  # class indices

    def take(self, indices: Int[np.ndarray, "m"]) -> "Dataset":
        """Returns some of the examples, in that order."""
        return Dataset(self.images[indices], self.labels[indices])


Stroke = Float32[np.ndarray, "_ 2"]
"""Where a pen went without being lifted: one point (x, y) or more, y downwards, in any unit."""


class Character(NamedTuple):
    """A character by somebody's hand."""

    text: str  # "7", "a"; of scripts without a word for it, a name
    ink: tuple[Stroke, ...] | UInt8[np.ndarray, "28 28"]  # as the pen went, or light on a dark ground
    dataset: str  # an `ExtraName`
    writer: str = ""  # whose hand it is, where the data set tells


# Roughly how many training images make a block, the unit that is divided among processes.
BLOCK = 4_096


@dataclasses.dataclass(frozen=True)
class Part:
    """One of several equal parts of the training images."""

    index: int = 0  # from 0
    count: int = 1

    def blocks(self, n: int) -> list[tuple[int, int, int]]:
        """Returns number, start and stop of each block of this part, of `n` images in all.

        Blocks are of one size, but for one image, and the same however many parts there are.
        """
        num_blocks = max(round(n / BLOCK), 1)
        first, last = (i * num_blocks // self.count for i in (self.index, self.index + 1))
        return [(i, i * n // num_blocks, (i + 1) * n // num_blocks) for i in range(first, last)]

    def indices(self, n: int) -> Int[np.ndarray, "part"]:
        """Returns which of `n` images are in this part."""
        return np.concatenate([np.arange(0), *(np.arange(start, stop) for _, start, stop in self.blocks(n))])


ALL = Part()


class Splits(NamedTuple):
    """A data set in its three parts, with the name under which results are reported."""

    name: str
    class_names: tuple[str, ...]
    train: Dataset
    validation: Dataset
    test: Dataset
    class_hashes: tuple[str, ...] = ()  # see `TrainConfig.class_hashes`
    extra: Sequence[Character] = ()  # by other hands, for training
    held_out: Sequence[Character] = ()  # by hands that training never sees

    @property
    def parts(self) -> dict[str, Dataset]:
        """The three parts by their names."""
        return {"train": self.train, "validation": self.validation, "test": self.test}
