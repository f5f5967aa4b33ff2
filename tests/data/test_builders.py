import dataclasses
import gzip
import json
import shutil
import struct
import zipfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image, ImageDraw

from digitjax import config, evaluate
from digitjax.data.arrays import DatasetError
from digitjax.data.published import BUILDERS, EmnistBalanced, EmnistBuilder, EmnistLetters, Kmnist
from digitjax.data.splits import IDX_DIR_VARIABLE, UnreachableError, load_splits
from digitjax.pictures.preprocess import preprocess_image
from digitjax.predict import Recognizer
from digitjax.predict import __main__ as predict_command
from digitjax.runs import weights
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
    assert [len(part.labels) for part in splits[2:]] == [NUM_TRAIN - NUM_VALIDATION, NUM_VALIDATION, NUM_TEST]
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


# ---------------------------------------------------------------- a folder of one's own


def draw_sign(kind, rng):
    """A sign on paper: a ring, a cross or a bar, anywhere and of any size."""
    paper = Image.new("L", (120, 120), int(rng.integers(200, 256)))
    pen = ImageDraw.Draw(paper)
    x, y, size = *rng.integers(40, 80, 2).tolist(), int(rng.integers(18, 35))
    if kind == "ring":
        pen.ellipse((x - size, y - size, x + size, y + size), outline=20, width=6)
    else:
        pen.line((x, y - size, x, y + size), fill=20, width=7)
    if kind == "cross":
        pen.line((x - size, y, x + size, y), fill=20, width=7)
    return paper


KINDS = ("bar", "cross", "ring")


@pytest.fixture
def signs(tmp_path):
    rng = np.random.default_rng(0)
    for kind in KINDS:
        (tmp_path / "signs" / kind).mkdir(parents=True)
        for i in range(40):
            draw_sign(kind, rng).save(tmp_path / "signs" / kind / f"{i:02}.png")
    return tmp_path / "signs"


def test_a_folder_becomes_splits(signs, tmp_path):
    splits = load_splits(f"folder:{signs}", tmp_path / "tfds")
    assert splits.class_names == KINDS
    for part, n in ((splits.train, 32), (splits.validation, 4), (splits.test, 4)):
        assert np.bincount(part.labels).tolist() == [n, n, n]
    # Each picture once, as prediction would prepare it.
    seen = {image.tobytes() for part in splits[2:] for image in part.images}
    assert seen == {preprocess_image(path).canonical.tobytes() for path in signs.rglob("*.png")}


def test_a_changed_folder_is_prepared_anew(signs, tmp_path):
    def count():
        return sum(len(part.labels) for part in load_splits(f"folder:{signs}", tmp_path / "tfds")[2:])

    assert count() == 120
    (signs / "bar" / "00.png").unlink()
    assert count() == 119


def test_pictures_that_cant_be_used_are_left_out_and_named(signs, tmp_path, caplog):
    (signs / "ring" / "broken.png").write_bytes(b"x")
    Image.new("L", (50, 50), 255).save(signs / "ring" / "blank.png")
    splits = load_splits(f"folder:{signs}", tmp_path / "tfds")
    assert sum(len(part.labels) for part in splits[2:]) == 120
    left_out = [record.message for record in caplog.records if "left out" in record.message]
    assert len(left_out) == 2
    assert "blank.png is blank" in left_out[0]
    assert "broken.png" in left_out[1]


def test_folders_that_hold_no_classes_are_told(signs, tmp_path):
    with pytest.raises(DatasetError, match="nowhere: is not a folder"):
        load_splits(f"folder:{tmp_path / 'nowhere'}", tmp_path / "tfds")
    with pytest.raises(DatasetError, match="two or more classes, found 0"):
        load_splits(f"folder:{signs / 'bar'}", tmp_path / "tfds")
    for path in list((signs / "bar").iterdir())[2:]:
        path.unlink()
    with pytest.raises(DatasetError, match=r"bar: 3 pictures are the least, found 2"):
        load_splits(f"folder:{signs}", tmp_path / "tfds")
    (signs / "bar" / "broken.png").write_bytes(b"x")
    with pytest.raises(DatasetError, match=r"'bar': only 2 of its 3 pictures can be used"):
        load_splits(f"folder:{signs}", tmp_path / "tfds")


def test_a_model_of_ones_own_classes_names_them(signs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["--dataset", f"folder:{signs}", "--data-dir", str(tmp_path / "tfds"), "--model", "mlp"]
    assert train_command.main([*arguments, "--epochs", "40", "--batch-size", "32"]) == 0
    run = Path("checkpoints/signs-mlp")
    assert weights.load_config(run).class_names == KINDS
    assert json.loads((run / "report.json").read_text())["per_class"].keys() == set(KINDS)
    capsys.readouterr()

    rng = np.random.default_rng(1)
    for kind in KINDS:
        draw_sign(kind, rng).save(f"{kind}.png")
    assert predict_command.main(["--checkpoint", str(run), "--format", "json", *(f"{kind}.png" for kind in KINDS)]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["label"] for answer in answers] == list(KINDS)
    assert [(answer["digit"], len(answer["probabilities"])) for answer in answers] == [(None, 3)] * 3
    assert predict_command.main(["--checkpoint", str(run), "--show", "shown.png", "ring.png"]) == 0
    assert capsys.readouterr().out.startswith("ring.png: ring (")
    recognizer = Recognizer.load(run)
    two = Image.new("L", (260, 120), 255)
    two.paste(draw_sign("ring", rng), (0, 0))
    two.paste(draw_sign("ring", rng), (140, 0))
    assert recognizer.read(two).text == "ringring"

    Path("labels.csv").write_text("file,label\nbar.png,bar\nring.png,cross\n")
    assert evaluate.main([str(run), "--images", "labels.csv", "--out", "measured"]) == 0
    assert json.loads(Path("measured/report.json").read_text())["accuracy"] == 0.5
    Path("labels.csv").write_text("file,label\nbar.png,stick\n")
    assert evaluate.main([str(run), "--images", "labels.csv"]) == 2
    assert "label must be one of bar, cross, ring, found 'stick'" in capsys.readouterr().err

    shutil.rmtree(signs / "bar")
    assert evaluate.main([str(run), "--data-dir", str(tmp_path / "tfds")]) == 2
    assert "holds the classes cross, ring, and the model knows bar, cross, ring" in capsys.readouterr().err
