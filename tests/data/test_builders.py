import dataclasses
import gzip
import struct
import zipfile
from unittest import mock

import numpy as np
import pytest
import tensorflow_datasets as tfds

from digitjax import config
from digitjax.data.arrays import DatasetError
from digitjax.data.prepare import UnreachableError
from digitjax.data.published import BUILDERS, IDX_DIR_VARIABLE, EmnistBalanced, EmnistBuilder, EmnistLetters, Kmnist
from digitjax.data.splits import load_splits
from digitjax.train import __main__ as train_command

# As published: classes, training and test images.
PUBLISHED = {
    "mnist": (10, 60_000, 10_000),
    "fashion_mnist": (10, 60_000, 10_000),
    "kmnist": (10, 60_000, 10_000),
    "emnist/digits": (10, 240_000, 40_000),
    "emnist/letters": (26, 124_800, 20_800),
    "emnist/balanced": (47, 112_800, 18_800),
}

# The ASCII codes of EMNIST Balanced's classes, from its file emnist-balanced-mapping.txt.
BALANCED_CODES = [*range(48, 58), *range(65, 91), 97, 98, 100, 101, 102, 103, 104, 110, 113, 114, 116]

NUM_TRAIN, NUM_TEST, NUM_VALIDATION = 80, 50, 30


def encode(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def make_small(monkeypatch, tmp_path):
    """Has a published data set shrink, and returns its files' contents with their images and labels."""

    def make(name):
        builder, rng = BUILDERS[name], np.random.default_rng(0)
        contents, arrays = {}, {}
        monkeypatch.setattr(builder, "NUM_VALIDATION", NUM_VALIDATION)
        for part, n in (("TRAIN", NUM_TRAIN), ("TEST", NUM_TEST)):
            files = dataclasses.replace(getattr(builder, part), num_examples=n, images_md5=None, labels_md5=None)
            monkeypatch.setattr(builder, part, files)
            images = rng.integers(0, 256, (n, 28, 28), np.uint8)
            labels = (np.arange(n) % PUBLISHED[name][0] + builder.FIRST_LABEL).astype(np.uint8)
            arrays[part] = (images, labels)
            contents |= {files.images: encode(images), files.labels: encode(labels)}
        return contents, arrays

    return make


def write_files(folder, contents):
    folder.mkdir()
    for name, content in contents.items():
        (folder / name.removesuffix(".gz")).write_bytes(content)
    return folder


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_and_checksums(name):
    num_classes, num_train, num_test = PUBLISHED[name]
    builder = BUILDERS[name]
    assert len(builder.CLASS_NAMES) == len(set(builder.CLASS_NAMES)) == num_classes
    assert (builder.TRAIN.num_examples, builder.TEST.num_examples) == (num_train, num_test)
    for url in builder.download_urls().values():
        assert builder.url_infos[url].size > 4000
        assert len(builder.url_infos[url].checksum) == 64


def test_every_name_has_its_builder():
    assert set(BUILDERS) == set(PUBLISHED) == set(config.DATASETS) - {"auto", "digits"}


def test_balanced_classes_are_in_the_published_order():
    assert [ord(name) for name in EmnistBalanced.CLASS_NAMES] == BALANCED_CODES


@pytest.mark.parametrize("name", PUBLISHED)
def test_files_become_splits(name, make_small, tmp_path):
    contents, arrays = make_small(name)
    splits = load_splits(name, tmp_path / "tfds", write_files(tmp_path / "idx", contents))
    assert splits.name == name
    assert splits.class_names == BUILDERS[name].CLASS_NAMES
    assert [len(part.labels) for part in splits.parts.values()] == [
        NUM_TRAIN - NUM_VALIDATION,
        NUM_VALIDATION,
        NUM_TEST,
    ]
    images, labels = arrays["TEST"]
    # NIST's files hold the columns of an image where others hold its rows.
    upright = np.stack([image.T for image in images]) if name.startswith("emnist") else images
    np.testing.assert_array_equal(splits.test.images[..., 0], upright)
    np.testing.assert_array_equal(splits.test.labels, labels.astype(int) - (name == "emnist/letters"))


def test_labels_of_letters_begin_with_1(make_small, tmp_path):
    contents, arrays = make_small("emnist/letters")
    labels = arrays["TEST"][1].copy()
    labels[3] = 0
    contents["emnist-letters-test-labels-idx1-ubyte.gz"] = encode(labels)
    with pytest.raises(DatasetError, match="labels from 1 to 26, found 0 at 3"):
        load_splits("emnist/letters", tmp_path / "tfds", write_files(tmp_path / "idx", contents))


def test_emnist_comes_in_one_archive(make_small, tmp_path, monkeypatch):
    contents, arrays = make_small("emnist/letters")
    archive = tmp_path / "gzip.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in contents.items():
            file.writestr(f"gzip/{name}", gzip.compress(content))
    downloads = mock.create_autospec(tfds.download.DownloadManager, instance=True)
    downloads.download.side_effect = lambda urls: dict.fromkeys(urls, str(archive))
    splits = EmnistLetters(data_dir=tmp_path / "tfds")._split_generators(downloads)
    (urls,) = downloads.download.call_args.args
    assert set(urls.values()) == {EmnistBuilder.URL}
    (_, first), *_ = splits["test"]
    np.testing.assert_array_equal(np.asarray(first["image"]), arrays["TEST"][0][0].T)


def test_another_data_sets_files_are_refused(make_small, tmp_path):
    contents, _ = make_small("fashion_mnist")  # called as MNIST's and KMNIST's are
    folder = tmp_path / "idx"
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(gzip.compress(content))
    with pytest.raises(DatasetError, match=r"train-images.*expected SHA-256 3aede38d6186.*not digitjax_fashion_mnist"):
        load_splits("fashion_mnist", tmp_path / "tfds", folder)


def test_the_variable_is_mnists_alone(make_small, tmp_path, monkeypatch):
    contents, _ = make_small("kmnist")
    monkeypatch.setenv(IDX_DIR_VARIABLE, str(write_files(tmp_path / "idx", contents)))
    monkeypatch.setattr(Kmnist, "URL", "http://127.0.0.1:1/")  # nobody listens there
    with pytest.raises(UnreachableError, match=r"kmnist is neither prepared.*with --idx-dir\.$"):
        load_splits("kmnist", tmp_path / "tfds")


def test_unknown_names_are_told(capsys):
    assert train_command.main(["--dataset", "mnits"]) == 2
    assert "dataset must be one of auto, mnist, digits" in capsys.readouterr().err
