import numpy as np
import pytest

from digitjax.nn import looks
from digitjax.nn.answers import probs_from_logits
from digitjax.report.measures import mean_loss
from digitjax.runs import weights
from digitjax.train import calibrate


def draw_logits(n=4000):
    """Logits that are right about themselves: labels are drawn from their own probabilities."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (n, 10)).astype(np.float32)
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return logits, np.array([rng.choice(10, p=p / p.sum()) for p in probs.astype(np.float64)])


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_factor(factor):
    logits, labels = draw_logits()
    assert calibrate.fit_temperature(logits * np.float32(factor), labels, "softmax") == pytest.approx(factor, rel=0.05)


def test_the_temperature_of_independent_questions():
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (30_000, 1)).astype(np.float32)
    # One question: the label 0 is "yes", and where the answer is "no" there is none to be had; so ask of two classes.
    yes = rng.random(30_000) < 1 / (1 + np.exp(-logits[:, 0]))
    both = np.concatenate([logits, -logits], axis=1)
    assert calibrate.fit_temperature(2 * both, np.where(yes, 0, 1), "sigmoid") == pytest.approx(2, rel=0.05)


def test_a_model_that_saw_digits_alone_refuses_none(run, digits):
    trained = weights.load_model(run)
    config = trained.config.__class__(**{**vars(trained.config), "negative_share": 0.0})
    assert calibrate.calibrate(trained._replace(config=config), digits).threshold == 0


def test_calibration_is_repeatable_and_stands_beside_the_weights(run, digits):
    trained = weights.load_model(run)
    again = calibrate.calibrate(trained, digits)
    assert again == trained.calibration
    logits = looks.predict_logits(trained, digits.validation.images)

    def loss(temperature):
        probs = probs_from_logits(logits / np.float32(temperature), "softmax")
        return mean_loss(probs, digits.validation.labels, "softmax")

    scores = 1 - 1 / (1 + np.exp(logits.astype(np.float64)).sum(axis=1))
    scores = scores[logits.argmax(axis=1) == digits.validation.labels]  # a misread one may well be refused
    assert np.mean(scores < again.threshold) == pytest.approx(calibrate.REFUSED_SHARE, abs=1 / len(scores))
    assert loss(again.temperature) <= min(loss(again.temperature * factor) for factor in (0.8, 0.95, 1.05, 1.2))
