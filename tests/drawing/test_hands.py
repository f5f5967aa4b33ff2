"""Characters by other hands, here zigzags and rings, become drawings; styles and paper are added."""

import cv2
import numpy as np
import pytest

from digitjax.config import TrainConfig
from digitjax.data.arrays import Character
from digitjax.drawing import hands
from digitjax.drawing.digits import redraw_digits
from digitjax.drawing.hands import divide_hands, draw_hand
from digitjax.drawing.mix import add_drawn, mark_drawn
from digitjax.drawing.negatives import draw_negatives
from digitjax.nn.inference import compute_logits
from digitjax.runs import weights


def write(text, *strokes):
    return Character(text, tuple(np.array(stroke, np.float32) for stroke in strokes))


t = np.linspace(0, 2 * np.pi, 40)
ZERO = write("0", np.stack([30 * np.cos(t), 45 * np.sin(t)], axis=1))
ONE = write("1", [(0, 0), (0, 100)])
SEVEN = write("7", [(0, 0), (50, 0), (20, 100)])
CROSS = write("X", [(0, 0), (80, 100)], [(80, 0), (0, 100)])
IMAGE = Character("Greek/character01", np.pad(np.full((20, 4), 255, np.uint8), ((4, 4), (12, 12))))


@pytest.fixture
def plain(monkeypatch):
    """Draws characters as they are."""
    for share in ("STYLE_SHARE", "RULE_SHARE", "SPECK_SHARE", "PATCH_SHARE"):
        monkeypatch.setattr(hands, share, 0)


def count_holes(canvas):
    return cv2.connectedComponents((canvas < 128).astype(np.uint8), connectivity=4)[0] - 2  # beside the background


def test_digits_and_others_are_told_by_their_text():
    dot = write("5", [(3, 3)])  # no pen was moved
    digits, others = divide_hands([ZERO, CROSS, write("O", [(0, 0), (5, 5)]), write("l", [(0, 0), (0, 9)]), dot, IMAGE])
    assert [character.text for character in digits] == ["0"]
    assert [character.text for character in others] == ["X", "Greek/character01"]


def test_strokes_are_drawn_upright_and_large(plain):
    canvas = draw_hand(np.random.default_rng(0), SEVEN)
    rows, columns = np.nonzero(canvas > 127)
    assert np.ptp(rows) > 60
    assert (
        columns[rows < np.quantile(rows, 0.1)].max() > columns[rows > np.quantile(rows, 0.9)].max()
    )  # top to the right
    assert draw_hand(np.random.default_rng(0), IMAGE).any()


def test_styles_keep_the_digit_and_change_it(plain, monkeypatch):
    rng = np.random.default_rng(0)
    assert count_holes(draw_hand(rng, ZERO)) == 1
    monkeypatch.setattr(hands, "STYLE_SHARE", 1)
    monkeypatch.setattr(hands, "STYLES", {"0": (hands._slash,), "1": (hands._foot,), "7": (hands._bar,)})
    slashed = [count_holes(draw_hand(rng, ZERO)) for _ in range(30)]
    assert np.mean(np.array(slashed) >= 2) > 0.8  # a thick pen may close a hole
    one, seven = draw_hand(rng, ONE), draw_hand(rng, SEVEN)
    assert np.ptp(np.nonzero(one[-25:] > 127)[1]) > np.ptp(np.nonzero(one[:-40] > 127)[1])  # wider at the foot
    assert (seven > 127).any()


def test_rules_under_a_one_make_no_cross(plain, monkeypatch):
    monkeypatch.setattr(hands, "RULE_SHARE", 1)
    rng = np.random.default_rng(0)
    for _ in range(30):
        canvas = draw_hand(rng, ONE)
        widths = (canvas > 0).sum(axis=1)
        assert widths[: hands.EXTENT - 5].max() < 30  # nothing lies across it but at its foot
    assert (canvas > 0).sum(axis=1).max() > 0


def test_shares_stay_the_same_with_other_hands(digits):
    config = TrainConfig(negative_share=0.3, redrawn_share=0.3)
    extra = [ZERO, ONE, SEVEN, CROSS, IMAGE]
    with_hands = add_drawn(digits.train, config, extra=extra)
    without = add_drawn(digits.train, config)
    np.testing.assert_array_equal(with_hands.labels == 10, without.labels == 10)
    is_drawn = mark_drawn(config, len(digits.train.labels))
    np.testing.assert_array_equal(with_hands.images[~is_drawn], digits.train.images)
    # Of these hands there are but three digits, and they take three quarters of nine tenths of the places.
    redrawn = with_hands.labels[is_drawn & (with_hands.labels != 10)]
    by_hands = np.mean(np.isin(redrawn, (0, 1, 7))) - np.mean(np.isin(without.labels[is_drawn], (0, 1, 7)))
    assert by_hands > 0.3


def test_negatives_are_mostly_letters_by_hands(digits):
    rng = np.random.default_rng(0)
    images = draw_negatives(rng, 40, digits.train, [CROSS])
    assert images.shape == (40, 28, 28, 1)
    assert len(np.unique(images.reshape(40, -1), axis=0)) == 40  # another pen each time


def test_written_digits_are_still_read():
    trained = weights.load_model(weights.default_checkpoint())
    redrawn = redraw_digits(np.random.default_rng(0), 200, _as_dataset(), [ZERO, SEVEN])
    logits = compute_logits(trained.apply, redrawn.images)
    assert np.mean(logits.argmax(axis=1) == redrawn.labels) > 0.8


def _as_dataset():
    from digitjax.data.arrays import Dataset

    ring = np.zeros((28, 28, 1), np.uint8)
    cv2.ellipse(ring, (14, 14), (6, 9), 0, 0, 360, 255, 2)
    return Dataset(ring[None], np.zeros(1, np.int32))
