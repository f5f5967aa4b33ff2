import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from digitjax.pictures.segment import find_rows
from digitjax.predict import __main__ as command

# Digits as pens draw them, in a box that is 60 wide and 100 high.
STROKES = {
    "0": [[(30, 0), (8, 20), (2, 50), (10, 82), (30, 100), (50, 82), (58, 50), (52, 20), (30, 0)]],
    "1": [[(30, 0), (30, 100)]],
    "2": [[(6, 22), (20, 2), (44, 4), (54, 24), (42, 52), (4, 98), (58, 98)]],
    "3": [[(6, 6), (36, 0), (54, 16), (46, 40), (24, 48), (50, 54), (58, 76), (40, 98), (4, 94)]],
    "4": [[(40, 0), (4, 62), (60, 62)], [(42, 30), (42, 100)]],
    "7": [[(4, 2), (58, 2), (24, 100)]],
}


def draw(rows, *, pen=7, gap=35, row_gap=70, margin=60, scale=1.0):
    """Draws rows of digits, dark on white: uint8 [h, w]."""
    width = 2 * margin + max(len(row) for row in rows) * (60 + gap) - gap
    height = 2 * margin + len(rows) * (100 + row_gap) - row_gap
    paper = Image.new("L", (width, height), 255)
    pencil = ImageDraw.Draw(paper)
    for i, row in enumerate(rows):
        for j, digit in enumerate(row):
            left, top = margin + j * (60 + gap), margin + i * (100 + row_gap)
            for stroke in STROKES.get(digit, []):
                pencil.line([(left + x, top + y) for x, y in stroke], fill=0, width=pen, joint="curve")
            if digit == ".":
                pencil.ellipse((left + 20, top + 88, left + 32, top + 100), fill=0)
            if digit == "-":
                pencil.line((left + 5, top + 55, left + 55, top + 55), fill=0, width=pen)
    size = (round(width * scale), round(height * scale))
    return np.asarray(paper.resize(size, Image.Resampling.BICUBIC))


def turn(picture, degrees):
    """Turns a picture, with white where nothing was."""
    return np.asarray(Image.fromarray(picture).rotate(degrees, Image.Resampling.BICUBIC, fillcolor=255))


def photograph(picture, seed=0):
    """Grey ink on paper with light from one side, and the camera's noise."""
    rng = np.random.default_rng(seed)
    height, width = picture.shape
    light = np.linspace(120, 235, width)[None] * np.linspace(1, 0.85, height)[:, None]
    return (light * (0.3 + 0.7 * picture / 255) + rng.normal(0, 3, picture.shape)).clip(0, 255).astype(np.uint8)


def on_table(picture, brightness=70, margin=50):
    return np.pad(picture, margin, constant_values=brightness)


def rule(picture, row, thickness=3):
    ruled = picture.copy()
    ruled[row : row + thickness] = np.minimum(ruled[row : row + thickness], 90)
    return ruled


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: picture,
        lambda picture: 255 - picture,
        lambda picture: turn(picture, 3),
        lambda picture: turn(picture, -3),
        photograph,
        lambda picture: on_table(photograph(picture)),
        lambda picture: rule(picture, 180),
        lambda picture: np.repeat(picture[..., None], 3, axis=2),
    ],
    ids=["plain", "light ink", "turned", "turned back", "photo", "on a table", "ruled", "color"],
)
def test_rows_are_read_from_the_top_and_from_the_left(recognizer, change):
    reading = recognizer.read(change(draw(["30214", "27"])))
    assert reading.text == "30214\n27"


def test_dots_and_dashes_are_skipped(recognizer):
    assert recognizer.read(draw(["2.340-"])).text == "2340"


@pytest.mark.parametrize("scale", [0.4, 1, 4])
def test_size_doesnt_matter(recognizer, scale):
    assert recognizer.read(draw(["3204"], scale=scale)).text == "3204"


@pytest.mark.parametrize("number", ["2004", "1200", "4023"])
def test_touching_digits_are_taken_apart(recognizer, number):
    assert recognizer.read(draw([number], gap=0)).text == number


def test_each_digit_has_its_box(recognizer):
    reading = recognizer.read(draw(["31", "40"]))
    assert [len(line) for line in reading.lines] == [2, 2]
    for i, line in enumerate(reading.lines):
        for j, prediction in enumerate(line):
            left, top = 60 + j * 95, 60 + i * 170
            assert 0.3 < prediction.confidence <= 1
            assert prediction.box[1] == pytest.approx(top, abs=9)
            assert prediction.box[3] == pytest.approx(top + 100, abs=9)
            assert left - 9 <= prediction.box[0] < prediction.box[2] <= left + 69


@pytest.mark.parametrize("picture", [np.full((200, 300), 255, np.uint8), np.zeros((1, 1), np.uint8)])
def test_blank_paper_has_no_lines(recognizer, picture):
    reading = recognizer.read(picture)
    assert reading.lines == ()
    assert reading.text == ""


def test_candidates_keep_to_their_row():
    rows = find_rows(draw(["12", "3"]))
    assert [len(row.log_skips) for row in rows] >= [2, 1]
    for row in rows:
        assert all(0 <= c.first < c.last <= len(row.log_skips) for c in row.candidates)


def test_text_and_json(tmp_path, capsys, monkeypatch):
    path = tmp_path / "sheet.png"
    Image.fromarray(draw(["302", "74"])).save(path)
    assert command.main(["--read", str(path)]) == 0
    assert capsys.readouterr().out == "302\n74\n"
    Image.new("L", (80, 80), 255).save(tmp_path / "blank.png")
    monkeypatch.chdir(path.parent)
    assert command.main(["--read", f"./{path.name}"]) == 0  # one picture needs no name, however it was named
    assert capsys.readouterr().out == "302\n74\n"
    assert command.main(["--read", str(path), str(tmp_path / "blank.png")]) == 0
    assert capsys.readouterr().out == f"{path}: 302\n{path}: 74\n{tmp_path / 'blank.png'}: no digits\n"
    (tmp_path / "blank.png").unlink()
    (tmp_path / "broken.png").write_bytes(b"x")
    assert command.main(["--read", str(tmp_path), "--format", "json"]) == 1
    broken, line = map(json.loads, capsys.readouterr().out.splitlines())
    assert "not an image" in broken["error"]
    assert list(line) == ["file", "text", "digits"]
    assert line["text"] == "302\n74"
    assert [(digit["line"], digit["digit"]) for digit in line["digits"]] == [(0, 3), (0, 0), (0, 2), (1, 7), (1, 4)]
    assert command.main(["--read", str(path), "--format", "csv"]) == 2
