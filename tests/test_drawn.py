from dataclasses import replace

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from digitjax import drawn
from digitjax.config import TrainConfig

CONFIG = TrainConfig(negative_share=0.3, one_seven_share=0.1)


def test_shares_are_kept(digits):
    added = drawn.add_drawn(digits.train, CONFIG)
    n = len(digits.train.labels)
    np.testing.assert_array_equal(added.images[:n], digits.train.images)
    np.testing.assert_array_equal(added.labels[:n], digits.train.labels)
    assert np.mean(added.labels == drawn.NO_DIGIT) == pytest.approx(0.3, abs=1e-3)
    others = added.labels[n:][added.labels[n:] != drawn.NO_DIGIT]
    assert len(others) / len(added.labels) == pytest.approx(0.1, abs=1e-3)
    assert set(others) == {1, 7}


def test_nothing_is_drawn_unasked(digits):
    added = drawn.add_drawn(digits.train, replace(CONFIG, negative_share=0, one_seven_share=0))
    np.testing.assert_array_equal(added.images, digits.train.images)


def test_the_seed_decides(digits):
    first, again, other = (drawn.draw_negatives(np.random.default_rng(seed), 60, digits.train) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_drawings_have_mnists_form(digits):
    rng = np.random.default_rng(0)
    negatives = drawn.draw_negatives(rng, 500, digits.train)
    images = np.concatenate([negatives, drawn.draw_ones_and_sevens(rng, 100).images])[..., 0]
    for image in images:
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        assert 18 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 20
        assert image.max() > 200
    assert len(np.unique(negatives.reshape(500, -1), axis=0)) == 500


def test_negatives_cant_be_told_by_their_pens(digits):
    negatives = drawn.draw_negatives(np.random.default_rng(1), 500, digits.train)
    # Gray pixels against full ones: the soft edges that shrinking leaves.
    soft = [
        np.mean((images > 20) & (images < 230)) / np.mean(images > 20) for images in (negatives, digits.train.images)
    ]
    assert soft[0] == pytest.approx(soft[1], rel=0.35)


def test_signs_without_a_meaning_are_none_of_the_digits(mnist):
    """As a nearest neighbour sees it: they lie further from every digit than digits lie from each other."""
    looks = drawn._measure_looks(mnist.train.images[:5000, ..., 0])
    neighbours = NearestNeighbors(n_neighbors=1).fit(looks)
    rng, kept, left_out = np.random.default_rng(2), [], []
    while len(kept) < 60:
        image = drawn._finish(rng, drawn.draw_sign(rng))
        (left_out if drawn._unless_alike(image, looks) is None else kept).append(image)
    own, _ = neighbours.kneighbors(drawn._measure_looks(mnist.test.images[:500, ..., 0]))
    signs, _ = neighbours.kneighbors(drawn._measure_looks(np.stack(kept)))
    alike, _ = neighbours.kneighbors(drawn._measure_looks(np.stack([image for image in left_out if image is not None])))
    assert signs.min() > np.quantile(own, 0.9)
    assert alike.max() < signs.min()


def test_no_letter_that_passes_for_a_digit_is_drawn():
    characters = drawn.list_characters()
    assert not set(characters) & set("0123456789OoIlSsZz①²½○◯|")
    assert set(characters) >= set("AKWXkwλΨЖ★")


def test_turned_digits_are_other_shapes(digits):
    assert not {0, 1, 8} & drawn.TURNS.keys()  # these look the same when turned or mirrored
    canvas = drawn.turn_digit(np.random.default_rng(0), digits.train)
    assert canvas.shape == (drawn.SIDE, drawn.SIDE)
    assert canvas.any()
