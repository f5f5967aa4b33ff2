"""A user's own data set: pictures in one folder per class."""

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

# The fewest pictures that a class may have, so that each split gets some.
MIN_PICTURES = 3

# The share of the pictures that `test` and `validation` get each.
HELD_OUT = 0.1


class FolderBuilder(ImageBuilder):
    """Pictures in one folder per class, named after it; they get the same preprocessing as in prediction.

    A picture's hash decides its split: about a tenth of each class goes to `test`, as many to `validation`, the rest to
    `train`. So a picture and its copies stay in one split, wherever they are moved and whatever is added. Only if a
    split would get none of a class does the next picture by hash go there; others added later may take its place. The
    hashes also order the pictures, which mixes the classes.

    When a picture is added, removed or changed, the data is prepared again and replaces the earlier copy.
    """

    name = "digitjax_folder"

    def __init__(self, folder: Path, **options: Any) -> None:
        """Looks at the folder's contents.

        Raises:
          DatasetError: It isn't there, has fewer than two folders with pictures in it, or a class has too few pictures.
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
        """Prepares the data, and deletes what was prepared before the folder changed."""
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
    """Returns how many of a class's pictures, sorted by hash, go to `test` (the first) and `validation` (the next).

    The position of a hash among all possible ones decides, unless a split would get none.
    """
    shares = [int(digest[:8], 16) / 16**8 for digest in digests]
    n = len(shares)
    test = min(max(sum(share < HELD_OUT for share in shares), 1), n - 2)
    validation = sum(share < 2 * HELD_OUT for share in shares) - test
    return test, min(max(validation, 1), n - test - 1)


def find_classes(folder: Path) -> dict[str, list[Path]]:
    """Returns the pictures of each class, by class name.

    Raises:
      DatasetError: As in `FolderBuilder`.
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
            raise DatasetError(f"{special[0]}: is not a readable file; remove it, or fix the link")
        if len(paths) < MIN_PICTURES:
            raise DatasetError(f"{folder / class_name}: must hold at least {MIN_PICTURES} pictures, found {len(paths)}")
    return pictures


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash_text(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _read_picture(path: Path) -> NDArray[np.uint8] | None:
    """Returns a picture as the network sees it, [28, 28, 1]; None, with a warning, if it is unreadable or blank."""
    try:
        preprocessed = preprocess_image(path)
    except ImageError as error:
        logger.warning("left out: %s", error)
        return None
    if preprocessed.box is None:
        logger.warning("left out: %s is blank", path)
        return None
    return preprocessed.canonical[..., None]
