"""A data set of one's own, from its folder of pictures to a model that names its classes."""

import hashlib
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from conftest import assert_same_trees
from PIL import Image, ImageDraw

from digitjax import evaluate
from digitjax.config import TrainConfig
from digitjax.data.arrays import DatasetError
from digitjax.data.folder import count_held_out
from digitjax.data.splits import load_splits
from digitjax.pictures.preprocess import preprocess_image
from digitjax.predict import Recognizer
from digitjax.predict import __main__ as predict_command
from digitjax.runs import weights
from digitjax.train import __main__ as train_command
from digitjax.train import loop
from digitjax.train.step import train_step


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


def draw_scrawl(_kind, rng):
    """A line like no other: no two end in the same 28x28."""
    paper = Image.new("L", (120, 120), 230)
    ImageDraw.Draw(paper).line([tuple(point) for point in rng.integers(15, 105, (5, 2)).tolist()], fill=20, width=6)
    return paper


def save_pictures(folder, draw):
    """Draws forty pictures of each kind."""
    rng = np.random.default_rng(0)
    for kind in KINDS:
        (folder / kind).mkdir(parents=True)
        for i in range(40):
            draw(kind, rng).save(folder / kind / f"{i:02}.png")
    return folder


@pytest.fixture
def signs(tmp_path):
    return save_pictures(tmp_path / "signs", draw_sign)


@pytest.fixture
def scrawls(tmp_path):
    return save_pictures(tmp_path / "scrawls", draw_scrawl)


def find_parts(folder, tmp_path):
    """The part in which each picture's 28x28 landed."""
    splits = load_splits(f"folder:{folder}", tmp_path / "tfds")
    return {image.tobytes(): name for name, part in splits.parts.items() for image in part.images}


def test_a_folder_becomes_splits_by_the_pictures_hashes(scrawls, tmp_path):
    splits = load_splits(f"folder:{scrawls}", tmp_path / "tfds")
    assert splits.class_names == KINDS
    parts = find_parts(scrawls, tmp_path)
    for label, kind in enumerate(KINDS):
        for path in (scrawls / kind).iterdir():
            share = int(hashlib.sha256(path.read_bytes()).hexdigest()[:8], 16) / 2**32
            part = "test" if share < 0.1 else "validation" if share < 0.2 else "train"
            assert parts.pop(preprocess_image(path).canonical.tobytes()) == part
        assert all(label in part.labels for part in splits.parts.values())
    assert not parts  # each picture once, as prediction would prepare it
    # Mixed: blocks of the training images hold all classes.
    assert all(set(labels) == {0, 1, 2} for labels in np.array_split(splits.train.labels, 5))


@pytest.mark.parametrize("n", [3, 4, 10, 300])
def test_every_part_gets_some_of_a_class_however_small(n):
    for seed in range(200):
        digests = sorted(hashlib.sha256(f"{seed} {i}".encode()).hexdigest() for i in range(n))
        test, validation = count_held_out(digests)
        assert min(test, validation, n - test - validation) >= 1
        if n == 300:
            assert 10 <= test <= 55
            assert 10 <= validation <= 55


def test_a_changed_folder_is_prepared_anew_and_no_picture_changes_its_part(scrawls, tmp_path):
    before = find_parts(scrawls, tmp_path)
    rng = np.random.default_rng(1)
    for i in range(40, 60):
        draw_scrawl("bar", rng).save(scrawls / "bar" / f"{i}.png")
    shutil.copy(scrawls / "bar" / "00.png", scrawls / "bar" / "copy.png")
    after = find_parts(scrawls, tmp_path)
    assert len(after) == len(before) + 20  # the copy went where its original is
    assert {image: after[image] for image in before} == before
    (scrawls / "ring" / "00.png").unlink()
    assert len(find_parts(scrawls, tmp_path)) == len(after) - 1
    prepared = [path.name for path in (tmp_path / "tfds" / "digitjax_folder").iterdir() if "-" in path.name]
    assert len(prepared) == 1  # what was prepared before is gone


def test_a_folder_that_moved_or_was_touched_is_the_same(signs, tmp_path):
    first = load_splits(f"folder:{signs}", tmp_path / "tfds")
    (signs / "bar" / "00.png").rename(signs / "bar" / "zz.png")
    signs.rename(tmp_path / "moved")
    again = load_splits(f"folder:{tmp_path / 'moved'}", tmp_path / "tfds")
    assert again.class_hashes == first.class_hashes
    assert_same_trees([tuple(part) for part in again.parts.values()], [tuple(part) for part in first.parts.values()])


def test_pictures_that_cant_be_used_are_left_out_and_named(signs, tmp_path, caplog):
    (signs / "ring" / "broken.png").write_bytes(b"x")
    Image.new("L", (50, 50), 255).save(signs / "ring" / "blank.png")
    splits = load_splits(f"folder:{signs}", tmp_path / "tfds")
    assert sum(len(part.labels) for part in splits.parts.values()) == 120
    left_out = sorted(record.message for record in caplog.records if "left out" in record.message)
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
    with pytest.raises(DatasetError, match=r"bar: must hold at least 3 pictures, found 2"):
        load_splits(f"folder:{signs}", tmp_path / "tfds")
    (signs / "bar" / "broken.png").write_bytes(b"x")
    with pytest.raises(DatasetError, match=r"'bar': only 2 of its 3 pictures can be used"):
        load_splits(f"folder:{signs}", tmp_path / "tfds")


def test_a_model_of_ones_own_classes_names_them(signs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["--dataset", f"folder:{signs}", "--data-dir", str(tmp_path / "tfds"), "--model", "mlp"]
    assert train_command.main([*arguments, "--epochs", "40", "--batch-size", "32"]) == 0
    run = Path("checkpoints/folder-signs-mlp")
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
    assert "column label: must be one of bar, cross, ring, found 'stick'" in capsys.readouterr().err

    folders = ["--data-dir", str(tmp_path / "tfds")]
    assert evaluate.main([str(run), *folders]) == 0
    (run / "calibration.json").unlink()  # as if it had been stopped
    weights.seal_model(run)
    draw_sign("ring", rng).save(signs / "ring" / "new.png")
    capsys.readouterr()
    for main, arguments in ((evaluate.main, [str(run)]), (train_command.main, ["--resume", "--out", str(run)])):
        assert main([*arguments, *folders]) == 2
        assert "the pictures of class 'ring' have changed since the run was started" in capsys.readouterr().err
    (signs / "ring" / "new.png").unlink()
    assert train_command.main(["--resume", "--out", str(run), *folders]) == 0

    moved = signs.rename(tmp_path / "moved")  # the same pictures, so the run may go on with them
    (run / "calibration.json").unlink()
    arguments = ["--resume", "--out", str(run), *folders]
    assert train_command.main([*arguments, "--dataset", f"folder:{moved}"]) == 0
    assert train_command.main(arguments) == 2
    assert "signs: is not a folder" in capsys.readouterr().err
    moved.rename(signs)

    shutil.rmtree(signs / "bar")
    assert evaluate.main([str(run), "--data-dir", str(tmp_path / "tfds")]) == 2
    assert "holds the classes cross, ring, and the run was started with bar, cross, ring" in capsys.readouterr().err


def test_folders_have_runs_of_their_own(tmp_path, monkeypatch):
    """Not those of a published data set of that name, nor one without a name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    for dataset in ("folder:mnist", f"folder:{tmp_path / 'mnist'}", "folder:mnist/../mnist/"):
        config = TrainConfig(dataset=dataset)
        assert train_command._default_folder(config) == Path("checkpoints/folder-mnist-default")
    monkeypatch.chdir(tmp_path / "mnist")
    assert train_command._default_folder(TrainConfig(dataset="folder:.")) == Path("checkpoints/folder-mnist-default")


# ---------------------------------------------------------------- shapes of data

TEN = [str(digit) for digit in range(10)]

# How many pictures each class has. Ten digits get drawn ones beside them, from block to block of some 4,000 pictures.
SHAPES = {
    "two classes": {"no": 15, "yes": 15},
    "one class of three": {"a": 40, "b": 3, "c": 40},
    "three of each digit": dict.fromkeys(TEN, 3),
    "twelve classes": dict.fromkeys([*TEN, "minus", "größer als"], 20),
}
LARGE_SHAPES = {
    "a thousand of each digit": dict.fromkeys(TEN, 1000),
    "three thousand of each digit": dict.fromkeys(TEN, 3000),
    "hardly any zeros and sevens": {**dict.fromkeys(TEN, 900), "0": 3, "7": 4},
    "one digit above all": {**dict.fromkeys(TEN, 5), "1": 9000},
    "two uneven classes": {"many": 9000, "few": 3},
    "eleven classes": dict.fromkeys([*TEN, "none"], 500),
}


@pytest.mark.parametrize("shape", [*SHAPES, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE_SHAPES)])
def test_data_of_any_shape_trains_stops_goes_on_and_is_evaluated(shape, digits, tmp_path, monkeypatch):
    counts = (SHAPES | LARGE_SHAPES)[shape]
    rng = np.random.default_rng(0)
    for label, (class_name, count) in enumerate(counts.items()):
        (tmp_path / "pictures" / class_name).mkdir(parents=True)
        images = digits.train.images[digits.train.labels == label % 10]
        for i in range(count):
            paper = 255 - np.pad(images[rng.integers(len(images)), ..., 0], 4)
            paper[0, 0] -= rng.integers(20)  # no two files alike
            paper[0, 1] -= rng.integers(20)
            Image.fromarray(paper).save(tmp_path / "pictures" / class_name / f"{i}.png", compress_level=1)
    out, folders = str(tmp_path / "run"), ["--data-dir", str(tmp_path / "tfds")]
    stops = iter([False, True])  # in the second step

    def stopping_step(*args, **options):
        if next(stops, False):
            os.kill(os.getpid(), signal.SIGINT)
        return train_step(*args, **options)

    monkeypatch.setattr(loop, "train_step", stopping_step)
    arguments = ["--dataset", f"folder:{tmp_path / 'pictures'}", "--model", "mlp", "--epochs", "3"]
    assert train_command.main([*arguments, "--batch-size", "16", "--out", out, *folders]) == 130
    assert train_command.main(["--resume", "--out", out, *folders]) == 0
    assert evaluate.main([out, *folders]) == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    assert report["per_class"].keys() == counts.keys()
    assert all(scores["support"] >= 1 for scores in report["per_class"].values())
    assert (report["rejection"] is not None) == (list(counts) == TEN)
