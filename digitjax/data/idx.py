"""Reads and checks IDX files, the format in which MNIST and its relatives are published."""

import dataclasses
import gzip
import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from digitjax.config import SIZE
from digitjax.data.arrays import Dataset, DatasetError


def read_content(path: Path) -> bytes:
    """Reads a file, gzipped or not.

    Raises:
      DatasetError: It can't be read, or is damaged.
    """
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path}: can't be read: {error}") from None


def read_idx(path: Path, ndim: int) -> UInt8[np.ndarray, "..."]:
    """Reads an IDX file of unsigned bytes, gzipped or not.

    The format: two zero bytes, the type (8: unsigned byte), the number of dimensions, each dimension as a big-endian
    32-bit integer, then the values in C order (http://yann.lecun.com/exdb/mnist/).

    Args:
      path: The file.
      ndim: The number of dimensions that it must have: 1 for labels, 3 for images.

    Raises:
      DatasetError: The file can't be read, or its magic number or size is wrong; it says what was expected and found.
    """
    content = read_content(path)
    magic = 0x0800 + ndim
    if len(content) < 4 + 4 * ndim:
        raise DatasetError(f"{path}: expected an IDX header of {4 + 4 * ndim} bytes, found {len(content)} bytes in all")
    found = int.from_bytes(content[:4], "big")
    if found != magic:
        raise DatasetError(f"{path}: expected magic number {magic} (unsigned bytes, {ndim}-d), found {found}")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", count=ndim, offset=4))
    expected_bytes = 4 + 4 * ndim + int(np.prod(shape, dtype=np.int64))
    if len(content) != expected_bytes:
        raise DatasetError(f"{path}: expected {expected_bytes} bytes for shape {shape}, found {len(content)}")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * ndim).reshape(shape)


@dataclasses.dataclass(frozen=True)
class IdxFiles:
    """The two IDX files of one part of a data set, as its authors publish them."""

    images: str
    labels: str
    num_examples: int
    images_md5: str | None = None  # of the uncompressed content; None: not published
    labels_md5: str | None = None

    def read(self, paths: dict[str, Path], num_classes: int, first_label: int = 0) -> Dataset:
        """Reads and checks both files.

        Args:
          paths: Where each file lies, by its published name.
          num_classes: The number of different labels.
          first_label: The lowest label in the files; it becomes 0.

        Raises:
          DatasetError: A wrong magic number, size, count, label or checksum.
        """
        images_path, labels_path = paths[self.images], paths[self.labels]
        images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
        if images.shape[1:] != (SIZE, SIZE):
            raise DatasetError(f"{images_path}: expected images of 28x28, found {images.shape[1]}x{images.shape[2]}")
        for path, values in ((images_path, images), (labels_path, labels)):
            if len(values) != self.num_examples:
                raise DatasetError(f"{path}: expected {self.num_examples} examples, found {len(values)}")
        last_label = first_label + num_classes - 1
        if (wrong := np.flatnonzero((labels < first_label) | (labels > last_label))).size:
            raise DatasetError(
                f"{labels_path}: expected labels from {first_label} to {last_label}, "
                f"found {labels[wrong[0]]} at {wrong[0]}"
            )
        for path, values, md5 in ((images_path, images, self.images_md5), (labels_path, labels, self.labels_md5)):
            if md5 and (found := _idx_md5(values)) != md5:
                raise DatasetError(f"{path}: expected content with MD5 {md5}, found {found}: the file was changed")
        return Dataset(images[..., None], labels.astype(np.int32) - first_label)


def _idx_md5(values: NDArray[np.uint8]) -> str:
    """The MD5 of `values` as an uncompressed IDX file: gzip's output may differ for equal contents."""
    header = (0x0800 + values.ndim).to_bytes(4, "big") + np.array(values.shape, ">u4").tobytes()
    return hashlib.md5(header + values.tobytes(), usedforsecurity=False).hexdigest()


def require_folder(folder: Path, names: Sequence[str]) -> None:
    """Checks that a folder, which is to hold files of these names, is one.

    Raises:
      DatasetError: It is missing, or isn't a folder.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: is not a folder; give the one that holds {', '.join(names)}")


def find_idx_files(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Finds published files in a folder, with or without their `.gz`.

    Raises:
      DatasetError: The folder or a file is missing; the message names it.
    """
    require_folder(folder, names)
    found = {}
    for name in names:
        candidates = (folder / name, folder / name.removesuffix(".gz"))
        path = next((path for path in candidates if path.is_file()), None)
        if path is None:
            raise DatasetError(f"{folder}: holds neither {name} nor {name.removesuffix('.gz')}")
        found[name] = path
    return found
