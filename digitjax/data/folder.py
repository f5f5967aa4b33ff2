"""A data set of one's own: pictures in one folder a class."""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from numpy.typing import NDArray

from digitjax.data.arrays import Dataset, DatasetError
from digitjax.data.builders import ImageBuilder
from digitjax.pictures.gray import ImageError
from digitjax.pictures.preprocess import preprocess_image
from digitjax.pictures.source import find_pictures

logger = logging.getLogger("digitjax.data")  # the command's name, which users see

# What a class must have, so that each split gets some.
MIN_PICTURES = 3


class FolderBuilder(ImageBuilder):
    """Pictures in one folder a class, which names it; they go through the same preprocessing as in prediction.

    A tenth of each class, but at least one picture, is kept for `validation`, and as many for `test`. Another
    preparation is made when a picture was added, taken away or changed.
    """

    name = "digitjax_folder"

    def __init__(self, folder: Path, **options: Any) -> None:
        """Looks what is in the folder.

        Raises:
          DatasetError: It isn't there, has fewer than two folders with pictures in it, or a class has too few.
        """
        self._pictures = find_classes(folder)
        self.CLASS_NAMES = tuple(self._pictures)
        self.ABOUT = f"Pictures of {len(self.CLASS_NAMES)} classes."
        state = [
            (str(path), (stat := path.stat()).st_size, stat.st_mtime_ns)
            for paths in self._pictures.values()
            for path in paths
        ]
        name = hashlib.sha256(repr(state).encode()).hexdigest()[:16]
        super().__init__(config=tfds.core.BuilderConfig(name=name, version=self.VERSION), **options)

    def _split_generators(self, _: tfds.download.DownloadManager) -> dict[str, Iterator[Any]]:
        random = np.random.RandomState(self.SPLIT_SEED)
        parts: dict[str, list[tuple[NDArray[np.uint8], int]]] = {"train": [], "validation": [], "test": []}
        for label, (class_name, paths) in enumerate(self._pictures.items()):
            images = [image for path in paths if (image := _read_picture(path)) is not None]
            if len(images) < MIN_PICTURES:
                raise DatasetError(f"class {class_name!r}: only {len(images)} of its {len(paths)} pictures can be used")
            order, n = random.permutation(len(images)), max(len(images) // 10, 1)
            for part, indices in (("test", order[:n]), ("validation", order[n : 2 * n]), ("train", order[2 * n :])):
                parts[part] += [(images[i], label) for i in indices]
        return {
            part: self._generate_examples(
                Dataset(
                    np.stack([image for image, _ in examples]), np.array([label for _, label in examples], np.int32)
                )
            )
            for part, examples in parts.items()
        }


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
        if len(paths) < MIN_PICTURES:
            raise DatasetError(f"{folder / class_name}: {MIN_PICTURES} pictures are the least, found {len(paths)}")
    return pictures


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
