"""Where the digits come from: TFDS builders (without TensorFlow) and scikit-learn's bundled set, as NumPy arrays.

    python -m digitjax.data         # counts per class and split, and a picture of samples

MNIST is taken from the first of: a copy prepared earlier in the TFDS folder; the four IDX files in a folder; the network.
"""

import contextlib
import dataclasses
import gzip
import hashlib
import logging
import os
import sys
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Int32, UInt8
from numpy.typing import NDArray
from PIL import Image

from digitjax import cli
from digitjax.config import DatasetName, DigitjaxError
from digitjax.preprocess import draw_canonical

IDX_DIR_VARIABLE = "DIGITJAX_IDX_DIR"
PROBE_SECONDS = 5

logger = logging.getLogger(__name__)


class DatasetError(DigitjaxError):
    """A data set that can't be had, or a file of it that isn't what it should be."""


class UnreachableError(DatasetError):
    """A data set that is neither here nor to be had from the network."""


class Dataset(NamedTuple):
    """Images with their labels, on the host."""

    images: UInt8[np.ndarray, "n 28 28 1"]  # light ink on a dark ground
    labels: Int32[np.ndarray, "n"]  # class indices


class Splits(NamedTuple):
    """A data set in its three parts, with the name under which results are reported."""

    name: str
    class_names: tuple[str, ...]
    train: Dataset
    validation: Dataset
    test: Dataset


# ---------------------------------------------------------------- IDX files


def read_idx(path: Path, ndim: int) -> UInt8[np.ndarray, "..."]:
    """Reads an IDX file of unsigned bytes, gzipped or not.

    The format: two zero bytes, the type (8: unsigned byte), the number of dimensions, each dimension as a big-endian
    32-bit integer, then the values in C order (http://yann.lecun.com/exdb/mnist/).

    Args:
      path: The file.
      ndim: The number of dimensions that it must have: 1 for labels, 3 for images.

    Raises:
      DatasetError: The file can't be read, or its magic number or size is wrong; says what was expected and found.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path}: can't be read: {error}") from None
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
    images_md5: str
    labels_md5: str

    def read(self, paths: dict[str, Path], num_classes: int) -> Dataset:
        """Reads and checks both files.

        Args:
          paths: Where each file lies, by its published name.
          num_classes: Labels must be below it.

        Raises:
          DatasetError: A wrong magic number, size, count, label or checksum.
        """
        images_path, labels_path = paths[self.images], paths[self.labels]
        images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
        if images.shape[1:] != (28, 28):
            raise DatasetError(f"{images_path}: expected images of 28x28, found {images.shape[1]}x{images.shape[2]}")
        for path, values in ((images_path, images), (labels_path, labels)):
            if len(values) != self.num_examples:
                raise DatasetError(f"{path}: expected {self.num_examples} examples, found {len(values)}")
        if (wrong := np.flatnonzero(labels >= num_classes)).size:
            raise DatasetError(
                f"{labels_path}: expected labels from 0 to {num_classes - 1}, found {labels[wrong[0]]} at {wrong[0]}"
            )
        for path, values, md5 in ((images_path, images, self.images_md5), (labels_path, labels, self.labels_md5)):
            if (found := _idx_md5(values)) != md5:
                raise DatasetError(f"{path}: expected content with MD5 {md5}, found {found}: the file was changed")
        return Dataset(images[..., None], labels.astype(np.int32))


def _idx_md5(values: NDArray[np.uint8]) -> str:
    """The MD5 of `values` as an uncompressed IDX file: gzip's own bytes differ between equal contents."""
    header = (0x0800 + values.ndim).to_bytes(4, "big") + np.array(values.shape, ">u4").tobytes()
    return hashlib.md5(header + values.tobytes(), usedforsecurity=False).hexdigest()


# ---------------------------------------------------------------- TFDS builders


class IdxBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A data set published as four IDX files, as a TFDS builder that needs no TensorFlow.

    A subclass names the files; the sizes and SHA-256 of the downloads stand in `checksums.tsv`, as TFDS wants it.
    Splits: `test` is the published one, `validation` is drawn from the published training files, `train` is the rest.
    """

    VERSION = tfds.core.Version("1.0.0")
    SPLIT_SEED = 0

    URL: ClassVar[str]
    TRAIN: ClassVar[IdxFiles]
    TEST: ClassVar[IdxFiles]
    NUM_VALIDATION: ClassVar[int] = 5_000
    CLASS_NAMES: ClassVar[tuple[str, ...]]
    ABOUT: ClassVar[str]
    HOMEPAGE: ClassVar[str]

    def __init__(self, *, idx_dir: Path | None = None, **options: Any) -> None:
        """Takes the files from `idx_dir` when the data is prepared, or downloads them where that is None."""
        self._idx_dir = idx_dir
        super().__init__(file_format="array_record", **options)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.ABOUT,
            homepage=self.HOMEPAGE,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(28, 28, 1), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(names=self.CLASS_NAMES),
                }
            ),
            supervised_keys=("image", "label"),
            disable_shuffling=True,  # the published order, so that test digit 247 is everybody's test digit 247
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[Any]]:
        names = [name for files in (self.TRAIN, self.TEST) for name in (files.images, files.labels)]
        if self._idx_dir is None:
            paths = dl_manager.download({name: self.URL + name for name in names})
        else:
            paths = find_idx_files(self._idx_dir, names)
        paths = {name: Path(path) for name, path in paths.items()}
        train, test = (files.read(paths, len(self.CLASS_NAMES)) for files in (self.TRAIN, self.TEST))
        # RandomState, because NumPy guarantees its stream for ever; default_rng's may change with a release.
        order = np.random.RandomState(self.SPLIT_SEED).permutation(len(train.labels))
        validation, rest = np.sort(order[: self.NUM_VALIDATION]), np.sort(order[self.NUM_VALIDATION :])
        return {
            "train": self._generate_examples(_take(train, rest)),
            "validation": self._generate_examples(_take(train, validation)),
            "test": self._generate_examples(test),
        }

    def _generate_examples(self, dataset: Dataset) -> Iterator[tuple[int, dict[str, Any]]]:
        for i, (image, label) in enumerate(zip(*dataset, strict=True)):
            # TFDS encodes arrays with TensorFlow, but PIL images without.
            yield i, {"image": Image.fromarray(image[..., 0]), "label": int(label)}


class Mnist(IdxBuilder, skip_registration=True):
    """MNIST (LeCun, Cortes, Burges, 1998): 60,000 + 10,000 digits by some 500 writers."""

    name = "digitjax_mnist"  # TFDS has its own `mnist`, which can't be prepared without TensorFlow
    URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"
    TRAIN = IdxFiles(
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
        60_000,
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
    )
    TEST = IdxFiles(
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
        10_000,
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    )
    CLASS_NAMES = tuple("0123456789")
    ABOUT = "The MNIST database of handwritten digits, in 55,000 training, 5,000 validation and 10,000 test images."
    HOMEPAGE = "http://yann.lecun.com/exdb/mnist/"


def find_idx_files(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Finds published files in a folder, with or without their `.gz`.

    Raises:
      DatasetError: The folder or a file is missing; the message names it.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: is not a folder; give the one that holds {', '.join(names)}")
    found = {}
    for name in names:
        candidates = (folder / name, folder / name.removesuffix(".gz"))
        found[name] = next((path for path in candidates if path.is_file()), None)
        if found[name] is None:
            raise DatasetError(f"{folder}: holds neither {name} nor {name.removesuffix('.gz')}")
    return found


def _take(dataset: Dataset, indices: NDArray[np.int64]) -> Dataset:
    return Dataset(dataset.images[indices], dataset.labels[indices])


# ---------------------------------------------------------------- loading


def load_splits(dataset: DatasetName, data_dir: Path | None = None, idx_dir: Path | None = None) -> Splits:
    """Loads a data set; `auto` is MNIST and, with a warning, the bundled digits where MNIST can't be had.

    Args:
      dataset: Which one.
      data_dir: TFDS's folder; None for TFDS's own default.
      idx_dir: A folder with MNIST's IDX files; None for the variable DIGITJAX_IDX_DIR.

    Raises:
      DatasetError: MNIST was asked for and can't be had, or a file of it is wrong.
    """
    if dataset == "digits":
        return _load_digits()
    try:
        return _load_tfds(Mnist, "mnist", data_dir, idx_dir)
    except UnreachableError as error:
        if dataset == "mnist":
            raise
        logger.warning("%s\nGoing on with the 1,797 small digits that scikit-learn bundles.", error)
        return _load_digits()


def _load_tfds(builder_class: type[IdxBuilder], name: str, data_dir: Path | None, idx_dir: Path | None) -> Splits:
    if idx_dir is None and os.environ.get(IDX_DIR_VARIABLE):
        idx_dir = Path(os.environ[IDX_DIR_VARIABLE])
    builder = builder_class(data_dir=data_dir, idx_dir=idx_dir)
    if not builder.is_prepared():
        if idx_dir is None and not _is_reachable(builder.URL + builder.TEST.labels):
            raise UnreachableError(
                f"{name} is neither prepared in {builder.data_dir} nor can it be downloaded from {builder.URL}. "
                f"Go online, or put its four IDX files into a folder and give it with --idx-dir or {IDX_DIR_VARIABLE}."
            )
        if idx_dir is not None:
            tfds.disable_progress_bar()  # it is for downloads: preparing takes 5 s
        try:
            with contextlib.redirect_stdout(sys.stderr):  # TFDS prints; standard output is for results
                builder.download_and_prepare()
        except OSError as error:
            raise DatasetError(f"{name} can't be prepared in {builder.data_dir}: {error}") from error
    source = builder.as_data_source()
    splits = {}
    for split in ("train", "validation", "test"):
        examples = source[split].__getitems__(range(len(source[split])))
        splits[split] = Dataset(
            np.stack([example["image"] for example in examples]),
            np.array([example["label"] for example in examples], np.int32),
        )
    return Splits(name, builder.CLASS_NAMES, **splits)


def _is_reachable(url: str) -> bool:
    """Whether the server answers within `PROBE_SECONDS`: TFDS itself would try for minutes."""
    answers = []

    def probe() -> None:
        import requests  # comes with TFDS; 0.1 s that only a download is worth

        try:
            answers.append(requests.head(url, timeout=PROBE_SECONDS, allow_redirects=True).ok)
        except requests.RequestException as error:
            logger.debug("%s: %s", url, error)

    # A thread, since looking up a name knows no time limit.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answers == [True]


def _load_digits() -> Splits:
    """The 1,797 digits that scikit-learn bundles: 8x8, 17 grey levels, 43 writers (Alpaydin and Kaynak, 1998)."""
    from sklearn.datasets import load_digits  # half a second that only this data set is worth

    bunch = load_digits()
    images = np.stack([draw_canonical(image.astype(np.float32) * (255 / 16)) for image in bunch.images])
    dataset = Dataset(images[..., None], bunch.target.astype(np.int32))
    order = np.random.RandomState(0).permutation(len(dataset.labels))
    test, validation, train = np.split(order, [400, 600])
    return Splits(
        "digits", tuple("0123456789"), _take(dataset, train), _take(dataset, validation), _take(dataset, test)
    )


# ---------------------------------------------------------------- command


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceArguments(cli.Arguments):
    """The arguments that say where data lies."""

    data_dir: Path | None = None
    """TFDS's folder, where prepared data is kept (default: TFDS's own, ~/tensorflow_datasets)."""
    idx_dir: Path | None = None
    """Folder with MNIST's four IDX files, gzipped or not (default: the variable DIGITJAX_IDX_DIR)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataArguments(SourceArguments):
    """The arguments of `python -m digitjax.data`."""

    dataset: DatasetName = "auto"
    """auto: MNIST, or scikit-learn's bundled digits where MNIST can't be had; mnist and digits never fall back."""
    out: Path = Path("samples.png")
    """Where the picture of samples goes."""


def show_data(args: DataArguments) -> int:
    """Prints the counts and draws the samples."""
    from digitjax import plots  # matplotlib, 0.5 s

    splits = load_splits(args.dataset, args.data_dir, args.idx_dir)
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    counts = {name: np.bincount(part.labels, minlength=len(splits.class_names)) for name, part in parts.items()}
    print(f"{splits.name}: {sum(len(part.labels) for part in parts.values()):,} images of 28x28\n")
    print("class " + "".join(f"{name:>12}" for name in parts))
    for i, class_name in enumerate(splits.class_names):
        print(f"{class_name:<6}" + "".join(f"{count[i]:12,}" for count in counts.values()))
    print("all   " + "".join(f"{count.sum():12,}" for count in counts.values()))
    plots.save_samples(args.out, splits)
    print(f"\nsamples: {args.out}")
    return cli.EXIT_OK


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `python -m digitjax.data`."""
    return cli.run(show_data, DataArguments, argv, module="digitjax.data", about="Shows what a data set holds.")


if __name__ == "__main__":
    raise SystemExit(main())
