import csv
import io
import json
import shutil

import numpy as np
import pytest
from conftest import draw_scribble
from PIL import Image

from digitjax.nn import looks
from digitjax.predict import __main__ as command
from digitjax.runs.files import CheckpointError

HEAVY = ("tensorflow", "tensorflow_datasets", "orbax", "matplotlib", "sklearn", "gradio")


@pytest.fixture
def picture(seven, tmp_path):
    path = tmp_path / "seven.png"
    Image.fromarray(seven).save(path)
    return path


def run_json(capsys, *arguments):
    status = command.main([*map(str, arguments), "--format", "json"])
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_predicting_stays_light(python, picture):
    code = (
        "import sys; from digitjax.predict import predict_digit; "
        f"print(predict_digit({str(picture)!r}).digit, [m for m in {HEAVY} if m in sys.modules])"
    )
    result = python("-c", code)
    assert result.stdout.decode().strip() == "7 []", result.stderr.decode()


def test_predicting_writes_nothing(python, picture):
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); "
        f"from digitjax.predict.__main__ import main; sys.exit(main([{str(picture)!r}]))"
    )
    # -B: of bytecode, too, nothing would be written, and whoever loads it next would fail.
    result = python("-B", "-c", code, HOME="/nonexistent", TMPDIR="/nonexistent")
    assert (result.returncode, result.stderr) == (0, b"")
    assert b": 7 (" in result.stdout


def test_text(picture, capsys):
    assert command.main([str(picture)]) == 0
    name, answer = capsys.readouterr().out.strip().rsplit(": ", 1)
    assert name == str(picture)
    assert answer.startswith("7 (")


def test_json(picture, capsys, recognizer):
    status, (line,) = run_json(capsys, picture)
    assert status == 0
    assert list(line) == ["file", "digit", "label", "reason", "confidence", "is_digit_score", "probabilities", "box"]
    assert line["reason"] is None
    assert line["file"] == str(picture)
    assert line["digit"] == 7
    assert line["probabilities"] == pytest.approx(recognizer.predict_digit(picture).probabilities.tolist(), abs=1e-5)
    assert len(line["box"]) == 4


def test_csv(picture, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"x")
    Image.new("L", (40, 40), 255).save(tmp_path / "blank.png")
    assert command.main([str(tmp_path), "--format", "csv"]) == 1
    rows = {row["file"].rsplit("/", 1)[-1]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert rows["seven.png"]["digit"] == "7"
    assert float(rows["seven.png"]["p7"]) > 0.8
    assert rows["seven.png"]["error"] == rows["seven.png"]["reason"] == ""
    assert 0.9 < float(rows["seven.png"]["is_digit_score"]) <= 1
    assert 0 <= int(rows["seven.png"]["left"]) < int(rows["seven.png"]["right"]) <= 100
    assert rows["blank.png"]["reason"] == "blank"
    assert rows["broken.png"]["digit"] == ""
    assert "not an image" in rows["broken.png"]["error"]
    assert rows["blank.png"]["digit"] == rows["blank.png"]["left"] == ""


def test_one_bad_file_leaves_the_others(picture, tmp_path, capsys):
    (tmp_path / "a_broken.png").write_bytes(b"x")
    (tmp_path / "sub").mkdir()
    shutil.copy(picture, tmp_path / "sub" / "again.PNG")
    (tmp_path / "notes.txt").write_text("not a picture, and not named as one")
    status, lines = run_json(capsys, tmp_path)
    assert status == 1
    assert [line["file"].removeprefix(f"{tmp_path}/") for line in lines] == [
        "a_broken.png",
        "seven.png",
        "sub/again.PNG",
    ]
    assert "not an image" in lines[0]["error"]
    assert [line["digit"] for line in lines[1:]] == [7, 7]


def test_blank_is_null(tmp_path, capsys):
    Image.new("L", (40, 40), 255).save(tmp_path / "blank.png")
    status, (line,) = run_json(capsys, tmp_path / "blank.png")
    assert status == 0
    assert line["digit"] is None
    assert line["reason"] == "blank"
    assert line["box"] is None


def test_what_is_no_digit_is_null_and_says_why(tmp_path, capsys):
    Image.fromarray(draw_scribble()).save(tmp_path / "scribble.png")
    status, (line,) = run_json(capsys, tmp_path / "scribble.png")
    assert status == 0
    assert line["digit"] is None
    assert line["reason"] == "not a digit"
    assert command.main([str(tmp_path / "scribble.png")]) == 0
    assert capsys.readouterr().out.strip().endswith("scribble.png: no digit (not a digit)")


def test_standard_input(picture, python):
    result = python("-m", "digitjax.predict", "-", "--format", "json", stdin=picture.read_bytes())
    assert result.returncode == 0, result.stderr.decode()
    assert json.loads(result.stdout)["digit"] == 7
    assert json.loads(result.stdout)["file"] == "-"


@pytest.mark.parametrize("options", [[], ["--read"]])
def test_each_page_of_a_pdf_is_read(seven, tmp_path, capsys, options):
    pages = [Image.fromarray(seven), Image.fromarray(np.full_like(seven, 255))]
    pages[0].save(tmp_path / "scan.pdf", save_all=True, append_images=pages[1:])
    for path in (tmp_path, tmp_path / "scan.pdf"):
        assert command.main([str(path), *options]) == 0
        first, second = capsys.readouterr().out.splitlines()
        assert first.startswith(f"{tmp_path / 'scan.pdf'}#page=1: 7")
        assert second.startswith(f"{tmp_path / 'scan.pdf'}#page=2: no digit")


def test_more_pictures_than_a_chunk(picture, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "CHUNK", 4)
    for i in range(9):
        shutil.copy(picture, tmp_path / f"{i}.png")
    status, lines = run_json(capsys, tmp_path)
    assert status == 0
    assert [line["digit"] for line in lines] == [7] * 10


def test_second_looks_are_the_default(picture, capsys, monkeypatch):
    monkeypatch.setattr(looks, "UNSURE", 1000.0)  # it is never sure
    _, (plain,) = run_json(capsys, picture, "--no-tta")
    _, (averaged,) = run_json(capsys, picture)
    assert averaged["digit"] == plain["digit"] == 7
    assert averaged["is_digit_score"] != plain["is_digit_score"]
    assert averaged["box"] == plain["box"]


def test_show_draws_the_picture(picture, tmp_path, capsys):
    out = tmp_path / "out.png"
    assert command.main([str(picture), "--show", str(out)]) == 0
    with Image.open(out) as image:
        assert image.width > 600
        assert len(image.getcolors(1 << 24)) > 50


@pytest.mark.parametrize(
    ("name", "message"), [("none.png", "can't be opened: No such file"), ("empty", "is a folder without pictures")]
)
def test_what_cant_be_read_is_named(tmp_path, capsys, name, message):
    (tmp_path / "empty").mkdir()
    assert command.main([str(tmp_path / name)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count(str(tmp_path / name)) == 1
    assert message in captured.err


def test_wrong_use_is_refused(tmp_path, capsys, picture):
    assert command.main([]) == 2
    assert "no pictures given" in capsys.readouterr().err
    assert command.main([str(picture), "--checkpoint", str(tmp_path / "none")]) == 2
    error = capsys.readouterr().err
    assert f"{tmp_path}/none/config.json" in error
    assert "Traceback" not in error
    with pytest.raises(SystemExit) as exit_info:
        command.main([str(picture), "--format", "xml"])
    assert exit_info.value.code == 2


def test_debug_shows_the_traceback(tmp_path, picture):
    with pytest.raises(CheckpointError):
        command.main([str(picture), "--checkpoint", str(tmp_path / "none"), "--debug"])


def test_a_reader_that_stops_is_no_error(picture, python):
    code = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-m', 'digitjax.predict'] + [sys.argv[1]] * 3,"
        " stdout=subprocess.PIPE, stderr=subprocess.PIPE); p.stdout.close(); p.stdout = None;"
        " print(p.communicate()[1].decode(), p.returncode)"
    )
    result = python("-c", code, str(picture))
    assert result.stdout.decode().split() == ["0"], result.stdout.decode()


# Has far more to say than a pipe holds, to one who reads but its first line.
STOP_READING = """
import subprocess, sys
code = "import sys; from digitjax.predict import __main__ as c; c.MAX_SHOWN = 3; sys.exit(c.main())"
command = [sys.executable, "-c", code, "--format", "json", *sys.argv[1:]]
with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read().decode()
print(process.returncode, errors)
"""


IGNORE_ERRORS = """
import subprocess, sys
command = [sys.executable, "-m", "digitjax.predict", *sys.argv[1:]]
with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
    process.stderr.readline()
    process.stderr.close()
    printed = process.stdout.read().decode()
print(process.returncode, printed)
"""


def test_errors_that_nobody_reads_stop_nothing(picture, python, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"x")
    result = python("-c", IGNORE_ERRORS, *[str(tmp_path / "broken.png")] * 2_000, str(picture))
    assert result.stdout.decode().startswith(f"1 {picture}: 7 ("), result.stdout.decode()


def test_what_failed_and_what_was_to_be_drawn_doesnt_hang_on_the_reader(picture, python, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"x")
    pictures = [*[str(picture)] * 200, str(tmp_path / "broken.png")]
    result = python("-c", STOP_READING, "--show", str(tmp_path / "shown.png"), *pictures)
    assert result.stdout.decode().split() == ["1"], result.stdout.decode()
    with Image.open(tmp_path / "shown.png") as image:
        assert image.height > 800
