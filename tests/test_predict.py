import csv
import dataclasses
import io
import json
import os
import platform
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from digitjax import predict, tta
from digitjax.predict import Recognizer, predict_digit
from digitjax.preprocess import ImageError, PreprocessedImage
from digitjax.segment import Candidate


@pytest.fixture
def picture(seven, tmp_path):
    path = tmp_path / "seven.png"
    Image.fromarray(seven).save(path)
    return path


@pytest.fixture(scope="module")
def recognizer():
    return Recognizer.load()


def run_json(capsys, *arguments):
    status = predict.main([*map(str, arguments), "--format", "json"])
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# Allocates and frees eight arrays together, ten times over; prints how often the kernel had to find that much memory.
COUNT_FAULTS = """
import ctypes
import resource
import sys
from digitjax import predict
size = int(sys.argv[1])
if sys.argv[2] == "keep":
    predict._keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    places = [libc.malloc(size // 8) for _ in range(8)]
    for place in places:
        ctypes.memset(place, 1, size // 8)
    for place in places:
        libc.free(place)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize() / size)
"""


def count_faults(size, how):
    command = [sys.executable, "-c", COUNT_FAULTS, str(size), how]
    return float(subprocess.run(command, capture_output=True, check=True).stdout)


# ---------------------------------------------------------------- library


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries do as they do")
def test_freed_memory_is_kept_but_no_more_than_was_said():
    few, many = 20 << 20, 80 << 20
    assert count_faults(few, "keep") < count_faults(few, "as usual") / 4
    assert count_faults(many, "keep") > count_faults(many, "as usual") / 2


# Prints whether a product that takes a while is there once the function that starts it has returned.
COMPUTE = """
import sys
import jax
import jax.numpy as jnp
from digitjax.predict import Recognizer
if sys.argv[1] == "load":
    Recognizer.load()
square = jax.jit(lambda x: x @ x)
matrix = jnp.ones((1500, 1500))
square(matrix).block_until_ready()
print(square(matrix).is_ready())
"""


@pytest.mark.parametrize(("how", "is_there"), [("load", "True"), ("as usual", "False")])
def test_an_answer_is_computed_in_the_thread_that_asks(how, is_there):
    command = [sys.executable, "-c", COMPUTE, how]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    result = subprocess.run(command, capture_output=True, check=True, text=True, env=environment)
    assert result.stdout.split() == [is_there]


def test_a_seven_is_read(seven, recognizer):
    prediction = recognizer.predict_digit(seven)
    assert prediction.digit == 7
    assert prediction.confidence == prediction.probabilities[7] == prediction.probabilities.max() > 0.8
    assert prediction.probabilities.shape == (10,)
    assert prediction.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert prediction.canonical.shape == (28, 28)
    left, top, right, bottom = prediction.box
    assert 0 <= left < right <= 100
    assert 0 <= top < bottom <= 120


def test_the_module_reads_with_the_weights_that_ship(seven, recognizer):
    np.testing.assert_array_equal(predict_digit(seven).probabilities, recognizer.predict_digit(seven).probabilities)


def test_many_pictures_are_read_as_alone(digits, recognizer):
    images = [255 - image[..., 0] for image in digits.test.images[:37]]
    together = recognizer.predict_digits(images)
    for image, prediction in zip(images, together, strict=True):
        alone = recognizer.predict_digit(image)
        assert alone.digit == prediction.digit
        np.testing.assert_allclose(alone.probabilities, prediction.probabilities, atol=1e-5)
    assert recognizer.predict_digits([]) == []


def test_digits_of_other_people_are_read(digits, recognizer):
    # Scikit-learn's digits come from other writers than MNIST's, at 8x8 pixels.
    recognizer = Recognizer(recognizer.trained, threshold=0.0)  # so coarse that some are no digit to it
    predictions = recognizer.predict_digits([image[..., 0] for image in digits.test.images])
    accuracy = np.mean([p.digit == label for p, label in zip(predictions, digits.test.labels, strict=True)])
    assert accuracy > 0.93


def test_blank_paper_holds_no_digit(recognizer):
    prediction = recognizer.predict_digit(np.full((50, 50), 255, np.uint8))
    assert prediction.digit is None
    assert prediction.reason == "blank"
    assert prediction.confidence == prediction.is_digit_score == 0
    assert prediction.box is None


def draw_scribble():
    """A zigzag that no digit has: dark ink on white paper."""
    paper = Image.new("L", (200, 160), 255)
    points = [(20 + 16 * i, 30 if i % 2 else 130) for i in range(11)]
    ImageDraw.Draw(paper).line(points, fill=0, width=6, joint="curve")
    return np.asarray(paper)


def draw_house():
    paper = Image.new("L", (200, 200), 255)
    draw = ImageDraw.Draw(paper)
    draw.rectangle((50, 90, 150, 180), outline=0, width=7)
    draw.line([(40, 95), (100, 30), (160, 95)], fill=0, width=7, joint="curve")
    draw.rectangle((85, 130, 115, 180), outline=0, width=6)
    return np.asarray(paper)


@pytest.mark.parametrize("draw", [draw_scribble, draw_house])
def test_what_is_no_digit_is_refused(recognizer, draw):
    prediction = recognizer.predict_digit(draw())
    assert prediction.digit is None
    assert prediction.reason == "not a digit"
    assert prediction.confidence == 0
    assert 0 <= prediction.is_digit_score < recognizer.threshold
    assert prediction.box is not None
    assert prediction.probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_the_threshold_decides(recognizer, seven):
    scribble = draw_scribble()
    assert Recognizer(recognizer.trained, threshold=0.0).predict_digit(scribble).digit in range(10)
    strict = Recognizer(recognizer.trained, threshold=1.1).predict_digit(seven)
    assert strict.digit is None
    assert strict.is_digit_score == recognizer.predict_digit(seven).is_digit_score


def test_digits_score_higher_than_letters(recognizer, digits):
    letters = [letter for letter in "ACEFHKMNPRUWXY" for _ in range(2)]
    pictures = []
    for i, letter in enumerate(letters):
        canvas = np.full((140, 140), 255, np.uint8)
        font = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_SCRIPT_SIMPLEX)[i % 2]
        pictures.append(cv2.putText(canvas, letter, (30, 110), font, 3.5, 0, 8, cv2.LINE_AA))
    scores = [p.is_digit_score for p in recognizer.predict_digits(pictures)]
    own = [p.is_digit_score for p in recognizer.predict_digits(list(digits.test.images[:200, ..., 0]))]
    assert np.mean([score < recognizer.threshold for score in scores]) >= 0.9
    assert np.mean([score >= recognizer.threshold for score in own]) >= 0.9  # 8x8 pixels made large


def test_the_ink_that_decided(recognizer):
    # A 7 and a stray dot: the stem must weigh more than the dot.
    paper = Image.new("L", (100, 120), 255)
    ImageDraw.Draw(paper).line([(25, 25), (75, 25), (42, 100)], fill=0, width=9, joint="curve")
    prediction = recognizer.predict_digit(np.asarray(paper))
    saliency = recognizer.explain(prediction)
    assert saliency.shape == (28, 28)
    assert not saliency[prediction.canonical == 0].any()
    assert saliency.sum() > 0  # all its ink makes it more of a 7 than blank paper is


def test_reading_skips_rows_of_letters(recognizer, seven):
    paper = np.full((300, 420), 255, np.uint8)
    for i in range(3):
        paper[10:130, 20 + 120 * i : 120 + 120 * i] = seven
        cv2.putText(paper, "HAK"[i], (30 + 120 * i, 270), cv2.FONT_HERSHEY_SIMPLEX, 3, 0, 8, cv2.LINE_AA)
    assert recognizer.read(paper).text == "777"
    assert len(Recognizer(recognizer.trained, threshold=0.0).read(paper).lines) == 2


@pytest.mark.parametrize(
    ("scores", "priors", "is_of_digits"),
    [
        # Odds multiply: 9 * 9 / 19 > 1, but 9 / 9 / 9 < 1; no piece counts for more than e^3 = 20 to 1.
        ([0.9, 0.9, 0.05], [0, 0, 0], True),
        ([0.9, 0.1, 0.1], [0, 0, 0], False),
        ([0.999999, 0.2, 0.2, 0.2], [0, 0, 0, 0], False),
        ([0.5], [0], True),
        # What was cut counts for less: 9^0.6 < 19.
        ([0.9, 0.9, 0.05], [-1, -1, 0], False),
    ],
)
def test_the_pieces_of_a_row_vote(seven, scores, priors, is_of_digits):
    prediction = predict_digit(seven)
    image = PreprocessedImage(prediction.canonical, prediction.box)
    pieces = [
        (Candidate(i, i + 1, image, 1.0, float(prior)), dataclasses.replace(prediction, is_digit_score=score))
        for i, (score, prior) in enumerate(zip(scores, priors, strict=True))
    ]
    threshold = 1 / (1 + np.exp(-predict.LEEWAY))  # so that even odds speak for neither
    assert (predict._sum_log_odds(pieces, threshold) >= 0) == is_of_digits
    # A network that is ten times as sure of everything, its threshold, too, says the same.
    surer = [(c, dataclasses.replace(p, is_digit_score=_surer(p.is_digit_score))) for c, p in pieces]
    assert (predict._sum_log_odds(surer, _surer(threshold)) >= 0) == is_of_digits


def _surer(score):
    return 10 * score / (10 * score + 1 - score)


def test_one_bad_picture_leaves_the_others(recognizer, seven):
    first, bad, last = predict.predict_each(recognizer, [seven, b"no picture", np.full((40, 40), 255, np.uint8)])
    assert first.digit == 7
    assert isinstance(bad, ImageError)
    assert last.reason == "blank"


def test_sigmoid_models_answer_ten_questions(recognizer, seven):
    trained = recognizer.trained
    questions = Recognizer(trained._replace(config=dataclasses.replace(trained.config, loss="sigmoid")))
    probabilities = questions.predict_digit(seven).probabilities.astype(np.float64)
    softmax = recognizer.predict_digit(seven).probabilities.astype(np.float64)
    # The same logits: log(p / (1 - p)) of a sigmoid differs from log(p) of a softmax by a constant.
    logits = np.log(probabilities) - np.log1p(-probabilities)
    # Near 1 a float32 knows 1 - p to some per cent.
    np.testing.assert_allclose(np.ptp(logits - np.log(softmax)), 0, atol=0.05)


def test_bad_pictures_are_one_error(recognizer, tmp_path):
    with pytest.raises(ImageError, match=r"none\.png: can't be opened"):
        recognizer.predict_digit(tmp_path / "none.png")


def test_preprocessing_leaves_mnist_alone(mnist, recognizer):
    images, labels = mnist.test.images, mnist.test.labels
    logits = tta.predict_logits(recognizer.trained, images)
    alone = np.mean(logits.argmax(axis=1) == labels)
    predictions = recognizer.predict_digits(list(images[..., 0]))
    through = np.mean([p.probabilities.argmax() == label for p, label in zip(predictions, labels, strict=True)])
    assert abs(alone - through) <= 0.001
    assert np.mean([p.digit is not None for p in predictions]) >= 0.975  # by choice, see calibrate.py


HEAVY = ("tensorflow", "tensorflow_datasets", "orbax", "matplotlib", "sklearn", "gradio")


def test_importing_is_light(python):
    result = python("-c", f"import sys, digitjax.predict; print([m for m in {HEAVY} if m in sys.modules])")
    assert result.stdout.decode().strip() == "[]", result.stderr.decode()


def test_predicting_stays_light(python, picture):
    code = (
        "import sys; from digitjax.predict import predict_digit; "
        f"print(predict_digit({str(picture)!r}).digit, [m for m in {HEAVY} if m in sys.modules])"
    )
    result = python("-c", code)
    assert result.stdout.decode().strip() == "7 []", result.stderr.decode()


# ---------------------------------------------------------------- command


def test_text(picture, capsys):
    assert predict.main([str(picture)]) == 0
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
    assert predict.main([str(tmp_path), "--format", "csv"]) == 1
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
    assert predict.main([str(tmp_path / "scribble.png")]) == 0
    assert capsys.readouterr().out.strip().endswith("scribble.png: no digit (not a digit)")


def test_standard_input(picture, python):
    result = python("-m", "digitjax.predict", "-", "--format", "json", stdin=picture.read_bytes())
    assert result.returncode == 0, result.stderr.decode()
    assert json.loads(result.stdout)["digit"] == 7
    assert json.loads(result.stdout)["file"] == "-"


def test_more_pictures_than_a_chunk(picture, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(predict, "CHUNK", 4)
    for i in range(9):
        shutil.copy(picture, tmp_path / f"{i}.png")
    status, lines = run_json(capsys, tmp_path)
    assert status == 0
    assert [line["digit"] for line in lines] == [7] * 10


def test_second_looks_are_the_default(picture, capsys, monkeypatch):
    monkeypatch.setattr(tta, "UNSURE", 1000.0)  # it is never sure
    _, (plain,) = run_json(capsys, picture, "--no-tta")
    _, (averaged,) = run_json(capsys, picture)
    assert averaged["digit"] == plain["digit"] == 7
    assert averaged["is_digit_score"] != plain["is_digit_score"]
    assert averaged["box"] == plain["box"]


def test_show_draws_the_picture(picture, tmp_path, capsys):
    out = tmp_path / "out.png"
    assert predict.main([str(picture), "--show", str(out)]) == 0
    with Image.open(out) as image:
        assert image.width > 600
        assert len(image.getcolors(1 << 24)) > 50


@pytest.mark.parametrize(
    ("name", "message"), [("none.png", "can't be opened: No such file"), ("empty", "is a folder without pictures")]
)
def test_what_cant_be_read_is_named(tmp_path, capsys, name, message):
    (tmp_path / "empty").mkdir()
    assert predict.main([str(tmp_path / name)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count(str(tmp_path / name)) == 1
    assert message in captured.err


def test_wrong_use_is_refused(tmp_path, capsys, picture):
    assert predict.main([]) == 2
    assert "no pictures given" in capsys.readouterr().err
    assert predict.main([str(picture), "--checkpoint", str(tmp_path / "none")]) == 2
    error = capsys.readouterr().err
    assert f"{tmp_path}/none/config.json" in error
    assert "Traceback" not in error
    with pytest.raises(SystemExit) as exit_info:
        predict.main([str(picture), "--format", "xml"])
    assert exit_info.value.code == 2


def test_debug_shows_the_traceback(tmp_path, picture):
    with pytest.raises(predict.checkpoint.CheckpointError):
        predict.main([str(picture), "--checkpoint", str(tmp_path / "none"), "--debug"])


def test_a_reader_that_stops_is_no_error(picture, python):
    code = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-m', 'digitjax.predict'] + [sys.argv[1]] * 3,"
        " stdout=subprocess.PIPE, stderr=subprocess.PIPE); p.stdout.close(); p.stdout = None;"
        " print(p.communicate()[1].decode(), p.returncode)"
    )
    result = python("-c", code, str(picture))
    assert result.stdout.decode().split() == ["0"], result.stdout.decode()
