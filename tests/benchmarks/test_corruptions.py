import corruptions
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats


@pytest.fixture(scope="module")
def inks(digits):
    """28x28 digits, blank for four pixels all round, as MNIST's are."""
    images = digits.test.images[:64, ..., 0].astype(np.float32) / 255
    return np.pad(images[:, 4:24, 4:24], ((0, 0), (4, 4), (4, 4)))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_there_are_fifteen_and_each_is_always_the_same(digits):
    images = digits.test.images[:20]
    first = {name: corruptions.corrupt(name, images) for name in corruptions.CORRUPTIONS}
    assert len(first) == 15
    for name in reversed(corruptions.CORRUPTIONS):
        again = corruptions.corrupt(name, images)
        assert again.dtype == np.uint8
        assert again.shape == images.shape
        np.testing.assert_array_equal(again, first[name])
        assert (again != images).any(axis=(1, 2, 3)).all()


def test_shot_noise_counts_photons(rng):
    noisy = corruptions.add_shot_noise(rng, np.full((500, 28, 28), 0.4, np.float32))
    counts = np.rint(noisy * 3)
    np.testing.assert_allclose(noisy * 3, counts)
    expected = scipy.stats.poisson(1.2).pmf(range(5))
    np.testing.assert_allclose([np.mean(counts == k) for k in range(5)], expected, atol=0.003)


def test_impulse_noise_sets_17_percent(rng):
    noisy = corruptions.add_impulse_noise(rng, np.full((500, 28, 28), 0.4, np.float32))
    assert np.mean(noisy == 0) == pytest.approx(0.085, abs=0.002)
    assert np.mean(noisy == 1) == pytest.approx(0.085, abs=0.002)
    assert np.mean(noisy == np.float32(0.4)) == pytest.approx(0.83, abs=0.002)


def test_fog_lies_over_dimmed_ink(inks):
    """The same fog over two pictures: what is left between them is a quarter of their difference."""
    bright = np.maximum(inks, np.eye(28, dtype=np.float32))
    first, second = (corruptions.add_fog(np.random.default_rng(3), each) for each in (bright, np.ones_like(bright)))
    np.testing.assert_allclose(second - first, (1 - bright) / 4, atol=1e-6)
    fog = second - 0.25
    assert fog.min() >= 0
    assert fog.max() <= 0.75
    assert np.abs(np.diff(fog, axis=1)).mean() < 0.2 * fog.std() * 2  # clouds, not noise


def test_mud_covers_ink(inks, rng):
    spattered = corruptions.spatter(rng, np.ones_like(inks))
    assert spattered.min() == pytest.approx(63 / 255, abs=0.03)
    assert spattered.max() == 1
    assert 0.02 < np.mean(spattered < 0.5) < 0.3


def test_blurs_keep_the_amount_of_ink(inks, rng):
    for blur in (corruptions.blur_by_glass, corruptions.blur_by_motion):
        np.testing.assert_allclose(blur(rng, inks).sum(axis=(1, 2)), inks.sum(axis=(1, 2)), rtol=0.06)


def test_motion_smears_to_one_side(rng):
    point = np.zeros((100, 28, 28), np.float32)
    point[:, 14, 14] = 1
    smeared = corruptions.blur_by_motion(rng, point)
    y, x = np.mgrid[:28, :28] - 14
    along, across = (smeared * x).sum(axis=(1, 2)), (smeared * y).sum(axis=(1, 2))
    length = np.hypot(along, across)
    half_gaussian = np.exp(-(np.arange(15) ** 2) / 18)
    np.testing.assert_allclose(length, (half_gaussian * np.arange(15)).sum() / half_gaussian.sum(), rtol=0.1)
    assert np.all(np.abs(across) <= np.abs(along) + 0.3)  # up to 45 degrees
    assert across.min() < -1 < 1 < across.max()


def test_rotation_is_scipys(inks, rng):
    turned = corruptions.rotate(rng, inks)
    either = [
        np.stack([scipy.ndimage.rotate(ink, np.rad2deg(angle), reshape=False, order=1) for ink in inks])
        for angle in (0.4, -0.4)
    ]
    distances = [np.abs(turned - each).max(axis=(1, 2)) for each in either]
    assert np.minimum(*distances).max() < 1e-5
    assert 20 < np.sum(distances[0] < distances[1]) < 44


def test_scaling_keeps_the_centre_and_half_of_the_ink(inks, rng):
    small = corruptions.scale(rng, inks)
    assert np.mean(small.sum(axis=(1, 2)) / inks.sum(axis=(1, 2))) == pytest.approx(0.49, abs=0.02)
    blank = np.ones((28, 28), bool)
    blank[7:21, 7:21] = False  # 20 pixels shrink to 14
    assert small[:, blank].max() < 0.8
    assert small[:, blank].mean() < 0.02 * small.mean()


def test_shear_leans_a_stroke_and_shrinks_it(rng):
    stroke = np.zeros((40, 28, 28), np.float32)
    stroke[:, 4:24, 13:15] = 1
    y, x = np.mgrid[:28, :28] - 13.5
    leaning = corruptions.shear(rng, stroke)
    slopes = (leaning * x * y).sum(axis=(1, 2)) / (leaning * y**2).sum(axis=(1, 2))
    np.testing.assert_allclose(np.abs(slopes), np.sin(0.4), atol=0.02)
    assert 10 < np.sum(slopes > 0) < 30
    np.testing.assert_allclose(leaning[0].sum(axis=1).max() > 1, True)
    np.testing.assert_allclose(np.sum(leaning[0].max(axis=1) > 0.3), 20 / np.cos(0.4), atol=1.1)


def test_translation_moves_whole_pixels(inks, rng):
    moved = corruptions.translate(rng, inks)
    ways = [(y, x) for y in (-3, 3) for x in (-3, 3)]
    matches = np.stack([(moved == np.roll(inks, way, axis=(1, 2))).all(axis=(1, 2)) for way in ways])
    assert np.all(matches.sum(axis=0) == 1)
    assert np.all(matches.sum(axis=1) > 0)


def test_stripes_are_a_negative_of_two_quarters(inks, rng):
    striped = corruptions.invert_stripes(rng, inks)
    np.testing.assert_array_equal(striped[:, :, 7:21], inks[:, :, 7:21])
    np.testing.assert_allclose((striped + inks)[:, :, [*range(7), *range(21, 28)]], 1)


def test_brightness_adds_half_of_white(digits):
    images = digits.test.images[:20]
    expected = np.minimum(images.astype(int) + 127.5, 255)
    np.testing.assert_allclose(corruptions.corrupt("brightness", images), expected, atol=0.51)


def test_a_dotted_line_has_gaps_and_crosses_the_picture(rng):
    dotted = corruptions.add_dotted_line(rng, np.zeros((100, 28, 28), np.float32))
    is_lit = dotted.max(axis=1) > 0
    np.testing.assert_array_equal(is_lit[:, :27], np.tile((np.arange(27) // 2 % 2 == 1), (100, 1)))
    # At each lit column the light is the strongest within half a pixel of one straight line.
    for image in dotted:
        columns = np.flatnonzero(image.max(axis=0) > 0)
        rows = image[:, columns].argmax(axis=0)
        fit = np.polyval(np.polyfit(columns, rows, 1), columns)
        assert np.abs(rows - fit).max() < 0.8


def test_a_zigzag_swings_by_two_pixels(rng):
    zigzags = corruptions.add_zigzag(rng, np.zeros((200, 28, 28), np.float32))
    rows = np.arange(28)[:, None]
    swings = []
    for image in zigzags:
        columns = np.flatnonzero(image.sum(axis=0) > 1.5)  # where the border cuts nothing off
        if len(columns) < 20:
            continue
        middle = (image * rows).sum(axis=0)[columns] / image.sum(axis=0)[columns]
        swings.append(np.abs(middle - np.polyval(np.polyfit(columns, middle, 1), columns)).max())
    assert len(swings) > 100
    assert 1.2 < np.median(swings) < 2.6


def test_edges_are_thin_and_leave_strokes_hollow(rng):
    y, x = np.mgrid[:28, :28] - 13.5
    disk = np.float32(np.hypot(y, x) < 8)[None]
    edges = corruptions.find_edges(rng, disk)[0]
    assert set(np.unique(edges)) == {0, 1}
    assert np.all(edges[np.hypot(y, x) < 6] == 0)
    assert np.all(edges[np.hypot(y, x) > 10] == 0)
    assert edges.sum() == pytest.approx(2 * np.pi * 8, rel=0.25)
