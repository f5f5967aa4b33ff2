import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from digitjax.config import AugmentConfig
from digitjax.nn import augment, spoil

KEY = jax.random.key(0)


def draw_disks(n, radius=6):
    y, x = np.mgrid[:28, :28] - 13.5
    return jnp.tile(jnp.float32(np.hypot(y, x) < radius), (n, 1, 1))


def test_no_more_images_are_spoiled_than_the_share_says_in_each_part_of_the_batch(digits):
    still = AugmentConfig(rotation_degrees=0, scale=0, shear=0, shift_pixels=0, spoiled_share=0.25)
    images = jnp.asarray(digits.test.images[:128])
    augmented = jax.jit(augment.augment_images, static_argnames="config")(KEY, images, config=still)
    changed = np.array(augmented != images).any(axis=(1, 2, 3))
    assert 16 < changed.sum() <= 32
    assert np.all(changed.reshape(4, 32).sum(axis=1) <= 8)


def test_spoiled_images_are_moved_further():
    config = AugmentConfig(rotation_degrees=0, scale=0, shear=0, shift_pixels=3)
    reaches = []
    for times in (1.0, augment.FAR):
        matrices, shifts = augment._draw_affine(KEY, 400, config, jnp.full(400, times))
        reaches.append(np.abs(shifts).max())
        np.testing.assert_allclose(matrices, np.tile(np.eye(2), (400, 1, 1)), atol=1e-6)
    assert reaches[0] <= 3 < reaches[1] <= 3 * augment.FAR


def test_images_stay_on_their_scale(digits):
    images = jnp.asarray(digits.test.images[:200], jnp.float32)
    spoiled = np.array(jax.jit(spoil.spoil_images)(KEY, images))
    assert spoiled.shape == images.shape
    assert np.isfinite(spoiled).all()
    assert spoiled.min() >= 0
    assert spoiled.max() <= 255
    assert len({image.tobytes() for image in spoiled}) == 200  # each has its own


@pytest.mark.parametrize("change", [change for _, change in spoil.CHANGES])
def test_every_change_changes(change, digits):
    inks = jnp.asarray(digits.test.images[:50, ..., 0], jnp.float32) / 255
    changed = np.array(jax.jit(change)(KEY, inks)) != inks
    assert changed.any(axis=(1, 2)).mean() > 0.8


def test_hollow_strokes_are_the_rim_that_dilation_adds():
    disks = draw_disks(20)
    mask = np.array(disks[0]) > 0
    rim = scipy.ndimage.binary_dilation(mask, np.ones((3, 3))) & ~mask
    for image in np.array(jax.jit(spoil._hollow)(KEY, disks)):
        np.testing.assert_array_equal(image > 0, rim)
        assert 0.5 <= image.max() <= 1


def test_blur_is_scipys(digits):
    point = np.zeros((30, 28, 28), np.float32)
    point[:, 14, 14] = 1
    num_compared = 0
    for image in np.array(jax.jit(spoil._blur)(KEY, jnp.asarray(point))):
        np.testing.assert_allclose(image.sum(), 1, atol=1e-2)
        # The moments of the blurred point say how far it was blurred; SciPy then has to draw the same.
        y, x = np.mgrid[:28, :28] - 14
        sigmas = np.sqrt((image * y**2).sum()), np.sqrt((image * x**2).sum())
        if min(sigmas) > 0.7:  # of narrower ones a grid of pixels doesn't show the width
            num_compared += 1
            np.testing.assert_allclose(image, scipy.ndimage.gaussian_filter(point[0], sigmas, truncate=8), atol=0.02)
    assert num_compared > 5


def test_a_negative_is_one_beyond_a_line_and_leaves_the_middle():
    inks = jnp.asarray(np.random.default_rng(0).random((100, 28, 28)), jnp.float32)
    for image, ink in zip(np.array(jax.jit(spoil._invert_side)(KEY, inks)), np.array(inks), strict=True):
        is_negative = np.isclose(image, 1 - ink) & ~np.isclose(image, ink)
        assert np.isclose(image, ink)[~is_negative].all()
        assert not is_negative[13:15, 13:15].any()


def test_noise_in_single_pixels_is_half_black_half_white():
    grey = jnp.full((600, 28, 28), 0.5)
    noisy = np.array(jax.jit(spoil._add_noise)(KEY, grey))
    is_pixels = [set(np.unique(image)) <= {0, 0.5, 1} for image in noisy]
    pixels = noisy[is_pixels]
    assert 150 < len(pixels) < 250  # a third of the images
    assert np.mean(pixels == 0) == pytest.approx(np.mean(pixels == 1), rel=0.05)
    assert 0.02 <= np.mean(pixels != 0.5) <= 0.3


def test_under_changed_light_ink_stays_lighter_than_ground():
    disks = draw_disks(200, radius=8)
    lit = np.array(jax.jit(spoil._change_light)(KEY, disks)).clip(0, 1)
    mask = np.array(disks[0]) > 0
    assert np.mean(lit[:, mask].mean(axis=1) > lit[:, ~mask].mean(axis=1)) > 0.97
