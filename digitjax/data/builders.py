"""The common code of our TFDS builders; none of them needs TensorFlow.

A builder prepares its data once, in TFDS's folder, and reads it from there afterwards.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from digitjax.config import SIZE
from digitjax.data.arrays import Dataset, DatasetError
from digitjax.data.idx import IdxFiles, find_idx_files, require_folder


class _Info(tfds.core.DatasetInfo):
    """TFDS's information about a data set, without asking its server, which doesn't have ours."""

    def initialize_from_bucket(self) -> None:
        """Does nothing; TFDS's own version leaves an empty temporary folder behind each time."""


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A data set, kept as array records in the published order."""

    VERSION = tfds.core.Version("1.0.0")

    ABOUT: str
    HOMEPAGE: ClassVar[str | None] = None

    # The input and target features, for when TFDS is asked for pairs.
    SUPERVISED_KEYS: ClassVar[tuple[str, str] | None] = None

    # Where the published files can be downloaded, and what users can do instead.
    URL: ClassVar[str]
    BY_HAND: ClassVar[str]

    # Whether preparing needs the network.
    downloads: bool = False

    def __init_subclass__(cls, **options: Any) -> None:
        """Keeps TFDS from listing subclasses among its own data sets."""
        super().__init_subclass__(skip_registration=True, **options)

    def __init__(self, **options: Any) -> None:
        """Takes TFDS's options, such as `data_dir`."""
        super().__init__(file_format="array_record", **options)

    @classmethod
    def download_urls(cls) -> dict[str, str]:
        """Returns the URLs to download, by the name of the file that each is or contains."""
        raise NotImplementedError

    def _list_features(self) -> dict[str, Any]:
        """Returns the features of an example, by name."""
        raise NotImplementedError

    def _info(self) -> tfds.core.DatasetInfo:
        return _Info(
            builder=self,
            description=self.ABOUT,
            homepage=self.HOMEPAGE,
            features=tfds.features.FeaturesDict(self._list_features()),
            supervised_keys=self.SUPERVISED_KEYS,
            disable_shuffling=True,  # the published order, so that test digit 247 is everybody's test digit 247
        )


class ImageBuilder(Builder):
    """Images of 28x28 with labels, in the splits `train`, `validation` and `test`."""

    SUPERVISED_KEYS = ("image", "label")
    CLASS_NAMES: tuple[str, ...]
    class_hashes: tuple[str, ...] = ()  # see `TrainConfig.class_hashes`

    def _list_features(self) -> dict[str, Any]:
        return {
            "image": tfds.features.Image(shape=(SIZE, SIZE, 1), dtype=np.uint8),
            "label": tfds.features.ClassLabel(names=self.CLASS_NAMES),
        }

    def _generate_examples(self, dataset: Dataset) -> Iterator[tuple[int, dict[str, Any]]]:
        for i, (image, label) in enumerate(zip(*dataset, strict=True)):
            # TFDS encodes arrays with TensorFlow, but PIL images without it.
            yield i, {"image": Image.fromarray(image[..., 0]), "label": int(label)}


# ---------------------------------------------------------------- published as IDX files


class IdxBuilder(ImageBuilder):
    """A data set published as four IDX files.

    A subclass names the files; the sizes and SHA-256 of the downloads are in `checksums.tsv`, as TFDS requires.
    Splits: `test` is the published one, `validation` is drawn from the published training files, `train` is the rest.
    """

    BY_HAND = "put its four IDX files into a folder and give it with --idx-dir"
    TRAIN: ClassVar[IdxFiles]
    TEST: ClassVar[IdxFiles]
    NUM_VALIDATION: ClassVar[int] = 5_000

    # For RandomState, whose stream NumPy guarantees for ever; default_rng's may change with a release.
    SPLIT_SEED = 0

    # The label of the first class in the files.
    FIRST_LABEL: ClassVar[int] = 0

    def __init__(self, *, idx_dir: Path | None = None, **options: Any) -> None:
        """Takes the files from `idx_dir` when the data is prepared, or downloads them if that is None.

        Raises:
          DatasetError: The folder or a file of it is missing, even if the data was prepared before.
        """
        self._paths = find_idx_files(idx_dir, list(self.download_urls())) if idx_dir else {}
        self.downloads = idx_dir is None
        super().__init__(**options)

    @classmethod
    def download_urls(cls) -> dict[str, str]:  # noqa: D102 - as inherited
        return {name: cls.URL + name for files in (cls.TRAIN, cls.TEST) for name in (files.images, files.labels)}

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[Any]]:
        urls = self.download_urls()
        with tempfile.TemporaryDirectory() as temp:
            if self.downloads:
                downloaded = {name: Path(path) for name, path in dl_manager.download(urls).items()}
                paths = self._unpack(downloaded, Path(temp))
            else:
                paths = self._paths
                for name, path in paths.items():
                    self._require_published(path, urls[name])
            train, test = (
                self._orient(files.read(paths, len(self.CLASS_NAMES), self.FIRST_LABEL))
                for files in (self.TRAIN, self.TEST)
            )
        order = np.random.RandomState(self.SPLIT_SEED).permutation(len(train.labels))
        validation, rest = np.sort(order[: self.NUM_VALIDATION]), np.sort(order[self.NUM_VALIDATION :])
        return {
            "train": self._generate_examples(train.take(rest)),
            "validation": self._generate_examples(train.take(validation)),
            "test": self._generate_examples(test),
        }

    def _require_published(self, path: Path, url: str) -> None:
        """Rejects a gzipped file in a user's folder that isn't the published one: its name proves nothing.

        MNIST's own files may be recompressed, since the MD5 of their content is known.
        """
        published = (self.url_infos or {}).get(url)
        if path.suffix == ".gz" and published and url.endswith(".gz") and not self.TRAIN.images_md5:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != published.checksum:
                raise DatasetError(
                    f"{path}: expected SHA-256 {published.checksum}, found {found}: not {self.name}'s file"
                )

    def _unpack(self, paths: dict[str, Path], _: Path) -> dict[str, Path]:
        """Returns the paths of the IDX files, given the downloads; may unpack them into the folder."""
        return paths

    def _orient(self, dataset: Dataset) -> Dataset:
        """Brings published images into reading orientation."""
        return dataset


# ---------------------------------------------------------------- additional training data


class ExtraBuilder(Builder):
    """A data set that training shows in addition to another, all of it in the split `train`.

    Each example has a `text`, such as "7" or "a", and a `group`: its writer, as far as that is known. Examples are held
    out by whole groups.
    """

    URL = ""  # empty: no program can download it

    # The files or folders to read, by their published names, perhaps gzipped; `*` stands for anything.
    FILES: ClassVar[tuple[str, ...]]

    def __init__(self, *, folder: Path | None = None, **options: Any) -> None:
        """Takes the files from `folder` when the data is prepared, or downloads them if possible.

        Raises:
          DatasetError: The folder is missing, even if the data was prepared before.
        """
        if folder:
            require_folder(folder, self.FILES)
        self._folder = folder
        self._found = {name: _find_files(folder, name) if folder else [] for name in self.FILES}
        self.downloads = bool(self.URL) and not all(self._found.values())
        super().__init__(**options)

    @classmethod
    def download_urls(cls) -> dict[str, str]:  # noqa: D102 - as inherited
        return {name: cls.URL + name for name in cls.FILES}

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[Any]]:
        if self.downloads:
            paths = [Path(path) for path in dl_manager.download(self.download_urls()).values()]
        elif self._folder is None:
            raise DatasetError(f"{self.name} can't be downloaded by a program: {self.BY_HAND}")
        elif missing := [name for name, files in self._found.items() if not files]:
            raise DatasetError(f"{self._folder}: holds no {missing[0]}: {self.BY_HAND}")
        else:
            paths = [path for files in self._found.values() for path in files]
        return {"train": self._generate_examples(paths)}

    def _generate_examples(self, paths: list[Path]) -> Iterator[tuple[int, dict[str, Any]]]:
        yield from enumerate(self._read(paths))

    def _read(self, paths: list[Path]) -> Iterator[dict[str, Any]]:
        """Reads the published files."""
        raise NotImplementedError


def _find_files(folder: Path, name: str) -> list[Path]:
    """Finds files by name: the folder itself, or files in it or one level deeper."""
    own = [folder] if folder.match(name) else []
    return own + sorted(path for part in ("", "*/") for path in folder.glob(part + name))


class ExtraImageBuilder(ExtraBuilder):
    """Images of single characters."""

    def _list_features(self) -> dict[str, Any]:
        return {
            "image": tfds.features.Image(shape=(SIZE, SIZE, 1), dtype=np.uint8),
            "text": tfds.features.Text(),
            "group": tfds.features.Text(),
        }
