"""Decides how fast a run learns and when it ends: the schedule, and rules based on the validation losses."""

from collections.abc import Sequence

import numpy as np
import optax

from digitjax.config import TrainConfig


def create_schedule(config: TrainConfig, num_steps: int) -> optax.Schedule:
    """Returns the learning rate as a function of the step."""
    match config.schedule:
        case "constant":
            return optax.constant_schedule(config.learning_rate)
        case "cosine":
            return optax.cosine_decay_schedule(config.learning_rate, num_steps)
        case "onecycle":  # Smith and Topin 2018, https://arxiv.org/abs/1708.07120
            return optax.cosine_onecycle_schedule(num_steps, config.learning_rate, pct_start=0.25)


def scale_on_plateau(losses: Sequence[float], patience: int) -> float:
    """Returns the factor for the learning rate, halved after every `patience` epochs without a better loss.

    Args:
      losses: The validation losses of all epochs so far.
      patience: How many epochs it waits; 0: for ever.
    """
    if not patience:
        return 1.0
    plateau = optax.contrib.reduce_on_plateau(factor=0.5, patience=patience)
    state = plateau.init(None)
    for loss in losses:
        _, state = plateau.update(None, state, value=loss)
    return float(state.scale)


def should_stop_early(losses: Sequence[float], patience: int) -> bool:
    """Whether the last `patience` epochs brought no better validation loss; 0: never."""
    return 0 < patience < len(losses) - int(np.argmin(losses)) if losses else False
