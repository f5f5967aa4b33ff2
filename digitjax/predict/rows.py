"""Which candidates of a row are its digits, and whether it is a row of digits at all."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from digitjax.pictures.segment import Candidate, Row
from digitjax.predict.results import Prediction

# In a row each piece is a digit or none by itself only where its score is very low: cuts leave traces, and the
# neighbours speak for it. Chosen on the numbers of `benchmarks/composed.py`, as is the score's weight in
# `_score_candidate`.
MIN_PIECE_SCORE = 0.02

# The most that one piece can say for its row, and the share of it for a piece that was cut, since letters fall into
# strokes that pass for 1s. A piece speaks for digits down to LEEWAY below the threshold, since how sure a network is at
# all depends on its training. So nine in ten of 600 composed rows of letters are skipped, and none of 600 rows of
# digits; with 1.0, one is.
MAX_LOG_ODDS, CUT_WEIGHT, LEEWAY = 3.0, 0.3, 1.5

# The natural logarithm of width / height in MNIST's training images: mean and standard deviation for each digit.
LOG_ASPECTS = {
    "0": (-0.11, 0.20), "1": (-0.94, 0.45), "2": (-0.07, 0.22), "3": (-0.24, 0.21), "4": (-0.24, 0.21),
    "5": (-0.07, 0.26), "6": (-0.33, 0.22), "7": (-0.27, 0.21), "8": (-0.28, 0.22), "9": (-0.40, 0.20),
}  # fmt: skip
ANY_LOG_ASPECT = (-0.2, 0.4)  # of non-digits, roughly

# Other people write narrower than MNIST's did; what is wider is likely more than one digit. Chosen by
# `benchmarks/composed.py --fit`.
NARROW_TOLERANCE, WIDE_TOLERANCE = 2.0, 1.0


def choose_digits(
    row: Row, predictions: Sequence[Prediction], class_names: Sequence[str], threshold: float
) -> tuple[Prediction, ...]:
    """Returns the digits of a row, from left to right; none where it is more likely one of letters.

    Args:
      row: The row.
      predictions: What each of its candidates was read as, with a threshold of at most `MIN_PIECE_SCORE`.
      class_names: What they may be read as.
      threshold: The `is_digit_score` of what may as well be a digit as not; 0: everything is one.
    """
    scores = [_score_candidate(*pair, class_names) for pair in zip(row.candidates, predictions, strict=True)]
    chosen = [(row.candidates[i], predictions[i]) for i in choose_candidates(row, scores)]
    if threshold > 0 and chosen and _sum_log_odds(chosen, threshold) < 0:
        return ()
    return tuple(prediction for _, prediction in chosen if prediction.label is not None)


def _score_candidate(candidate: Candidate, prediction: Prediction, class_names: Sequence[str]) -> float:
    """How well a candidate reads as one digit: the log-probability of its cuts, of its looks and of its shape."""
    probs, is_digit = prediction.probabilities, prediction.is_digit_score
    mean, deviation = LOG_ASPECTS.get(class_names[int(probs.argmax())], ANY_LOG_ASPECT)
    excess = (np.log(candidate.aspect) - mean) / deviation
    shape = -0.5 * (excess / (WIDE_TOLERANCE if excess > 0 else NARROW_TOLERANCE)) ** 2
    return candidate.log_prior + float(np.log(max(probs.max() * is_digit, 1e-6)) + max(shape, -8.0))


def _sum_log_odds(pieces: Sequence[tuple[Candidate, Prediction]], threshold: float) -> float:
    """Returns the logarithm of the odds that a row is one of digits, each of its pieces a witness of its own."""
    scores = np.array([prediction.is_digit_score for _, prediction in pieces])
    log_odds = _log_odds(scores) - _log_odds(np.array([threshold])) + LEEWAY
    log_odds = log_odds.clip(-MAX_LOG_ODDS, MAX_LOG_ODDS)
    weights = np.array([CUT_WEIGHT if candidate.log_prior < 0 else 1.0 for candidate, _ in pieces])
    return float((weights * log_odds).sum())


def _log_odds(scores: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
    clipped = scores.clip(1e-6, 1 - 1e-6)
    return np.log(clipped / (1 - clipped))


def choose_candidates(row: Row, scores: Sequence[float]) -> list[int]:
    """Returns the indices of the candidates that share the row's atoms among them with the largest sum of scores."""
    num_atoms = len(row.log_skips)
    ending = [[i for i, candidate in enumerate(row.candidates) if candidate.last == n] for n in range(num_atoms + 1)]
    best: list[tuple[float, list[int]]] = [(0.0, [])]
    for n in range(1, num_atoms + 1):
        choices = [(best[row.candidates[i].first], scores[i], [i]) for i in ending[n]]
        choices.append((best[n - 1], row.log_skips[n - 1], []))
        before, score, chosen = max(choices, key=lambda choice: choice[0][0] + choice[1])
        best.append((before[0] + score, before[1] + chosen))
    return best[num_atoms][1]
