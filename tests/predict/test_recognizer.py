import dataclasses

import cv2
import numpy as np
import pytest
from conftest import draw_scribble
from PIL import Image, ImageDraw

from digitjax.nn import looks
from digitjax.pictures.gray import ImageError
from digitjax.predict import Recognizer, predict_digit, predict_each


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


def test_one_bad_picture_leaves_the_others(recognizer, seven):
    first, bad, last = predict_each(recognizer, [seven, b"no picture", np.full((40, 40), 255, np.uint8)])
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


@pytest.mark.parametrize("n", [2_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_preprocessing_leaves_mnist_alone(mnist, recognizer, n):
    images, labels = mnist.test.images[:n], mnist.test.labels[:n]
    logits = looks.predict_logits(recognizer.trained, images)
    alone = np.mean(logits.argmax(axis=1) == labels)
    predictions = recognizer.predict_digits(list(images[..., 0]))
    through = np.mean([p.probabilities.argmax() == label for p, label in zip(predictions, labels, strict=True)])
    assert abs(alone - through) <= 0.001
    assert np.mean([p.digit is not None for p in predictions]) >= 0.975  # by choice, see calibrate.py


@pytest.mark.usefixtures("no_type_checks")
def test_predict_digits_takes_a_batch_and_refuses_a_single_picture(recognizer, seven):
    batch = np.stack([seven, seven])[:, None]  # [n, 1, h, w]
    assert [prediction.digit for prediction in recognizer.predict_digits(batch)] == [7, 7]
    for one in ("seven.png", b"...", {"composite": seven}):
        with pytest.raises(ImageError, match="takes several pictures, found one"):
            recognizer.predict_digits(one)
    with pytest.raises(ImageError, match="`predict_digits` reads a batch"):
        recognizer.predict_digit(batch)
