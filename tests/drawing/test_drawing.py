from dataclasses import replace

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from digitjax.config import TrainConfig
from digitjax.data import arrays
from digitjax.data.arrays import Dataset, Part
from digitjax.drawing import canvas, characters, doodles, negatives
from digitjax.drawing.digits import draw_styles, redraw_digits
from digitjax.drawing.mix import add_drawn, mark_drawn
from digitjax.drawing.negatives import TURNS, _measure_looks, draw_negatives, turn_digit
from digitjax.nn.inference import compute_logits
from digitjax.runs import weights

CONFIG = TrainConfig(negative_share=0.3, style_share=0.1, redrawn_share=0.1)


def test_shares_are_kept(digits):
    added = add_drawn(digits.train, CONFIG)
    n = len(digits.train.labels)
    np.testing.assert_array_equal(added.images[:n], digits.train.images)
    np.testing.assert_array_equal(added.labels[:n], digits.train.labels)
    assert np.mean(added.labels == CONFIG.no_digit) == pytest.approx(0.3, abs=1e-3)
    others = added.labels[n:][added.labels[n:] != CONFIG.no_digit]
    assert len(others) / len(added.labels) == pytest.approx(0.2, abs=1e-3)
    styled, redrawn = np.split(others, 2)
    assert set(styled) == {1, 4, 7, 8, 9}
    assert set(redrawn) == set(range(10))


def test_nothing_is_drawn_unasked(digits):
    added = add_drawn(digits.train, replace(CONFIG, negative_share=0, style_share=0, redrawn_share=0))
    np.testing.assert_array_equal(added.images, digits.train.images)


def test_drawn_images_are_found(digits, monkeypatch):
    monkeypatch.setattr(arrays, "BLOCK", 200)
    added = add_drawn(digits.train, CONFIG)
    is_drawn = mark_drawn(CONFIG, len(digits.train.labels))
    assert len(is_drawn) == len(added.labels)
    np.testing.assert_array_equal(added.images[~is_drawn], digits.train.images)


def test_a_part_is_drawn_as_it_is_in_the_whole(digits, monkeypatch):
    monkeypatch.setattr(arrays, "BLOCK", 200)
    config = replace(CONFIG, negative_share=0.2)
    whole, n = add_drawn(digits.train, config), len(digits.train.labels)
    parts = []
    for part in (Part(0, 2), Part(1, 2)):
        blocks = part.blocks(n)
        own = slice(blocks[0][1], blocks[-1][2])
        mine = Dataset(digits.train.images[own], digits.train.labels[own])
        parts.append(add_drawn(mine, config, part, n))
    np.testing.assert_array_equal(np.concatenate([part.images for part in parts]), whole.images)
    np.testing.assert_array_equal(np.concatenate([part.labels for part in parts]), whole.labels)


def test_the_seed_decides(digits):
    first, again, other = (draw_negatives(np.random.default_rng(seed), 60, digits.train) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_drawings_have_mnists_form(digits):
    rng = np.random.default_rng(0)
    negatives = draw_negatives(rng, 500, digits.train)
    images = np.concatenate([negatives, draw_styles(rng, 100).images])[..., 0]
    for image in images:
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        assert 18 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 20
        assert image.max() > 200
    assert len(np.unique(negatives.reshape(500, -1), axis=0)) == 500


def measure_roughness(images):
    """How long the outlines are, against those of the same images smoothed: jagged edges are longer."""
    ratios = []
    for image in images[..., 0]:
        large = cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
        lengths = []
        for sigma in (1.0, 4.0):
            smooth = (cv2.GaussianBlur(large, (0, 0), sigma) > 110).astype(np.uint8)
            contours, _ = cv2.findContours(smooth, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            lengths.append(sum(cv2.arcLength(contour, closed=True) for contour in contours))
        if lengths[1]:
            ratios.append(lengths[0] / lengths[1])
    return np.array(ratios)


def test_what_is_no_digit_cant_be_told_by_its_edges(digits):
    rng = np.random.default_rng(1)
    letters = np.stack([canvas.finish_drawing(rng, characters.draw_character(rng)) for _ in range(200)])[..., None]
    redrawn = redraw_digits(rng, 200, digits.train).images
    # By the edges alone one would guess right little more often than by tossing a coin.
    labels = np.repeat([0, 1], [200, 200])
    auroc = roc_auc_score(labels, np.concatenate([measure_roughness(letters), measure_roughness(redrawn)]))
    assert 0.3 < auroc < 0.7


def test_redrawn_digits_are_still_read(mnist):
    trained = weights.load_model(weights.default_checkpoint())
    redrawn = redraw_digits(np.random.default_rng(0), 500, mnist.test)
    logits = compute_logits(trained.apply, redrawn.images)
    assert np.mean(logits.argmax(axis=1) == redrawn.labels) > 0.97


def measure_stroke_widths(image):
    """The width of the strokes along their middle: twice the distance to the edge where that is largest around."""
    distance = cv2.distanceTransform((image > 127).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return 2 * distance[(distance == cv2.dilate(distance, np.ones((5, 5)))) & (distance > 0)]


def test_hands_have_pens_as_thick_as_mnists(mnist):
    """Or a network would take thick strokes for a digit's."""
    rng, drawings = np.random.default_rng(3), []
    while len(drawings) < 300:
        zigzag = np.stack([rng.uniform(0, 60, 4), np.linspace(0, 100, 4)], axis=1)
        image = canvas.finish_drawing(rng, canvas.draw_strokes(rng, [zigzag]))
        drawings += [] if image is None else [image]
    shares = []
    for images in (mnist.train.images[:1000, ..., 0], drawings):
        large = [cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC) for image in images]
        widths = np.array([np.median(measure_stroke_widths(image)) / 4 for image in large])
        shares.append([np.mean(widths < 2), np.mean(widths > 3)])
    np.testing.assert_allclose(*shares, atol=0.1)


def test_traced_letters_have_strokes_of_one_width():
    """Of a serif font the thin strokes are less than half as wide as the thick ones; those of a pen are alike."""
    spreads = []
    for letter in "HMNUA":
        printed = characters._print(letter, "DejaVuSerif-Bold", 72)
        for image in (printed, characters._trace(np.random.default_rng(0), printed)):
            widths = measure_stroke_widths(image)
            spreads.append(np.quantile(widths, 0.9) / np.quantile(widths, 0.1))
    printed, traced = np.reshape(spreads, (-1, 2)).mean(axis=0)
    assert printed > 2
    assert traced < 1.7


def test_a_photographed_drawing_is_found_again():
    rng = np.random.default_rng(4)
    for _ in range(30):
        ink = np.zeros((canvas.SIDE, canvas.SIDE), np.float32)
        cv2.line(ink, (30, 20), (60, 75), 255, 7)
        found = canvas._photograph(rng, ink)
        wanted = cv2.resize(ink, found.shape, interpolation=cv2.INTER_AREA)
        assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.8


def test_signs_without_a_meaning_are_none_of_the_digits(mnist):
    """As a nearest neighbour sees it: they lie further from every digit than digits lie from each other."""
    looks = _measure_looks(mnist.train.images[:3000, ..., 0])
    neighbours = NearestNeighbors(n_neighbors=1).fit(looks)
    rng, kept, left_out = np.random.default_rng(2), [], []
    while len(kept) < 60:
        image = canvas.finish_drawing(rng, doodles.draw_sign(rng))
        (left_out if negatives._unless_alike(image, looks) is None else kept).append(image)
    own, _ = neighbours.kneighbors(_measure_looks(mnist.test.images[:500, ..., 0]))
    signs, _ = neighbours.kneighbors(_measure_looks(np.stack(kept)))
    alike, _ = neighbours.kneighbors(_measure_looks(np.stack([image for image in left_out if image is not None])))
    assert signs.min() > np.quantile(own, 0.9)
    assert alike.max() < signs.min()


def test_no_letter_that_passes_for_a_digit_is_drawn():
    listed = characters.list_characters()
    assert not set(listed) & set("0123456789OoIlSsZz①²½○◯|")
    assert set(listed) >= set("AKWXkwλΨЖ★")


def test_turned_digits_are_other_shapes(digits):
    assert not {0, 1, 8} & TURNS.keys()  # these look the same when turned or mirrored
    turned = turn_digit(np.random.default_rng(0), digits.train)
    assert turned.shape == (canvas.SIDE, canvas.SIDE)
    assert turned.any()


@pytest.mark.parametrize("labels", [[0], [1, 8], [4], list(range(1, 10))])
def test_drawings_are_made_of_the_digits_that_there_are(digits, labels):
    """Pictures of one's own may lack some in a block: what would be made of these are letters instead."""
    some = digits.train.take(np.flatnonzero(np.isin(digits.train.labels, labels)))
    drawn = add_drawn(some, TrainConfig(negative_share=0.3))
    assert np.sum(drawn.labels == 10) == round(0.3 * len(some.labels) / (1 - 0.3 - 0.02 - 0.06))
    assert drawn.images.any(axis=(1, 2, 3)).all()


def test_digits_that_look_the_same_mirrored_end_no_loop():
    """Of one's own "digits", such as those of dice, all may."""
    image = np.zeros((28, 28, 1), np.uint8)
    image[8:20, 8:20] = 255
    dice = Dataset(np.stack([image] * 20), np.full(20, 3, np.int32))
    assert len(draw_negatives(np.random.default_rng(0), 30, dice)) == 30
