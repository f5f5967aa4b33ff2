"""Makes a trained model's probabilities mean what they say, and chooses when it answers "no digit".

Both are fitted on images that training hasn't seen: a temperature for the probabilities (Guo et al. 2017,
https://arxiv.org/abs/1706.04599), and the threshold below which a picture isn't taken for a digit.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize_scalar

from digitjax.config import LossName
from digitjax.data.arrays import Splits
from digitjax.drawing.hands import divide_hands, draw_plain
from digitjax.nn import looks
from digitjax.nn.answers import is_digit_scores, probs_from_logits
from digitjax.nn.inference import Calibration, TrainedModel
from digitjax.report.measures import mean_loss

# Share of the digits that may be refused: non-digits are more varied than training can show, so the threshold is as
# high as this allows.
REFUSED_SHARE = 0.005


def calibrate(trained: TrainedModel, splits: Splits) -> Calibration:
    """Fits the temperature on the validation digits, and the threshold on those of writers that training never saw.

    Without such writers the threshold, too, is fitted on the validation digits. MNIST's are by the writers of its
    training digits, and so come out surer than other people's.
    """
    logits = looks.predict_logits(trained, splits.validation.images)
    temperature = fit_temperature(logits, splits.validation.labels, trained.config.loss)
    if not trained.config.can_refuse:
        return Calibration(temperature, threshold=0.0)
    labels = splits.validation.labels
    if written := divide_hands(splits.held_out).digits:
        images, labels = draw_plain(written)
        logits = looks.predict_logits(trained, images)
    scores = is_digit_scores(logits, trained.config)[logits.argmax(-1) == labels]  # what is misread may be no digit
    return Calibration(temperature, float(np.quantile(scores, REFUSED_SHARE)))


def fit_temperature(logits: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, "n"], loss: LossName) -> float:
    """Returns the number by which to divide the logits so that the mean loss is least; above 1: they were too sure."""

    def loss_at(log_temperature: float) -> float:
        probs = probs_from_logits(logits, loss, float(np.exp(log_temperature)))
        return mean_loss(probs, labels, loss)

    return float(np.exp(minimize_scalar(loss_at, bounds=(-3, 3), method="bounded").x))
