"""The published data sets, a few lines each: where their files are, how many examples they hold, their classes."""

import zipfile
from pathlib import Path

import numpy as np

from digitjax.config import DIGITS
from digitjax.data.arrays import Dataset
from digitjax.data.builders import IdxBuilder
from digitjax.data.idx import IdxFiles

IDX_DIR_VARIABLE = "DIGITJAX_IDX_DIR"


class Mnist(IdxBuilder):
    """MNIST (LeCun, Cortes, Burges, 1998): 60,000 + 10,000 digits by about 500 writers."""

    name = "digitjax_mnist"  # TFDS has its own `mnist`, which can't be prepared without TensorFlow
    URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"
    BY_HAND = f"{IdxBuilder.BY_HAND} or {IDX_DIR_VARIABLE}"
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


# Named like MNIST's. No MD5 of their content is published, but downloads are still checked by SHA-256.
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
    """Kuzushiji-MNIST (Clanuwat et al., 2018): 60,000 + 10,000 cursive Japanese characters, ten hiragana."""

    name = "digitjax_kmnist"
    URL = "http://codh.rois.ac.jp/kmnist/dataset/kmnist/"
    TRAIN, TEST = _TRAIN, _TEST
    CLASS_NAMES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    ABOUT = "Cursive hiragana from old Japanese books; classes by their Latin transcription."
    HOMEPAGE = "http://codh.rois.ac.jp/kmnist/index.html.en"


class EmnistBuilder(IdxBuilder):
    """A part of EMNIST (Cohen et al., 2017): characters from NIST's Special Database 19; one download has all parts."""

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
    """EMNIST Digits: 240,000 + 40,000 digits, equally many of each."""

    name = "digitjax_emnist_digits"
    TRAIN, TEST = _name_emnist_files("digits", 240_000, 40_000)
    CLASS_NAMES = DIGITS
    ABOUT = "Handwritten digits."


class EmnistLetters(EmnistBuilder):
    """EMNIST Letters: 124,800 + 20,800 letters, one class per letter, whether capital or small."""

    name = "digitjax_emnist_letters"
    TRAIN, TEST = _name_emnist_files("letters", 124_800, 20_800)
    CLASS_NAMES = _UPPER
    FIRST_LABEL = 1
    ABOUT = "Handwritten letters; capital and small ones are one class."


class EmnistBalanced(EmnistBuilder):
    """EMNIST Balanced: 112,800 + 18,800 digits and letters; small ones are separate where they look different."""

    name = "digitjax_emnist_balanced"
    TRAIN, TEST = _name_emnist_files("balanced", 112_800, 18_800)
    CLASS_NAMES = (*DIGITS, *_UPPER, *_LOWER)
    ABOUT = "Handwritten digits and letters, as many of each."


BUILDERS: dict[str, type[IdxBuilder]] = {
    "mnist": Mnist,
    "fashion_mnist": FashionMnist,
    "kmnist": Kmnist,
    "emnist/digits": EmnistDigits,
    "emnist/letters": EmnistLetters,
    "emnist/balanced": EmnistBalanced,
}
"""The builders by their names for `--dataset`."""
