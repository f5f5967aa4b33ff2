"""Shows which ink decided."""

from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int32, UInt8

from digitjax.nn.inference import CPU_BATCHES
from digitjax.nn.networks import Variables


@partial(jax.jit, static_argnames=("model", "num_steps"))
def integrated_gradients(
    model: nn.Module, variables: Variables, image: UInt8[Array, "28 28 1"], label: Int32[Array, ""], num_steps: int = 64
) -> Float[Array, "28 28 1"]:
    """Returns how much each pixel's ink raised the log-probability of the label (softmax over the digits).

    These are integrated gradients (Sundararajan et al. 2017, https://arxiv.org/abs/1703.01365) from a blank image to
    this one. They are 0 where there is no ink, and add up to the whole difference between the two images, up to the
    error of integrating in `num_steps` steps, a multiple of 16.
    """
    ink = image.astype(jnp.float32)
    shares = (jnp.arange(num_steps, dtype=jnp.float32) + 0.5) / num_steps

    def total_log_prob(images: Float[Array, "n 28 28 1"]) -> Float[Array, ""]:
        logits = cast("Array", model.apply(variables, images, train=False))
        return jax.nn.log_softmax(logits)[:, label].sum()

    def mean_grad(shares: Float[Array, "n"]) -> Float[Array, "28 28 1"]:
        return jax.grad(total_log_prob)(shares[:, None, None, None] * ink).mean(0)

    return jax.lax.map(mean_grad, shares.reshape(-1, CPU_BATCHES[0])).mean(0) * ink
