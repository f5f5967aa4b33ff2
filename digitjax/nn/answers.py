"""Logits -> what they mean: probabilities of the classes, and whether there is a digit at all.

A network has one logit per class. If training also showed non-digits, there is one more answer, "no digit". Its logit
is always 0, so it needs no parameters.
"""

from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Array, Float

from digitjax.config import LossName, TrainConfig

AnyArray = TypeVar("AnyArray", Array, np.ndarray)
"""A JAX or a NumPy array; a function that takes either returns the same kind."""


class Answers(NamedTuple):
    """What a model says about n images: float32 arrays, from JAX or NumPy as the logits are."""

    logits: Any  # [n, classes]
    probs: Any  # [n, classes], calibrated, given that there is a digit
    is_digit_scores: Any  # [n], 0 to 1


def read_logits(logits: Float[AnyArray, "n classes"], config: TrainConfig, temperature: float) -> Answers:
    """Returns everything that the logits say, for a model trained with `config`."""
    return Answers(logits, probs_from_logits(logits, config.loss, temperature), is_digit_scores(logits, config))


def probs_from_logits(
    logits: Float[AnyArray, "n classes"], loss: LossName, temperature: float = 1.0
) -> Float[AnyArray, "n classes"]:
    """Divides logits by the temperature and returns probabilities, as the model was trained to give them.

    Those of `softmax` sum to 1; those of `sigmoid` don't, since they answer ten separate questions.
    """
    logits = logits / np.float32(temperature)
    if loss == "sigmoid":
        return _sigmoid(logits)
    return logits.__array_namespace__().exp(logits - _logsumexp(logits)[:, None])


def is_digit_scores(logits: Float[AnyArray, "n classes"], config: TrainConfig) -> Float[AnyArray, "n"]:
    """Returns how likely each image holds a digit at all, 0 to 1; always 1 if training showed only digits.

    For `softmax` models it is one minus the probability of "no digit", for `sigmoid` models the best of ten answers.
    """
    if not config.can_refuse:
        return logits.__array_namespace__().ones_like(logits[:, 0])
    return _sigmoid(logits.max(-1) if config.loss == "sigmoid" else _logsumexp(logits))


def add_no_digit(logits: Float[AnyArray, "n classes"], config: TrainConfig) -> Float[AnyArray, "n answers"]:
    """Returns the logits of all answers: those of the classes and, if the model can refuse, that of "no digit".

    `sigmoid` models are trained without it; for them it is the answer if all ten say no.
    """
    if not config.can_refuse:
        return logits
    xp = logits.__array_namespace__()
    return xp.concat([logits, xp.zeros_like(logits[..., :1])], axis=-1)


def measure_margins(logits: Float[np.ndarray, "n classes"], config: TrainConfig) -> Float[np.ndarray, "n"]:
    """Returns how far the best answer's logit lies above the second best's, at least 0.

    For `sigmoid` models, "no digit" isn't one of the answers.
    """
    answers = logits if config.loss == "sigmoid" else add_no_digit(logits, config)
    second, best = np.partition(answers, -2)[:, -2:].T
    return best - second


def _sigmoid(x: Float[AnyArray, "..."]) -> Float[AnyArray, "..."]:
    xp = x.__array_namespace__()
    return xp.exp(-xp.logaddexp(0.0, -x))


def _logsumexp(logits: Float[AnyArray, "n classes"]) -> Float[AnyArray, "n"]:
    xp, largest = logits.__array_namespace__(), logits.max(-1)
    return largest + xp.log(xp.exp(logits - largest[:, None]).sum(-1))
