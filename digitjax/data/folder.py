"""A data set of one's own: pictures in one folder a class."""

import hashlib
import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from numpy.typing import NDArray

from digitjax.data.arrays import Dataset, DatasetError
from digitjax.data.builders import ImageBuilder
from digitjax.pictures.folders import find_pictures
from digitjax.pictures.gray import ImageError
from digitjax.pictures.preprocess import preprocess_image

logger = logging.getLogger("digitjax.data")  # the command's name, which users see

# What a class must have, so that each split gets some.
MIN_PICTURES = 3

# Which share of the pictures `test` and `validation` get, each.
HELD_OUT = 0.1


class FolderBuilder(ImageBuilder):
    """Pictures in one folder a class, which names it; they go through the same preprocessing as in prediction.

    A picture's hash decides where it goes: about a tenth of each class to `test`, as many to `validation`, the rest to
    `train`. So wherever a picture lies and whatever else is added, it stays in its split, and copies of it go with it.
    Only where a split would get none of a class, the next picture by hash goes there; others that are added later may
    take its place. The hashes are the order of the pictures, too, which mixes the classes.

    When a picture was added, taken away or changed, another preparation is made in the place of the earlier one.
    """

    name = "digitjax_folder"

    def __init__(self, folder: Path, **options: Any) -> None:
        """Looks what is in the folder.

        Raises:
          DatasetError: It isn't there, has fewer than two folders with pictures in it, or a class has too few.
        """
        self._pictures = {
            class_name: sorted((_hash_file(path), path) for path in paths)
            for class_name, paths in find_classes(folder).items()
        }
        self.CLASS_NAMES = tuple(self._pictures)
        self.ABOUT = f"Pictures of {len(self.CLASS_NAMES)} classes."
        self.class_hashes = tuple(_hash_text(digest for digest, _ in pictures) for pictures in self._pictures.values())
        self._place = _hash_text([str(folder.resolve())])
        name = f"{self._place}-{_hash_text([*self.CLASS_NAMES, *self.class_hashes])}"
        super().__init__(config=tfds.core.BuilderConfig(name=name, version=self.VERSION), **options)

    def download_and_prepare(self, **options: Any) -> None:
        """Prepares the data, and deletes what was prepared of the same folder before it was changed."""
        super().download_and_prepare(**options)
        prepared = Path(self.data_dir).parent
        for earlier in set(prepared.parent.glob(f"{self._place}-*")) - {prepared}:
            shutil.rmtree(earlier, ignore_errors=True)

    def _split_generators(self, _: tfds.download.DownloadManager) -> dict[str, Iterator[Any]]:
        parts: dict[str, list[tuple[str, NDArray[np.uint8], int]]] = {"train": [], "validation": [], "test": []}
        for label, (class_name, pictures) in enumerate(self._pictures.items()):
            examples = [
                (digest, image, label) for digest, path in pictures if (image := _read_picture(path)) is not None
            ]
            if len(examples) < MIN_PICTURES:
                raise DatasetError(
                    f"class {class_name!r}: only {len(examples)} of its {len(pictures)} pictures can be used"
                )
            test, validation = count_held_out([digest for digest, _, _ in examples])
            parts["test"] += examples[:test]
            parts["validation"] += examples[test : test + validation]
            parts["train"] += examples[test + validation :]
        splits = {}
        for part, examples in parts.items():
            _, images, labels = zip(*sorted(examples, key=lambda example: example[0]), strict=True)
            splits[part] = self._generate_examples(Dataset(np.stack(images), np.array(labels, np.int32)))
        return splits


def count_held_out(digests: Sequence[str]) -> tuple[int, int]:
    """Returns how many of a class's pictures go to `test` and `validation`: by sorted hash, the first and the next.

    The share of a hash among all possible ones decides, unless a split would get none.
    """
    shares = [int(digest[:8], 16) / 16**8 for digest in digests]
    n = len(shares)
    test = min(max(sum(share < HELD_OUT for share in shares), 1), n - 2)
    validation = sum(share < 2 * HELD_OUT for share in shares) - test
    return test, min(max(validation, 1), n - test - 1)


def find_classes(folder: Path) -> dict[str, list[Path]]:
    """Returns the pictures of each class, by its name.

    Raises:
      DatasetError: As `FolderBuilder`.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: is not a folder; it must hold one folder of pictures for each class")
    pictures = {
        path.name: find_pictures(path)
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".")
    }
    pictures = {class_name: paths for class_name, paths in pictures.items() if paths}
    if len(pictures) < 2:
        raise DatasetError(
            f"{folder}: must hold a folder of pictures for each of two or more classes, found {len(pictures)}"
        )
    for class_name, paths in pictures.items():
        if special := [path for path in paths if not path.is_file()]:
            raise DatasetError(f"{special[0]}: is no file that can be read; remove it, or mend the link")
        if len(paths) < MIN_PICTURES:
            raise DatasetError(f"{folder / class_name}: {MIN_PICTURES} pictures are the least, found {len(paths)}")
    return pictures


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash_text(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _read_picture(path: Path) -> NDArray[np.uint8] | None:
    """Returns what the network sees of a picture, [28, 28, 1]; None, with a warning, where that is nothing."""
    try:
        preprocessed = preprocess_image(path)
    except ImageError as error:
        logger.warning("left out: %s", error)
        return None
    if preprocessed.box is None:
        logger.warning("left out: %s is blank", path)
        return None
    return preprocessed.canonical[..., None]
