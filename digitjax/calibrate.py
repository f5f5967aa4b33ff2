"""Makes a trained model's probabilities mean what they say, and chooses when it answers "no digit".

Both are fitted on the validation images, which training hasn't seen: a temperature for the probabilities (Guo et al.
2017, https://arxiv.org/abs/1706.04599), and the threshold below which a picture isn't taken for a digit.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize_scalar

from digitjax import drawn, model
from digitjax.checkpoint import Calibration, TrainedModel
from digitjax.config import LossName
from digitjax.idx import Dataset

NUM_NEGATIVES = 2000

# Training draws its negatives from the run's seed, which is below this.
NEGATIVES_SEED = 2**32


def calibrate(trained: TrainedModel, validation: Dataset) -> Calibration:
    """Fits temperature and threshold.

    Args:
      trained: The model.
      validation: Digits that the model hasn't seen. What is no digit is drawn here, anew.
    """
    logits = model.compute_logits(trained.network, trained.variables, validation.images)
    temperature = fit_temperature(logits, validation.labels, trained.config.loss)
    if not trained.config.negative_share:
        return Calibration(temperature, threshold=0.0)
    negatives = drawn.draw_negatives(np.random.default_rng(NEGATIVES_SEED), NUM_NEGATIVES, validation)
    others = model.compute_logits(trained.network, trained.variables, negatives)
    scores, other_scores = (model.is_digit_scores(z, trained.config) for z in (logits, others))
    return Calibration(temperature, choose_threshold(scores, other_scores))


def fit_temperature(logits: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, "n"], loss: LossName) -> float:
    """Returns the number by which to divide the logits so that the mean loss is least; above 1: they were too sure."""

    def loss_at(log_temperature: float) -> float:
        probs = model.probs_from_logits(logits / np.float32(np.exp(log_temperature)), loss)
        return mean_loss(probs, labels, loss)

    return float(np.exp(minimize_scalar(loss_at, bounds=(-3, 3), method="bounded").x))


def choose_threshold(digit_scores: Float[np.ndarray, "n"], other_scores: Float[np.ndarray, "m"]) -> float:
    """Returns the score at and above which a picture is taken for a digit.

    It is the one at which the share of digits refused and the share of others accepted have the least sum (Youden
    1950), as if both kinds were equally frequent; in the middle between the two scores that it divides.
    """
    scores = np.unique(np.concatenate([digit_scores, other_scores]))
    refused = np.searchsorted(np.sort(digit_scores), scores) / len(digit_scores)
    accepted = 1 - np.searchsorted(np.sort(other_scores), scores) / len(other_scores)
    best = int(np.argmin(refused + accepted))
    return float((scores[max(best - 1, 0)] + scores[best]) / 2)


def mean_loss(probs: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, "n"], loss: LossName) -> float:
    """Returns the mean negative log-likelihood of the true classes; of `sigmoid`, summed over the ten questions."""
    tiny = np.finfo(np.float32).tiny  # a probability that was rounded to 0 costs 87 nats, not infinity
    rows, probs = np.arange(len(labels)), probs.astype(np.float64)
    on_label = -np.log(np.maximum(probs[rows, labels], tiny))
    if loss == "softmax":
        return float(on_label.mean())
    off_label = -np.log(np.maximum(1 - probs, tiny))
    return float((on_label + off_label.sum(-1) - off_label[rows, labels]).mean())
