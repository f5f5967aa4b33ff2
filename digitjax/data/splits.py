"""Loads any data set as arrays: from a TFDS builder, or scikit-learn's bundled digits.

A published data set comes from the first of these that is there: a copy prepared earlier in the TFDS folder, its IDX
files in a folder, the network.
"""

import itertools
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from digitjax.config import DIGITS, FOLDER_PREFIX, SIZE, TrainConfig
from digitjax.data.arrays import ALL, Dataset, DatasetError, Part, Splits
from digitjax.data.builders import ImageBuilder
from digitjax.data.folder import FolderBuilder
from digitjax.data.prepare import UnreachableError, open_source
from digitjax.data.published import BUILDERS, IDX_DIR_VARIABLE
from digitjax.pictures.preprocess import draw_canonical

logger = logging.getLogger("digitjax.data")  # the command's name, which users see


def load_splits(dataset: str, data_dir: Path | None = None, idx_dir: Path | None = None, *, part: Part = ALL) -> Splits:
    """Loads a data set; `auto` is MNIST or, with a warning, the bundled digits if MNIST isn't available.

    Args:
      dataset: Its name, see `TrainConfig.dataset`.
      data_dir: TFDS's folder; None for TFDS's own default.
      idx_dir: A folder with the data set's IDX files; None for the download or, for MNIST, the folder that the variable
        DIGITJAX_IDX_DIR names.
      part: Which part of the training images to read; the other splits are always read whole.

    Raises:
      DatasetError: It isn't available, or has a wrong file.
    """
    if dataset == "digits":
        return _load_digits(part)
    if dataset.startswith(FOLDER_PREFIX):
        return _load_tfds(FolderBuilder(Path(dataset.removeprefix(FOLDER_PREFIX)), data_dir=data_dir), dataset, part)
    if idx_dir is None and dataset in ("auto", "mnist") and os.environ.get(IDX_DIR_VARIABLE):
        idx_dir = Path(os.environ[IDX_DIR_VARIABLE])
    name = "mnist" if dataset == "auto" else dataset
    builder = BUILDERS[name](data_dir=data_dir, idx_dir=idx_dir)
    try:
        return _load_tfds(builder, name, part)
    except UnreachableError as error:
        if dataset != "auto":
            raise
        logger.warning("%s\nGoing on with the 1,797 small digits that scikit-learn bundles.", error)
        return _load_digits(part)


def require_same_data(config: TrainConfig, splits: Splits) -> None:
    """Checks that the data is what a run was started with; only a user's own folders can have changed.

    Raises:
      DatasetError: It holds other classes, or other pictures.
    """
    if splits.class_names != config.class_names:
        raise DatasetError(
            f"{config.dataset} holds the classes {', '.join(splits.class_names)}, "
            f"and the run was started with {', '.join(config.class_names)}"
        )
    if splits.class_hashes != config.class_hashes:
        # If a config was made without hashes, nobody knows, and all classes count as changed.
        pairs = itertools.zip_longest(splits.class_names, splits.class_hashes, config.class_hashes)
        changed = [repr(class_name) for class_name, now, then in pairs if now != then]
        raise DatasetError(
            f"{config.dataset}: the pictures of class {', '.join(changed)} have changed since the run was started: "
            "some were added, taken away or edited. Undo that, or train anew"
        )


def _load_tfds(builder: ImageBuilder, name: str, part: Part) -> Splits:
    with open_source(builder, name) as source:
        train = _read_split(source["train"], part)
        validation, test = (_read_split(source[split]) for split in ("validation", "test"))
    return Splits(name, builder.CLASS_NAMES, train, validation, test, builder.class_hashes)


def _read_split(source: Any, part: Part = ALL) -> Dataset:
    examples = source.__getitems__(part.indices(len(source)).tolist())  # ten times faster than one by one
    return Dataset(
        np.array([example["image"] for example in examples], np.uint8).reshape(-1, SIZE, SIZE, 1),
        np.array([example["label"] for example in examples], np.int32),
    )


def _load_digits(part: Part) -> Splits:
    """The 1,797 digits that scikit-learn bundles: 8x8 in 17 grey levels, by 13 writers (Alpaydin and Kaynak, 1998)."""
    from sklearn.datasets import load_digits  # takes half a second, only needed for this data set

    bunch = load_digits()
    images = np.stack([draw_canonical(image.astype(np.float32) * (255 / 16)) for image in bunch.images])
    dataset = Dataset(images[..., None], bunch.target.astype(np.int32))
    order = np.random.RandomState(0).permutation(len(dataset.labels))
    test, validation, train = np.split(order, [400, 600])
    train = train[part.indices(len(train))]
    return Splits("digits", DIGITS, dataset.take(train), dataset.take(validation), dataset.take(test))
