"""Characters by other hands, here rings and zigzags, become drawings, which styles and paper vary."""

import itertools
from collections import Counter

import cv2
import numpy as np
import pytest

from digitjax.config import TrainConfig
from digitjax.data.arrays import Character
from digitjax.drawing import canvas, paper, styles
from digitjax.drawing.hands import divide_hands, draw_hand, draw_plain, pick_characters
from digitjax.drawing.mix import add_drawn, mark_drawn
from digitjax.drawing.negatives import draw_negatives
from digitjax.drawing.styles import STYLES
from digitjax.nn.inference import compute_logits
from digitjax.runs import weights


def write(text, *strokes):
    return Character(text, tuple(np.array(stroke, np.float32) for stroke in strokes), "unipen")


t = np.linspace(0, 2 * np.pi, 40)
ZERO = write("0", np.stack([30 * np.cos(t), 45 * np.sin(t)], axis=1))
ONE = write("1", [(0, 0), (0, 100)])
SEVEN = write("7", [(0, 0), (50, 0), (20, 100)])
CROSS = write("X", [(0, 0), (80, 100)], [(80, 0), (0, 100)])
IMAGE = Character("Greek/character01", np.pad(np.full((20, 4), 255, np.uint8), ((4, 4), (12, 12))), "omniglot")

SHARES = {"STYLE_SHARE": styles, "RULE_SHARE": paper, "SPECK_SHARE": paper, "PATCH_SHARE": paper}


@pytest.fixture
def only(monkeypatch):
    """Has every character varied in one way, or in none."""

    def set_shares(*wanted):
        for share, module in SHARES.items():
            monkeypatch.setattr(module, share, float(share in wanted))

    set_shares()
    return set_shares


def count_holes(drawing):
    return cv2.connectedComponents((drawing < 128).astype(np.uint8), connectivity=4)[0] - 2  # beside the background


def test_digits_and_others_are_told_by_their_text():
    dot = write("5", [(3, 3)])  # no pen was moved
    phi = IMAGE._replace(text="Greek/character21")
    characters = [ZERO, CROSS, write("O", [(0, 0), (5, 5)]), write("l", [(0, 0), (0, 9)]), dot, IMAGE, phi]
    digits, others = divide_hands(characters)
    assert [character.text for character in digits] == ["0"]
    assert [character.text for character in others] == ["X", "Greek/character01"]


def test_two_digits_beside_each_other_are_no_digit():
    two_rings = write("0", ZERO.ink[0], ZERO.ink[0] + (70, 5))
    four = write("4", [(20, 0), (0, 95), (50, 95)], [(45, 5), (40, 100)])  # both strokes high, one above the other
    five = write("5", [(10, 0), (0, 50), (50, 80), (0, 100)], [(10, 0), (55, 0)])
    assert divide_hands([two_rings, four, five]).digits == [four, five]


def test_small_data_sets_are_picked_by_the_root_of_their_size():
    other = ONE._replace(dataset="semeion")
    picks = itertools.islice(pick_characters(np.random.default_rng(0), [*[SEVEN] * 100, *[ONE] * 4, other]), 3_000)
    counts = Counter((pick.text, pick.dataset) for pick in picks)
    assert counts["7", "unipen"] / counts["1", "unipen"] == pytest.approx(10 / 2, rel=0.15)
    assert counts["7", "unipen"] / counts["1", "semeion"] == pytest.approx(10 / 1, rel=0.25)


def test_strokes_are_drawn_upright_and_large(only):
    rows, columns = np.nonzero(draw_hand(np.random.default_rng(0), SEVEN) > 127)
    assert np.ptp(rows) > 60
    assert columns[rows < np.quantile(rows, 0.1)].max() > columns[rows > np.quantile(rows, 0.9)].max()
    assert draw_hand(np.random.default_rng(0), IMAGE).any()


def test_plain_drawings_have_mnists_form_and_labels():
    images, labels = draw_plain([ZERO, SEVEN, CROSS, IMAGE])
    assert labels.tolist() == [0, 7, 10, 10]
    for image in images[..., 0]:
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20


def test_zeros_are_slashed_or_dotted(only):
    only("STYLE_SHARE")
    rng = np.random.default_rng(0)
    drawings = [draw_hand(rng, ZERO) for _ in range(60)]
    pieces = [cv2.connectedComponents((drawing > 127).astype(np.uint8))[0] - 1 for drawing in drawings]
    holes = np.array([count_holes(drawing) for drawing in drawings])
    assert np.mean((holes == 2) | (np.array(pieces) == 2)) > 0.7  # a thick pen may close a hole, or join the dot


def find_added(only, share, character, seed):
    """Returns in which rows there is ink only with the variation."""
    only()
    plain = draw_hand(np.random.default_rng(seed), character) > 64
    only(share)
    return np.flatnonzero(((draw_hand(np.random.default_rng(seed), character) > 64) & ~plain).any(axis=1))


@pytest.mark.parametrize(
    ("share", "character", "first", "last"),
    [
        ("STYLE_SHARE", ONE, 60, 96),  # a foot
        ("STYLE_SHARE", SEVEN, 25, 75),  # a bar
        ("RULE_SHARE", ONE, 60, 96),  # never across it: that would be a T or a t
    ],
)
def test_strokes_are_added_where_they_belong(only, share, character, first, last):
    num_changed = 0
    for seed in range(30):
        rows = find_added(only, share, character, seed)
        assert all((first <= rows) & (rows < last))
        num_changed += len(rows) > 0
    assert num_changed > 20


@pytest.mark.parametrize("share", ["SPECK_SHARE", "PATCH_SHARE"])
@pytest.mark.parametrize("character", [ZERO, CROSS])
def test_paper_adds_to_digits_and_others_alike(only, share, character):
    plain = draw_hand(np.random.default_rng(5), character)
    only(share)
    assert (draw_hand(np.random.default_rng(5), character) > plain).any()


def test_shares_stay_the_same_with_other_hands(digits):
    config = TrainConfig(negative_share=0.3, redrawn_share=0.3)
    with_hands = add_drawn(digits.train, config, extra=[ZERO, ONE, SEVEN, CROSS, IMAGE])
    without = add_drawn(digits.train, config)
    np.testing.assert_array_equal(with_hands.labels == 10, without.labels == 10)
    is_drawn = mark_drawn(config, len(digits.train.labels))
    np.testing.assert_array_equal(with_hands.images[~is_drawn], digits.train.images)
    # These hands wrote but three digits, and they take two thirds of the places.
    shares = [
        np.mean(np.isin(drawn.labels[is_drawn & (drawn.labels != 10)], (0, 1, 7))) for drawn in (with_hands, without)
    ]
    assert shares[0] - shares[1] > 0.3


def test_letters_by_hands_come_out_each_time_another_way(digits):
    images = draw_negatives(np.random.default_rng(0), 40, digits.train, [CROSS])
    assert images.shape == (40, 28, 28, 1)
    assert len(np.unique(images.reshape(40, -1), axis=0)) == 40


@pytest.mark.parametrize("label", STYLES)
def test_styles_are_read_as_their_digit(label):
    """By weights that have seen none of them, but for the 4s, of which many are open or like a φ."""
    rng = np.random.default_rng(label)
    drawings = [canvas.draw_strokes(rng, STYLES[label](rng)) for _ in range(40)]
    images = np.stack([canvas.finish_drawing(rng, drawing, 1) for drawing in drawings])[..., None]
    preds = compute_logits(weights.load_model(weights.default_checkpoint()).apply, images).argmax(axis=1)
    assert np.mean(preds == label) > (0.5 if label == 4 else 0.8)
