import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from digitjax import augment
from digitjax.config import AugmentConfig

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
    matrices, shifts = augment._draw_affine(KEY, 20, AugmentConfig())
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
    matrices, shifts = (np.array(a) for a in augment._draw_affine(KEY, 4000, config))
    amounts = {
        "angle": np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]),
        "scale": 1 / matrices[:, 0, 0] - 1,
        "shift": shifts[:, 0],
        "shear": matrices[:, 1, 0],
    }[measure]
    assert -limit - 1e-5 <= amounts.min() < -0.98 * limit
    assert 0.98 * limit < amounts.max() <= limit + 1e-5
    assert amounts.mean() == pytest.approx(0, abs=0.05 * limit)
