import dataclasses

import numpy as np
import pytest

from digitjax.pictures.preprocess import PreprocessedImage
from digitjax.pictures.segment import Candidate, Row
from digitjax.predict import predict_digit
from digitjax.predict.rows import LEEWAY, _sum_log_odds, choose_candidates


def test_the_best_partition_is_chosen():
    image = PreprocessedImage(np.zeros((28, 28), np.uint8), None)
    spans = [(0, 1), (1, 2), (0, 2), (2, 3)]
    row = Row((-np.inf, -np.inf, -1.0), [Candidate(first, last, image, 1.0, 0.0) for first, last in spans])
    assert choose_candidates(row, [-1.0, -1.0, -0.5, -0.5]) == [2, 3]
    assert choose_candidates(row, [-0.1, -0.1, -0.5, -0.5]) == [0, 1, 3]
    assert choose_candidates(row, [-0.1, -0.1, -0.5, -9.0]) == [0, 1]  # the last atom is no digit


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
    threshold = 1 / (1 + np.exp(-LEEWAY))  # so that even odds speak for neither
    assert (_sum_log_odds(pieces, threshold) >= 0) == is_of_digits
    # A network that is ten times as sure of everything, its threshold, too, says the same.
    surer = [(c, dataclasses.replace(p, is_digit_score=_surer(p.is_digit_score))) for c, p in pieces]
    assert (_sum_log_odds(surer, _surer(threshold)) >= 0) == is_of_digits


def _surer(score):
    return 10 * score / (10 * score + 1 - score)
