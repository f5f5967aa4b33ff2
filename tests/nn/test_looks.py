import dataclasses

import numpy as np
import pytest
import scipy.ndimage

from digitjax.config import AugmentConfig, TrainConfig
from digitjax.nn import looks
from digitjax.nn.answers import measure_margins
from digitjax.nn.inference import TrainedModel


class Network:
    """Stands in for a network: its logits are products with smooth patterns, and it keeps what it was shown."""

    def __init__(self):
        rng = np.random.default_rng(1)
        self.patterns = scipy.ndimage.gaussian_filter(rng.normal(0, 1, (10, 28, 28)), (0, 3, 3)).reshape(10, -1)
        self.patterns *= 2e-3
        self.batches = []

    def __call__(self, images):
        self.batches.append(np.array(images))
        return (images.reshape(len(images), -1) @ self.patterns.T + 1.0).astype(np.float32)


def make_model(network, **fields):
    return TrainedModel(TrainConfig(**fields), None, {}, network)


@pytest.fixture(scope="module")
def images():
    """Smooth blobs in the middle, as digits are."""
    rng = np.random.default_rng(0)
    blobs = scipy.ndimage.gaussian_filter(rng.uniform(0, 1, (40, 28, 28)), (0, 2, 2))
    blobs = (blobs - blobs.min()) / np.ptp(blobs)
    blobs[:, :6], blobs[:, -6:], blobs[..., :6], blobs[..., -6:] = 0, 0, 0, 0
    return (255 * blobs).astype(np.uint8)[..., None]


def change(image, degrees, scale):
    """Turns and scales about the centre, with SciPy."""
    radians = np.deg2rad(degrees)
    matrix = np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]]) / scale
    center = np.array([13.5, 13.5])
    pixels = image[..., 0].astype(np.float64)
    return scipy.ndimage.affine_transform(pixels, matrix, offset=center - matrix @ center, order=1)[..., None]


@pytest.mark.parametrize("n", [1, 2, 40])
def test_unsure_answers_are_the_mean_over_the_image_turned_and_scaled(images, n, monkeypatch):
    monkeypatch.setattr(looks, "UNSURE", np.inf)
    network = Network()
    limits = AugmentConfig(rotation_degrees=10, scale=0.2)
    logits = looks.predict_logits(make_model(network, augment=limits), images[:n])
    for image, row in zip(images, logits, strict=False):
        seen = [change(image, *way) for way in ((0, 1), (10, 1), (-10, 1), (0, 1.2), (0, 0.8))]
        np.testing.assert_allclose(row, network(np.stack(seen)).mean(axis=0), atol=0.01)
    assert np.abs(logits - network(images[:n])).max() > 0.05  # or the looks told nothing new


def test_sure_answers_are_left_alone(images):
    network = Network()
    margins = np.diff(np.sort(network(images), axis=1)[:, -2:])[:, 0]
    best = network(images).max(axis=1)
    unsure = (np.minimum(np.where(best > 0, margins, np.inf), np.abs(best)) < looks.UNSURE).tolist()
    assert 0 < sum(unsure) < 40
    logits = looks.predict_logits(make_model(network), images)
    changed = (logits != network(images)).any(axis=1)
    assert changed.tolist() == unsure


def test_without_it_the_images_are_seen_once(images):
    network = Network()
    logits = looks.predict_logits(make_model(network), images, tta=False)
    assert sum(map(len, network.batches)) == 48  # in three batches of sixteen
    np.testing.assert_array_equal(logits, network(images))


@pytest.mark.parametrize(
    ("logits", "fields", "expected"),
    [
        ([1.0, 9.0, 6.5], {}, 2.5),
        ([-3.0, 2.0, -4.0], {}, 2.0),  # "no digit", 0, is second
        ([-3.0, -1.5, -4.0], {}, 1.5),  # "no digit" is first
        ([-3.0, -1.5, -4.0], {"negative_share": 0.0}, 1.5),
        ([-3.0, 2.0, -4.0], {"negative_share": 0.0}, 5.0),  # it knows of no other answer
        ([-3.0, 2.0, -4.0], {"loss": "sigmoid"}, 5.0),
    ],
)
def test_how_far_the_best_answer_is_ahead(logits, fields, expected):
    margins = measure_margins(np.array([logits], np.float32), TrainConfig(**fields))
    assert margins.tolist() == pytest.approx([expected])


def test_what_training_never_moved_isnt_moved(images):
    network = Network()
    still = dataclasses.replace(AugmentConfig(), rotation_degrees=0, scale=0)
    logits = looks.predict_logits(make_model(network, augment=still), images[:4])
    np.testing.assert_allclose(logits, network(images[:4]), rtol=1e-6)


def test_no_image_no_answer():
    assert looks.predict_logits(make_model(Network()), np.zeros((0, 28, 28, 1), np.uint8)).shape == (0, 10)
