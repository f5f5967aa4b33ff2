"""What training minimises."""

from typing import Any

import jax
import optax
from jaxtyping import Array, Float, Int32

from digitjax.config import TrainConfig
from digitjax.nn.answers import AnyArray, add_no_digit
from digitjax.nn.reader import compute_page_losses


def measure_outputs(outputs: Any, targets: Any, config: TrainConfig) -> tuple[Any, Any, Any]:
    """Returns the mean loss of a micro-batch, how many of its digits are read correctly, and how many there are.

    Args:
      outputs: The network's.
      targets: Labels [m] of images, or `Targets` of pages.
      config: The run's config.
    """
    if config.model == "reader":
        return compute_page_losses(outputs, targets)
    preds = add_no_digit(outputs, config).argmax(-1)
    return compute_loss(outputs, targets, config).mean(), (preds == targets).sum(), targets.size


def compute_loss(
    logits: Float[AnyArray, "n classes"], labels: Int32[AnyArray, "n"], config: TrainConfig
) -> Float[Array, "n"]:
    """Returns each example's loss.

    With smoothing e over k classes the target is (1 - e) * one_hot(label) + e / k (Szegedy et al. 2016,
    https://arxiv.org/abs/1512.00567). `softmax` is the cross-entropy with it; `sigmoid` sums the binary cross-entropies
    of the classes, each a question of its own.
    """
    smoothing = config.label_smoothing
    if config.loss == "sigmoid":
        targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), smoothing)
        return optax.sigmoid_binary_cross_entropy(logits, targets).sum(-1)
    logits = add_no_digit(logits, config)
    on_label = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    on_all = jax.nn.logsumexp(logits, axis=-1) - logits.mean(-1)
    return (1 - smoothing) * on_label + smoothing * on_all
