import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

from digitjax.config import AugmentConfig
from digitjax.nn import augment

STILL = AugmentConfig(rotation_degrees=0, scale=0, shear=0, shift_pixels=0)
KEY = jax.random.key(0)


def test_without_limits_images_stay_as_they_are(digits):
    images = jnp.asarray(digits.test.images[:50])
    np.testing.assert_array_equal(augment.augment_images(KEY, images, STILL), images)


def test_the_key_decides(digits):
    images = jnp.asarray(digits.test.images[:20])
    first = augment.augment_images(KEY, images, AugmentConfig())
    np.testing.assert_array_equal(first, augment.augment_images(KEY, images, AugmentConfig()))
    assert not np.allclose(first, augment.augment_images(jax.random.key(1), images, AugmentConfig()))
    assert not np.allclose(first, images)


def test_sampling_equals_scipy(digits):
    affine_key, _, _ = jax.random.split(KEY, 3)
    matrices, shifts = augment._draw_affine(affine_key, 20, AugmentConfig(), jnp.ones(20))
    images = jnp.asarray(digits.test.images[:20])
    ours = augment.augment_images(KEY, images, AugmentConfig())
    center = np.array([13.5, 13.5])
    for image, matrix, shift, out in zip(
        np.array(images[..., 0]), np.array(matrices), np.array(shifts), ours, strict=True
    ):
        offset = center - matrix @ (center + shift)
        # grid-constant: zero ground goes on past the edge, instead of ending there
        theirs = scipy.ndimage.affine_transform(
            image.astype(np.float64), matrix, offset, order=1, mode="grid-constant", cval=0
        )
        np.testing.assert_allclose(out[..., 0], theirs, atol=0.05)


@pytest.mark.parametrize(
    ("config", "measure", "limit"),
    [
        (AugmentConfig(rotation_degrees=10, scale=0, shear=0, shift_pixels=0), "angle", np.deg2rad(10)),
        (AugmentConfig(rotation_degrees=0, scale=0.2, shear=0, shift_pixels=0), "scale", 0.2),
        (AugmentConfig(rotation_degrees=0, scale=0, shear=0, shift_pixels=3), "shift", 3),
        (AugmentConfig(rotation_degrees=0, scale=0, shear=0.3, shift_pixels=0), "shear", 0.3),
    ],
)
def test_amounts_fill_their_limits(config, measure, limit):
    matrices, shifts = (np.array(a) for a in augment._draw_affine(KEY, 4000, config, jnp.ones(4000)))
    amounts = {
        "angle": np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]),
        "scale": 1 / matrices[:, 0, 0] - 1,
        "shift": shifts[:, 0],
        "shear": matrices[:, 1, 0],
    }[measure]
    assert -limit - 1e-5 <= amounts.min() < -0.98 * limit
    assert 0.98 * limit < amounts.max() <= limit + 1e-5
    assert amounts.mean() == pytest.approx(0, abs=0.05 * limit)


def test_strokes_grow_and_shrink_by_a_pixel(digits):
    inks = digits.test.images[:2, ..., 0].astype(np.float32)
    cross = scipy.ndimage.generate_binary_structure(2, 1)
    for amount in (-1.0, -0.3, 0.0, 0.5, 1.0):
        changed = augment._change_strokes(jnp.asarray(inks), jnp.full(2, amount))
        morph = scipy.ndimage.grey_dilation if amount > 0 else scipy.ndimage.grey_erosion
        for ink, out in zip(inks, changed, strict=True):
            extreme = morph(ink, footprint=cross, mode="constant")
            np.testing.assert_allclose(out, ink + abs(amount) * (extreme - ink), atol=1e-3)


def test_bends_are_pillows_bicubic_between_random_nodes():
    bends = np.asarray(augment._draw_bends(KEY, 100, AugmentConfig(elastic_pixels=2.0)))
    side = augment.ELASTIC_NODES
    nodes = np.asarray(jax.random.uniform(KEY, (100, 2, side, side), minval=-2, maxval=2))
    assert abs(nodes).max() > 1.95
    for bend, node in zip(bends.reshape(-1, 28, 28), nodes.reshape(-1, side, side), strict=True):
        theirs = Image.fromarray(node).resize((28, 28), Image.Resampling.BICUBIC)
        np.testing.assert_allclose(bend, np.asarray(theirs), atol=1e-4)


def test_bending_moves_ink_but_keeps_it(digits):
    images = jnp.asarray(digits.test.images[:50])
    still = AugmentConfig(rotation_degrees=0, scale=0, shear=0, shift_pixels=0, elastic_pixels=1.0)
    bent = augment.augment_images(KEY, images, still)
    assert float(abs(bent - images).mean()) > 3
    np.testing.assert_allclose(bent.sum(axis=(1, 2, 3)), images.sum(axis=(1, 2, 3), dtype=jnp.float32), rtol=0.35)
