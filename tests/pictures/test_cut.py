import cv2
import numpy as np

from digitjax.pictures.cut import cut_touching


def test_a_shared_wall_is_cut_along():
    mask = np.zeros((60, 90), np.uint8)
    for x in (25, 63):
        cv2.ellipse(mask, (x, 30), (20, 28), 0, 0, 360, 1, 5)
    pieces = cut_touching(mask > 0, 60)
    assert len(pieces) >= 2
    # Some cut parts the two ovals: left of it is nothing of the right one, but for the wall.
    shares = [np.logical_or.reduce([piece.mask for piece in pieces[:n]])[:, :44].sum() for n in range(1, len(pieces))]
    assert max(shares) > 0.9 * (mask[:, :44] > 0).sum()
    assert np.array_equal(np.logical_or.reduce([piece.mask for piece in pieces]), mask > 0)


def test_a_narrow_stroke_isnt_cut():
    mask = np.zeros((60, 90), bool)
    mask[5:55, 40:46] = True
    (piece,) = cut_touching(mask, 50)
    assert piece.cut_left == piece.cut_right == 0
    np.testing.assert_array_equal(piece.mask, mask)
