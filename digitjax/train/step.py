"""One step of the optimiser: batch -> gradients -> next state."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from digitjax.config import TrainConfig
from digitjax.nn import layers
from digitjax.nn.answers import add_no_digit
from digitjax.nn.networks import create_model
from digitjax.train.batches import DeviceData, draw_batch
from digitjax.train.loss import compute_loss
from digitjax.train.state import Metrics, TrainState, create_optimizer, derive_keys


@partial(jax.jit, static_argnames=("config", "num_steps"), donate_argnames="state")
def train_step(
    state: TrainState,
    train: DeviceData,
    rate_scale: float | Float[Array, ""] = 1.0,
    *,
    config: TrainConfig,
    num_steps: int,
) -> TrainState:
    """Takes one optimiser step on the next batch.

    Args:
      state: The state before the step; donated, so it can't be used afterwards.
      train: The data; the step picks its own row of `train.order`.
      rate_scale: A factor for the scheduled learning rate.
      config: The run's config.
      num_steps: Steps of the whole run, for the schedule.
    """
    network, tx = create_model(config), create_optimizer(config, num_steps)
    augment_key, dropout_key = jax.random.split(jax.random.fold_in(derive_keys(config.seed).step, state.step))
    images, labels = draw_batch(augment_key, train, state.step, config)  # [k, m, 28, 28, 1], [k, m]

    def loss_fn(params: Any, images: Any, labels: Any, key: Key[Array, ""]) -> tuple[Any, Any]:
        """Returns a micro-batch's mean loss, its number of correct answers, and the updated statistics."""
        logits, stats = network.apply(
            {"params": params, **state.stats}, images, train=True, rngs={"dropout": key}, mutable=list(state.stats)
        )
        preds = add_no_digit(logits, config).argmax(-1)
        return compute_loss(logits, labels, config).mean(), ((preds == labels).sum(), stats)

    k = len(images)
    grads, loss, num_correct, stats = _sum_over(
        loss_fn, state.params, (images, labels, jax.random.split(dropout_key, k))
    )
    grads, loss, stats = jax.tree.map(lambda total: total / k, (grads, loss, stats))

    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    updates = jax.tree.map(lambda update: update * rate_scale, updates)
    params = optax.apply_updates(state.params, updates)
    # A short average at first, or the initial weights would spoil the first epochs.
    decay = jnp.minimum(config.average_decay, (1 + state.step) / (10 + state.step))
    return TrainState(
        step=state.step + 1,
        params=params,
        stats=stats,
        average=optax.incremental_update({"params": params, **stats}, state.average, 1 - decay),
        opt_state=opt_state,
        metrics=Metrics(
            state.metrics.loss + loss,
            state.metrics.num_correct + num_correct,
            state.metrics.num_examples + labels.size,
            jnp.where((state.metrics.lost_step == 0) & ~jnp.isfinite(loss), state.step + 1, state.metrics.lost_step),
        ),
    )


def compile_step(state: TrainState, train: DeviceData, *, config: TrainConfig, num_steps: int) -> None:
    """Compiles `train_step` for these arguments, by taking a step and discarding it; the state stays as it is."""
    copy = jax.tree.map(jnp.copy, state)
    jax.block_until_ready(train_step(copy, train, 1.0, config=config, num_steps=num_steps))


def _sum_over(loss_fn: Callable[..., Any], params: Any, micro_batches: Any) -> Any:
    """Returns sums over the micro-batches: gradients, losses, and whatever else `loss_fn` returns."""
    if not layers.on_cpu():

        def total_loss(params: Any) -> Any:
            losses, others = jax.vmap(loss_fn, in_axes=(None, 0, 0, 0))(params, *micro_batches)
            return losses.sum(), jax.tree.map(lambda leaf: leaf.sum(0), others)

        (loss, others), grads = jax.value_and_grad(total_loss, has_aux=True)(params)
        return grads, loss, *others

    def add(sums: Any, micro_batch: Any) -> tuple[Any, None]:
        (loss, others), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, *micro_batch)
        return jax.tree.map(jnp.add, sums, (grads, loss, *others)), None

    (loss, others) = jax.eval_shape(loss_fn, params, *jax.tree.map(lambda leaf: leaf[0], micro_batches))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), (params, loss, *others))
    return jax.lax.scan(add, zeros, micro_batches)[0]
