"""Tiny files in the formats of UNIPEN, Optdigits, Semeion and Omniglot, and what is read from them."""

import gzip
import zipfile

import numpy as np
import pytest
from conftest import write_semeion
from PIL import Image

from digitjax.data.arrays import DatasetError
from digitjax.data.extra import FOLDS, Omniglot, assign_folds, load_extra
from digitjax.data.unipen import read_characters

PEN_DATA = """.VERSION 1.0
.COMMENT the next lines are none of its strokes
1 1
.COORD X Y T
.WRITER_ID w7
.PEN_DOWN
 10 20 0
 11 22 5
.PEN_UP
.PEN_DOWN
 30 40
 31 41
 32 42
 33 43
.PEN_UP
 33 50
.PEN_DOWN
 50 60
.DT 100
"""


def write_unipen(folder, segments, pen_data=PEN_DATA, category="1a"):
    root = folder / "train_r01_v07"
    data, include = root / "data" / category / "abc" / "deep", root / "include" / "abc"
    for path in (data, include):
        path.mkdir(parents=True, exist_ok=True)
    (include / "pens.dat").write_text(pen_data, "latin-1")
    lines = [f'.SEGMENT CHARACTER {span} ? "{text}"' for span, text in segments]
    text = "\n".join([".INCLUDE abc/missing.doc", ".INCLUDE abc/pens.dat", *lines])
    (data / "words.dat").write_text(text, "latin-1")
    return root


def list_strokes(character):
    return [stroke.tolist() for stroke in character.strokes]


def test_spans_name_strokes_and_points(tmp_path):
    """Empty components don't count where the numbers fit the others: 0 and 1 are down, 2 is up, 3 is a point."""
    root = write_unipen(tmp_path, [("0", "4"), ("1:1-1:2", "7"), ("0-1", "5"), ("0,3", "i"), ("2", "-")])
    four, seven, five, i = read_characters(root)  # the last has no ink
    assert list_strokes(four) == [[[10, -20], [11, -22]]]
    assert list_strokes(seven) == [[[31, -41], [32, -42]]]
    assert list_strokes(five) == [[[10, -20], [11, -22]], [[30, -40], [31, -41], [32, -42], [33, -43]]]
    assert list_strokes(i) == [[[10, -20], [11, -22]], [[50, -60]]]
    assert (four.text, four.donor, four.writer, four.category) == ("4", "abc", "abc/w7", "1a")


def test_empty_components_count_where_the_numbers_need_them(tmp_path):
    root = write_unipen(tmp_path, [("0", "1"), ("4", ".")])
    one, dot = read_characters(root)
    assert list_strokes(one) == [[[10, -20], [11, -22]]]
    assert list_strokes(dot) == [[[50, -60]]]


def test_labels_are_unescaped(tmp_path):
    root = write_unipen(tmp_path, [("0", r"\""), ("1", r"\\"), ("0", "\xe9")], category="1d")
    assert [character.text for character in read_characters(root)] == ['"', "\\", "\xe9"]


@pytest.mark.parametrize("span", ["9", "0-9", "x", "1;2"])
def test_wrong_spans_are_named(span, tmp_path):
    root = write_unipen(tmp_path, [(span, "1")])
    with pytest.raises(DatasetError, match=rf"words\.dat: has no strokes '{span}'"):
        list(read_characters(root))


def test_damaged_pen_data_is_named(tmp_path):
    root = write_unipen(tmp_path, [("0", "1")], pen_data=".PEN_DOWN\n10 20\n11\n")
    with pytest.raises(DatasetError, match=r"pens\.dat: below \.PEN_DOWN there must be points x y"):
        list(read_characters(root))


def test_a_folder_without_characters_is_named(tmp_path):
    (tmp_path / "train_r01_v07" / "data" / "7").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"train_r01_v07: holds no isolated characters"):
        load_extra(["unipen"], tmp_path / "tfds", tmp_path)


def write_optdigits(folder, name, labels, header=""):
    bitmap = np.zeros((32, 32), int)
    bitmap[4:-4, 14:18] = 1
    text = header + "".join("\n".join("".join(map(str, row)) for row in bitmap) + f"\n {label}\n" for label in labels)
    (folder / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())


def write_omniglot(folder, num_drawers):
    for number, alphabets in ((1, ("Greek", "Korean")), (2, ("Greek", "Tagalog"))):
        with zipfile.ZipFile(folder / f"images_background_small{number}.zip", "w") as archive:
            for alphabet in alphabets:
                for drawer in range(num_drawers):
                    image = Image.new("1", (105, 105), 1)
                    for y in range(20, 90):
                        image.putpixel((30 + drawer, y), 0)
                    with archive.open(
                        f"images_background_small{number}/{alphabet}/character01/0001_{drawer + 1:02}.png", "w"
                    ) as file:
                        image.save(file, "PNG")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "sources"
    (folder / "uci").mkdir(parents=True)
    write_unipen(folder, [("0", "4"), ("1", "A")])
    write_optdigits(folder / "uci", "optdigits-orig.tra.gz", [3, 8, 1], header="a header\nof 2 lines, 32 01\n")
    write_optdigits(folder / "uci", "optdigits-orig.cv", [5])
    write_optdigits(folder / "uci", "optdigits-orig.windep", [9])
    write_semeion(folder / "uci")
    write_omniglot(folder, 6)
    return folder


def test_every_format_is_read(folder, tmp_path):
    def load(name):
        shown, held_out = load_extra([name], tmp_path / "tfds", folder, fold=0)
        return [*shown, *held_out]

    four, a = load("unipen")
    assert (four.text, a.text) == ("4", "A")
    assert [stroke.tolist() for stroke in four.ink] == [[[10, -20], [11, -22]]]
    assert sorted(character.text for character in load("optdigits")) == ["1", "3", "5", "8"]  # not windep's 9
    semeion = sorted(int(character.text) for character in load("semeion"))
    assert semeion == sorted(write_semeion(folder / "uci"))
    omniglot = load("omniglot")
    assert len(omniglot) == 3 * 6  # both archives hold the same Greek
    for character in omniglot:
        rows = np.flatnonzero(character.ink.any(axis=1))
        assert np.ptp(rows) + 1 == 20  # in MNIST's form
        assert character.ink.max() == 255


def test_a_missing_folder_is_named_even_where_a_copy_was_prepared(folder, tmp_path):
    load_extra(["semeion"], tmp_path / "tfds", folder)
    with pytest.raises(DatasetError, match=r"nowhere: is not a folder; .* semeion\.data"):
        load_extra(["semeion"], tmp_path / "tfds", tmp_path / "nowhere")


def test_a_prepared_copy_needs_no_files(folder, tmp_path):
    first = load_extra(["semeion"], tmp_path / "tfds", folder)
    again = load_extra(["semeion"], tmp_path / "tfds")
    for one, other in zip(first, again, strict=True):
        assert [character.text for character in one] == [character.text for character in other]


def test_every_example_is_held_out_once(folder, tmp_path):
    names = ["optdigits", "semeion", "omniglot"]
    pairs = [load_extra(names, tmp_path / "tfds", folder, fold=fold) for fold in range(FOLDS)]
    assert {len(shown) + len(held_out) for shown, held_out in pairs} == {4 + 1000 + 18}
    assert sum(len(held_out) for _, held_out in pairs) == 4 + 1000 + 18


def test_groups_stay_whole():
    groups = [f"writer {i}" for i in range(17) for _ in range(i + 1)]
    np.random.default_rng(0).shuffle(groups)
    folds = assign_folds(groups)
    assert {len(set(folds[np.array(groups) == group])) for group in groups} == {1}
    assert set(folds) == set(range(FOLDS))
    assert folds[groups.index("writer 16")] == FOLDS - 1  # the largest


@pytest.mark.parametrize("name", ["unipen", "optdigits", "semeion"])
def test_without_files_the_error_says_where_they_are(name, tmp_path):
    with pytest.raises(DatasetError, match=rf"{name} can't be downloaded.*https://.*--extra-dir"):
        load_extra([name], tmp_path / "tfds")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"empty: holds no .*https://.*--extra-dir"):
        load_extra([name], tmp_path / "tfds", tmp_path / "empty")


def test_omniglot_is_downloaded_where_it_isnt_in_the_folder(tmp_path):
    builder = Omniglot(data_dir=tmp_path, folder=tmp_path)
    assert builder.downloads
    for url in builder.download_urls().values():
        assert len(builder.url_infos[url].checksum) == 64


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("optdigits", "optdigits-orig.tra", b"0101", "holds no bitmaps"),
        ("optdigits", "optdigits-orig.tra.Z", b"\x1f\x9d\x90", "gzip -d"),
        ("semeion", "semeion.data", b"1 2 3\n", "266 numbers a line"),
        ("omniglot", "images_background_small1.zip", b"PK", "not a zip"),
    ],
)
def test_broken_files_are_named(name, file, content, message, tmp_path):
    write_omniglot(tmp_path, 1)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DatasetError, match=rf"{file}: .*{message}"):
        load_extra([name], tmp_path / "tfds", tmp_path)
