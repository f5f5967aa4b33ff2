"""The data sets as TFDS builders that need no TensorFlow, a few lines each.

A builder prepares its data once, in TFDS's folder, and reads it from there ever after.
"""

import hashlib
import logging
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from numpy.typing import NDArray
from PIL import Image

from digitjax.config import DIGITS
from digitjax.idx import Dataset, DatasetError, IdxFiles, find_idx_files
from digitjax.picture import find_pictures
from digitjax.preprocess import ImageError, preprocess_image

logger = logging.getLogger(__name__)


class ImageBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Images of 28x28 with labels, in the splits `train`, `validation` and `test`."""

    VERSION = tfds.core.Version("1.0.0")

    # RandomState takes it, because NumPy guarantees its stream for ever; default_rng's may change with a release.
    SPLIT_SEED = 0

    CLASS_NAMES: tuple[str, ...]
    ABOUT: str
    HOMEPAGE: ClassVar[str | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Keeps TFDS from listing subclasses among its own data sets."""
        super().__init_subclass__(skip_registration=True, **options)

    def __init__(self, **options: Any) -> None:
        """Takes TFDS's options, such as `data_dir`."""
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

    def _generate_examples(self, dataset: Dataset) -> Iterator[tuple[int, dict[str, Any]]]:
        for i, (image, label) in enumerate(zip(*dataset, strict=True)):
            # TFDS encodes arrays with TensorFlow, but PIL images without.
            yield i, {"image": Image.fromarray(image[..., 0]), "label": int(label)}


def take(dataset: Dataset, indices: NDArray[np.int64]) -> Dataset:
    """Returns some examples of a data set, in that order."""
    return Dataset(dataset.images[indices], dataset.labels[indices])


# ---------------------------------------------------------------- published as IDX files


class IdxBuilder(ImageBuilder):
    """A data set published as four IDX files.

    A subclass names the files; the sizes and SHA-256 of the downloads stand in `checksums.tsv`, as TFDS wants it.
    Splits: `test` is the published one, `validation` is drawn from the published training files, `train` is the rest.
    """

    URL: ClassVar[str]
    TRAIN: ClassVar[IdxFiles]
    TEST: ClassVar[IdxFiles]
    NUM_VALIDATION: ClassVar[int] = 5_000

    # The label of the first class in the files.
    FIRST_LABEL: ClassVar[int] = 0

    def __init__(self, *, idx_dir: Path | None = None, **options: Any) -> None:
        """Takes the files from `idx_dir` when the data is prepared, or downloads them where that is None."""
        self._idx_dir = idx_dir
        super().__init__(**options)

    @property
    def downloads(self) -> bool:
        """Whether preparing asks the network."""
        return self._idx_dir is None

    @classmethod
    def download_urls(cls) -> dict[str, str]:
        """Returns what is downloaded, by the name of the file that it is or holds."""
        return {name: cls.URL + name for files in (cls.TRAIN, cls.TEST) for name in (files.images, files.labels)}

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[Any]]:
        urls = self.download_urls()
        with tempfile.TemporaryDirectory() as temp:
            if self._idx_dir is None:
                downloaded = {name: Path(path) for name, path in dl_manager.download(urls).items()}
                paths = self._unpack(downloaded, Path(temp))
            else:
                paths = find_idx_files(self._idx_dir, list(urls))
                for name, path in paths.items():
                    self._require_published(path, urls[name])
            train, test = (
                self._orient(files.read(paths, len(self.CLASS_NAMES), self.FIRST_LABEL))
                for files in (self.TRAIN, self.TEST)
            )
        order = np.random.RandomState(self.SPLIT_SEED).permutation(len(train.labels))
        validation, rest = np.sort(order[: self.NUM_VALIDATION]), np.sort(order[self.NUM_VALIDATION :])
        return {
            "train": self._generate_examples(take(train, rest)),
            "validation": self._generate_examples(take(train, validation)),
            "test": self._generate_examples(test),
        }

    def _require_published(self, path: Path, url: str) -> None:
        """Refuses a file in somebody's folder that is gzipped but isn't the published one: names are no help.

        MNIST's own files may be compressed anew, as the MD5 of what they hold is known.
        """
        published = (self.url_infos or {}).get(url)
        if path.suffix == ".gz" and published and url.endswith(".gz") and not self.TRAIN.images_md5:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != published.checksum:
                raise DatasetError(
                    f"{path}: expected SHA-256 {published.checksum}, found {found}: not {self.name}'s file"
                )

    def _unpack(self, paths: dict[str, Path], _: Path) -> dict[str, Path]:
        """Returns where the IDX files lie, from what was downloaded; they may be put into a folder."""
        return paths

    def _orient(self, dataset: Dataset) -> Dataset:
        """Brings images as they are published to how they are read."""
        return dataset


class Mnist(IdxBuilder):
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
    CLASS_NAMES = DIGITS
    ABOUT = "The MNIST database of handwritten digits, in 55,000 training, 5,000 validation and 10,000 test images."
    HOMEPAGE = "http://yann.lecun.com/exdb/mnist/"


# Named as MNIST's. Of their content no MD5 is published; downloads are checked by their SHA-256 all the same.
_TRAIN = IdxFiles("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", 60_000)
_TEST = IdxFiles("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", 10_000)


class FashionMnist(IdxBuilder):
    """Fashion-MNIST (Xiao, Rasul, Vollgraf, 2017): 60,000 + 10,000 articles of clothing."""

    name = "digitjax_fashion_mnist"
    URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
    TRAIN, TEST = _TRAIN, _TEST
    CLASS_NAMES = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip
    ABOUT = "Zalando's articles of clothing."
    HOMEPAGE = "https://github.com/zalandoresearch/fashion-mnist"


class Kmnist(IdxBuilder):
    """Kuzushiji-MNIST (Clanuwat et al., 2018): 60,000 + 10,000 cursive Japanese characters, ten of hiragana."""

    name = "digitjax_kmnist"
    URL = "http://codh.rois.ac.jp/kmnist/dataset/kmnist/"
    TRAIN, TEST = _TRAIN, _TEST
    CLASS_NAMES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    ABOUT = "Cursive hiragana from old Japanese books; classes by their Latin transcription."
    HOMEPAGE = "http://codh.rois.ac.jp/kmnist/index.html.en"


class EmnistBuilder(IdxBuilder):
    """A part of EMNIST (Cohen et al., 2017): characters from NIST's Special Database 19; all parts are one download."""

    URL = "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip"
    HOMEPAGE = "https://www.nist.gov/itl/products-and-services/emnist-dataset"

    @classmethod
    def download_urls(cls) -> dict[str, str]:
        """Returns the archive's address for each file."""
        return dict.fromkeys(super().download_urls(), cls.URL)

    def _unpack(self, paths: dict[str, Path], folder: Path) -> dict[str, Path]:
        unpacked = {}
        for name, path in paths.items():
            with zipfile.ZipFile(path) as archive:
                unpacked[name] = folder / name
                unpacked[name].write_bytes(archive.read(f"gzip/{name}"))
        return unpacked

    def _orient(self, dataset: Dataset) -> Dataset:
        # NIST's columns are our rows.
        return Dataset(np.ascontiguousarray(dataset.images.swapaxes(1, 2)), dataset.labels)


def _name_emnist_files(part: str, num_train: int, num_test: int) -> tuple[IdxFiles, IdxFiles]:
    names = [
        f"emnist-{part}-{split}-{kind}-ubyte.gz"
        for split in ("train", "test")
        for kind in ("images-idx3", "labels-idx1")
    ]
    return IdxFiles(names[0], names[1], num_train), IdxFiles(names[2], names[3], num_test)


_UPPER, _LOWER = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), tuple("abdefghnqrt")


class EmnistDigits(EmnistBuilder):
    """EMNIST Digits: 240,000 + 40,000, as many of each."""

    name = "digitjax_emnist_digits"
    TRAIN, TEST = _name_emnist_files("digits", 240_000, 40_000)
    CLASS_NAMES = DIGITS
    ABOUT = "Handwritten digits."


class EmnistLetters(EmnistBuilder):
    """EMNIST Letters: 124,800 + 20,800, a class a letter, capital or not."""

    name = "digitjax_emnist_letters"
    TRAIN, TEST = _name_emnist_files("letters", 124_800, 20_800)
    CLASS_NAMES = _UPPER
    FIRST_LABEL = 1
    ABOUT = "Handwritten letters; capital and small ones are one class."


class EmnistBalanced(EmnistBuilder):
    """EMNIST Balanced: 112,800 + 18,800 digits and letters, small ones apart where they look different."""

    name = "digitjax_emnist_balanced"
    TRAIN, TEST = _name_emnist_files("balanced", 112_800, 18_800)
    CLASS_NAMES = (*DIGITS, *_UPPER, *_LOWER)
    ABOUT = "Handwritten digits and letters, as many of each."


# ---------------------------------------------------------------- a folder of one's own

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
