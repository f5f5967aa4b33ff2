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
from digitjax.nn.networks import create_model
from digitjax.train.batches import DeviceData
from digitjax.train.composer import PageBatch
from digitjax.train.loss import measure_outputs
from digitjax.train.state import Metrics, TrainState, create_optimizer, derive_keys


@partial(jax.jit, static_argnames=("config", "num_steps"), donate_argnames="state")
def train_step(
    state: TrainState,
    train: DeviceData | PageBatch,
    rate_scale: float | Float[Array, ""] = 1.0,
    *,
    config: TrainConfig,
    num_steps: int,
) -> TrainState:
    """Takes one optimiser step on the next batch.

    Args:
      state: The state before; donated, so it can't be used afterwards.
      train: The epoch's images, of which the step takes its own row of `order`; or the step's pages.
      rate_scale: What the scheduled learning rate is multiplied by.
      config: The run's config.
      num_steps: Steps of the whole run, for the schedule.
    """
    network, tx = create_model(config), create_optimizer(config, num_steps)
    augment_key, dropout_key = jax.random.split(jax.random.fold_in(derive_keys(config.seed).step, state.step))
    inputs, targets = train.draw_batch(augment_key, state.step, config)  # in k micro-batches: [k, m, ...]

    def loss_fn(params: Any, inputs: Any, targets: Any, key: Key[Array, ""]) -> tuple[Any, Any]:
        """Returns a micro-batch's mean loss; its right answers and all, and the statistics after it."""
        outputs, stats = network.apply(
            {"params": params, **state.stats}, inputs, train=True, rngs={"dropout": key}, mutable=list(state.stats)
        )
        loss, num_correct, num_examples = measure_outputs(outputs, targets, config)
        return loss, (num_correct, jnp.int32(num_examples), stats)

    k = len(inputs)
    grads, loss, num_correct, num_examples, stats = _sum_over(
        loss_fn, state.params, (inputs, targets, jax.random.split(dropout_key, k))
    )
    grads, loss, stats = jax.tree.map(lambda total: total / k, (grads, loss, stats))

    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    updates = jax.tree.map(lambda update: update * rate_scale, updates)
    params = optax.apply_updates(state.params, updates)
    # A short average at first, or the initial weights would weigh on the first epochs.
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
            state.metrics.num_examples + num_examples,
            jnp.where((state.metrics.lost_step == 0) & ~jnp.isfinite(loss), state.step + 1, state.metrics.lost_step),
        ),
    )


def compile_step(state: TrainState, train: DeviceData | PageBatch, *, config: TrainConfig, num_steps: int) -> None:
    """Has `train_step` compiled for such arguments, by a step whose result nobody takes; the state stays as it is."""
    copy = jax.tree.map(jnp.copy, state)
    jax.block_until_ready(train_step(copy, train, 1.0, config=config, num_steps=num_steps))


def _sum_over(loss_fn: Callable[..., Any], params: Any, micro_batches: Any) -> Any:
    """Returns sums over the micro-batches: gradients, losses, and what else `loss_fn` returns."""
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
