"""The loss that training minimises."""

import jax
import optax
from jaxtyping import Array, Float, Int32

from digitjax.config import TrainConfig
from digitjax.nn.answers import AnyArray, add_no_digit


def compute_loss(
    logits: Float[AnyArray, "n classes"], labels: Int32[AnyArray, "n"], config: TrainConfig
) -> Float[Array, "n"]:
    """Returns each example's loss.

    With smoothing e over k classes the target is (1 - e) * one_hot(label) + e / k (Szegedy et al. 2016,
    https://arxiv.org/abs/1512.00567). `softmax` is the cross-entropy with it; `sigmoid` sums the binary cross-entropies
    of the classes, each a separate question.
    """
    smoothing = config.label_smoothing
    if config.loss == "sigmoid":
        targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), smoothing)
        return optax.sigmoid_binary_cross_entropy(logits, targets).sum(-1)
    logits = add_no_digit(logits, config)
    on_label = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    on_all = jax.nn.logsumexp(logits, axis=-1) - logits.mean(-1)
    return (1 - smoothing) * on_label + smoothing * on_all
