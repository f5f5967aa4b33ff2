"""Where the digits come from: TFDS builders (without TensorFlow) and scikit-learn's bundled set, as NumPy arrays.

    python -m digitjax.data         # counts per class and split, and a picture of samples

MNIST is taken from the first of: a copy prepared earlier in the TFDS folder; the four IDX files in a folder; the
network.
"""

import contextlib
import dataclasses
import io
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from numpy.typing import NDArray
from PIL import Image

from digitjax import cli
from digitjax.config import DatasetName
from digitjax.idx import Dataset, DatasetError, IdxFiles, find_idx_files
from digitjax.preprocess import draw_canonical

IDX_DIR_VARIABLE = "DIGITJAX_IDX_DIR"
PROBE_SECONDS = 5

logger = logging.getLogger("digitjax.data")  # __name__ is "__main__" for python -m digitjax.data


class UnreachableError(DatasetError):
    """A data set that is neither here nor to be had from the network."""


class Splits(NamedTuple):
    """A data set in its three parts, with the name under which results are reported."""

    name: Literal["mnist", "digits"]
    class_names: tuple[str, ...]
    train: Dataset
    validation: Dataset
    test: Dataset


# ---------------------------------------------------------------- TFDS builders


class IdxBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
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


class Mnist(IdxBuilder, skip_registration=True):  # type: ignore[call-arg]
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


def _load_tfds(
    builder_class: type[IdxBuilder], name: Literal["mnist"], data_dir: Path | None, idx_dir: Path | None
) -> Splits:
    if idx_dir is None and os.environ.get(IDX_DIR_VARIABLE):
        idx_dir = Path(os.environ[IDX_DIR_VARIABLE])
    builder = builder_class(data_dir=data_dir, idx_dir=idx_dir)
    if not builder.is_prepared():
        if idx_dir is None and not _is_reachable(builder.URL + builder.TEST.labels):
            raise UnreachableError(
                f"{name} is neither prepared in {builder.data_dir} nor can it be downloaded from {builder.URL}. "
                f"Go online, or put its four IDX files into a folder and give it with --idx-dir or {IDX_DIR_VARIABLE}."
            )
        _prepare(builder, name, downloads=idx_dir is None)
    try:
        source = builder.as_data_source()
        train, validation, test = (_read_split(source[split]) for split in ("train", "validation", "test"))
    except Exception as error:
        raise DatasetError(
            f"the copy of {name} in {builder.data_dir} can't be read ({error}): delete that folder to prepare it anew"
        ) from error
    return Splits(name, builder.CLASS_NAMES, train, validation, test)


def _read_split(source: Any) -> Dataset:
    examples = source.__getitems__(range(len(source)))  # ten times faster than one by one
    return Dataset(
        np.stack([example["image"] for example in examples]),
        np.array([example["label"] for example in examples], np.int32),
    )


def _prepare(builder: IdxBuilder, name: str, *, downloads: bool) -> None:
    import requests  # comes with TFDS; 0.1 s that only preparing is worth

    logger.info("preparing %s in %s; this happens once", name, builder.data_dir)
    if not downloads:
        tfds.disable_progress_bar()  # the rest takes some seconds
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints; standard output is for results
            builder.download_and_prepare()
    except (requests.RequestException, tfds.download.DownloadError) as error:
        raise UnreachableError(f"{name}: the download from {builder.URL} failed: {error}") from error
    except tfds.core.download.download_manager.NonMatchingChecksumError as error:
        raise DatasetError(f"{name}: what {builder.URL} sent is not the published file: {error}") from error
    except OSError as error:
        raise DatasetError(f"{name} can't be prepared in {builder.data_dir}: {error}; see --data-dir") from error
    finally:
        tfds.enable_progress_bar()


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
    """The 1,797 digits that scikit-learn bundles: 8x8 in 17 grey levels, by 13 writers (Alpaydin and Kaynak, 1998)."""
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
    return cli.run(show_data, DataArguments, argv, program="-m digitjax.data", about="Shows what a data set holds.")


if __name__ == "__main__":
    raise SystemExit(main())
