"""The state of a run, and the optimiser that updates it."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int32, Key

from digitjax.config import TrainConfig
from digitjax.nn.networks import Variables, create_model, init_variables
from digitjax.train.schedule import create_schedule


class Metrics(NamedTuple):
    """Sums over the steps of the current epoch."""

    loss: Float[Array, ""]  # the sum of the batches' mean losses
    num_correct: Int32[Array, ""]
    num_examples: Int32[Array, ""]
    lost_step: Int32[Array, ""]  # the first whose loss was NaN or infinite; 0: none


class TrainState(NamedTuple):
    """Everything that changes from step to step, all of it arrays; saved whole, so that a run resumes bit for bit."""

    step: Int32[Array, ""]
    params: Any
    stats: Variables  # what the forward pass itself updates: {} or {"batch_stats": ...}
    average: Variables  # moving average of params and stats, which is evaluated and kept
    opt_state: optax.OptState
    metrics: Metrics


def zero_metrics() -> Metrics:
    """Returns the sums at the start of an epoch."""
    return Metrics(jnp.float32(0), jnp.int32(0), jnp.int32(0), jnp.int32(0))


class Keys(NamedTuple):
    """The keys of a run, one for each purpose."""

    init: Key[Array, ""]
    order: Key[Array, ""]
    step: Key[Array, ""]


def derive_keys(seed: int) -> Keys:
    """Splits the seed by purpose, so that no two draws of a run share a key."""
    return Keys(*jax.random.split(jax.random.key(seed), 3))


@partial(jax.jit, static_argnames=("config", "num_steps"))  # jitted as a whole, it compiles in a third of the time
def create_state(config: TrainConfig, num_steps: int) -> TrainState:
    """Returns the state before the first step of a run of `num_steps`."""
    variables = init_variables(create_model(config), derive_keys(config.seed).init)
    params = variables["params"]
    return TrainState(
        step=jnp.int32(0),
        params=params,
        stats={name: tree for name, tree in variables.items() if name != "params"},
        average=jax.tree.map(jnp.copy, variables),
        opt_state=create_optimizer(config, num_steps).init(params),
        metrics=zero_metrics(),
    )


def create_optimizer(config: TrainConfig, num_steps: int) -> optax.GradientTransformation:
    """Returns the config's optimiser, with its schedule.

    AdamW: Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101. Muon: Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon/, for the convolutions, each kernel as a matrix from a pixel's
    neighbourhood to the features; AdamW for the rest.
    """
    schedule = create_schedule(config, num_steps)
    match config.optimizer:
        case "adamw":
            return optax.adamw(
                schedule,
                weight_decay=config.weight_decay,
                mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params),  # kernels, not biases
            )
        case "muon":
            matrix = optax.contrib.MuonDimensionNumbers(reduction_axis=(0, 1, 2), output_axis=(3,))
            return optax.contrib.muon(
                schedule,
                weight_decay=config.weight_decay,
                muon_weight_dimension_numbers=lambda params: jax.tree.map(
                    lambda leaf: matrix if leaf.ndim == 4 else None, params
                ),
                # The root mean square of an update, in learning rates; AdamW's is about 0.2 (Liu et al. 2025,
                # https://arxiv.org/abs/2502.16982). Twice as much did just as well.
                consistent_rms=0.5,
            )
