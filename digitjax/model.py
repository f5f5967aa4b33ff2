"""The networks: Linen modules from images to logits, the only place that scales pixels."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int32, Key, UInt8

from digitjax import layers, sharding
from digitjax.config import LossName, TrainConfig

Variables = dict[str, Any]
"""Flax variables: {"params": ..., and "batch_stats": ... where the network has batch normalisation}."""

Images = UInt8[Array, "n 28 28 1"] | Float[Array, "n 28 28 1"]
"""Light ink on a dark ground, either uint8 in 0..255 or float on the same scale (as augmentation leaves them)."""

AnyArray = TypeVar("AnyArray", Array, np.ndarray)
"""JAX's arrays or NumPy's; a function that takes either returns the same kind."""

# Mean and standard deviation of MNIST's training pixels, on the scale 0..1.
PIXEL_MEAN, PIXEL_STD = 0.1307, 0.3081

# Share of the running statistics that a step keeps.
BATCH_NORM_MOMENTUM = 0.95

Conv = partial(nn.Conv, padding="VALID", conv_general_dilated=layers.conv_general_dilated)


def normalize_pixels(images: Images) -> Float[Array, "n 28 28 1"]:
    """Brings pixels from 0..255 to mean 0 and standard deviation 1, as float32."""
    return (images.astype(jnp.float32) / 255 - PIXEL_MEAN) / PIXEL_STD


class MLP(nn.Module):
    """Flatten, then dense layers with ReLU: the baseline that doesn't know what a neighbouring pixel is."""

    hidden_features: Sequence[int] = (128, 128)
    num_classes: int = 10

    @nn.compact
    def __call__(self, images: Images, *, train: bool) -> Float[Array, "n classes"]:
        """Returns the logits."""
        del train
        x = normalize_pixels(images).reshape(images.shape[0], -1)
        for features in self.hidden_features:
            x = nn.relu(nn.Dense(features)(x))
        return nn.Dense(self.num_classes)(x)


class CNN(nn.Module):
    """Valid convolutions with bias and ReLU, each but perhaps the last with 2x2 pooling, then one hidden dense layer.

    Bias and ReLU come after pooling: neither changes which of four numbers is the largest, so the result is the same as
    before it, for a quarter of the work.
    """

    features: Sequence[int]
    kernel_sizes: Sequence[int]
    num_pools: int
    dense_features: int
    num_classes: int = 10

    @nn.compact
    def __call__(self, images: Images, *, train: bool) -> Float[Array, "n classes"]:
        """Returns the logits."""
        del train
        x = normalize_pixels(images)
        for i, (features, size) in enumerate(zip(self.features, self.kernel_sizes, strict=True)):
            is_pooled = i < self.num_pools
            if is_pooled:  # the last row and column that pooling would leave out needn't be computed
                rest = (x.shape[1] - size + 1) % 2
                x = x[:, : x.shape[1] - rest, : x.shape[2] - rest]
            x = Conv(features, (size, size), use_bias=False)(x)
            x = layers.max_pool(x) if is_pooled else x
            x = nn.relu(x + self.param(f"bias_{i}", nn.initializers.zeros, (features,)))
        x = x.reshape(x.shape[0], -1)
        x = nn.relu(nn.Dense(self.dense_features)(x))
        return nn.Dense(self.num_classes)(x)


class DropoutCNN(nn.Module):
    """Blocks of two convolutions, pooling and dropout, as in VGG, then a dense layer with dropout."""

    block_features: Sequence[int] = (16, 32)
    dense_features: int = 128
    dropout_rate: float = 0.25
    num_classes: int = 10

    @nn.compact
    def __call__(self, images: Images, *, train: bool) -> Float[Array, "n classes"]:
        """Returns the logits; with `train` the caller gives `rngs={"dropout": key}`."""
        x = normalize_pixels(images)
        for features in self.block_features:
            x = nn.relu(Conv(features, (3, 3))(x))
            x = nn.relu(Conv(features, (3, 3))(x))
            x = layers.max_pool(x)
            x = nn.Dropout(self.dropout_rate, deterministic=not train)(x)
        x = x.reshape(x.shape[0], -1)
        x = nn.relu(nn.Dense(self.dense_features)(x))
        x = nn.Dropout(self.dropout_rate, deterministic=not train)(x)
        return nn.Dense(self.num_classes)(x)


class VGG(nn.Module):
    """Blocks of convolutions with batch normalisation, then 2x2 pooling (Simonyan and Zisserman 2015).

    The first convolution looks at 5x5 pixels, without padding, since the rim of a drawing of MNIST's is blank; all
    others look at 3x3 and keep the size.
    """

    block_features: Sequence[int] = (32, 64, 128)
    block_depths: Sequence[int] = (2, 2, 3)
    dropout_rate: float = 0.25
    num_classes: int = 10

    @nn.compact
    def __call__(self, images: Images, *, train: bool) -> Float[Array, "n classes"]:
        """Returns the logits; with `train` the caller gives `rngs={"dropout": key}` and lets `batch_stats` change."""
        x = normalize_pixels(images)
        for i, (features, depth) in enumerate(zip(self.block_features, self.block_depths, strict=True)):
            for j in range(depth):
                is_first = i == j == 0
                size, padding = ((5, 5), "VALID") if is_first else ((3, 3), "SAME")
                x = Conv(features, size, padding=padding, use_bias=False)(x)
                x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=BATCH_NORM_MOMENTUM)(x))
            x = layers.max_pool(x)
        x = x.reshape(x.shape[0], -1)
        x = nn.Dropout(self.dropout_rate, deterministic=not train)(x)
        return nn.Dense(self.num_classes)(x)


def create_model(config: TrainConfig) -> nn.Module:
    """Returns the network that a config asks for, without weights."""
    dropout_rate, num_classes = config.dropout_rate, len(config.class_names)
    match config.model:
        case "default":
            # Large first kernels see a whole stroke; past this width MNIST gains from depth, not from more channels.
            return CNN((32, 64, 64), (5, 3, 3), num_pools=2, dense_features=128, num_classes=num_classes)
        case "mlp":
            return MLP(num_classes=num_classes)
        case "cnn-16-8":
            return CNN((16, 8), (5, 2), num_pools=2, dense_features=100, num_classes=num_classes)
        case "cnn-32-64-64":
            return CNN((32, 64, 64), (3, 3, 3), num_pools=2, dense_features=64, num_classes=num_classes)
        case "cnn-dropout":
            return DropoutCNN(dropout_rate=dropout_rate, num_classes=num_classes)
        case "vgg":
            return VGG(dropout_rate=dropout_rate, num_classes=num_classes)


@partial(jax.jit, static_argnames="network")  # operation by operation it takes four seconds
def init_variables(network: nn.Module, key: Key[Array, ""]) -> Variables:
    """Returns fresh variables, decided by `key`."""
    return dict(network.init(key, jnp.zeros((1, 28, 28, 1), jnp.uint8), train=False))


def count_params(params: Any) -> int:
    """Returns the number of trained numbers in a tree of arrays."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


# ---------------------------------------------------------------- inference


def probs_from_logits(
    logits: Float[AnyArray, "n classes"], loss: LossName, temperature: float = 1.0
) -> Float[AnyArray, "n classes"]:
    """Returns probabilities as the model was trained to give them, of logits divided by the temperature.

    Those of `softmax` sum to 1; those of `sigmoid` answer ten separate questions, and don't. NumPy's arrays give
    NumPy's, JAX's give JAX's.
    """
    logits = logits / np.float32(temperature)
    if loss == "sigmoid":
        return _sigmoid(logits)
    return logits.__array_namespace__().exp(logits - _logsumexp(logits)[:, None])


def is_digit_scores(logits: Float[AnyArray, "n classes"], config: TrainConfig) -> Float[AnyArray, "n"]:
    """Returns how likely each image holds a digit at all, 0 to 1; always 1 where training showed nothing but digits.

    `softmax` models were trained with an eleventh logit, "no digit", that is always 0, so this is one minus the
    probability of that class. Of `sigmoid` models it is the best of the ten answers.
    """
    if not config.negative_share:
        return logits.__array_namespace__().ones_like(logits[:, 0])
    return _sigmoid(logits.max(-1) if config.loss == "sigmoid" else _logsumexp(logits))


def _sigmoid(x: Float[AnyArray, "..."]) -> Float[AnyArray, "..."]:
    xp = x.__array_namespace__()
    return xp.exp(-xp.logaddexp(0.0, -x))


def _logsumexp(logits: Float[AnyArray, "n classes"]) -> Float[AnyArray, "n"]:
    xp, largest = logits.__array_namespace__(), logits.max(-1)
    return largest + xp.log(xp.exp(logits - largest[:, None]).sum(-1))


@partial(jax.jit, static_argnames=("model", "num_steps"))
def integrated_gradients(
    model: nn.Module, variables: Variables, image: UInt8[Array, "28 28 1"], label: Int32[Array, ""], num_steps: int = 64
) -> Float[Array, "28 28 1"]:
    """Returns by how much each pixel's ink raised the logarithm of the label's probability (softmax over the digits).

    Integrated gradients (Sundararajan et al. 2017, https://arxiv.org/abs/1703.01365) from blank ground to the image:
    where there is no ink it is 0, and all together make up the whole difference between the two, but for the error of
    integrating in `num_steps` steps, a multiple of 16.
    """
    ink = image.astype(jnp.float32)
    shares = (jnp.arange(num_steps, dtype=jnp.float32) + 0.5) / num_steps

    def total_log_prob(images: Float[Array, "n 28 28 1"]) -> Float[Array, ""]:
        logits = cast("Array", model.apply(variables, images, train=False))
        return jax.nn.log_softmax(logits)[:, label].sum()

    def mean_grad(shares: Float[Array, "n"]) -> Float[Array, "28 28 1"]:
        return jax.grad(total_log_prob)(shares[:, None, None, None] * ink).mean(0)

    return jax.lax.map(mean_grad, shares.reshape(-1, CPU_BATCHES[0])).mean(0) * ink


@partial(jax.jit, static_argnames="model")
def apply_model(model: nn.Module, variables: Variables, images: Images) -> Float[Array, "n classes"]:
    """Returns the logits of one batch."""
    return cast("Array", model.apply(variables, images, train=False))


Apply = Callable[[Any], Float[Array, "n classes"]]
"""A network with its weights: from the images of one batch (`Images`) to their logits."""


def compile_apply(model: nn.Module, variables: Variables) -> Apply:
    """Returns `apply_model` of one network, compiled with its weights in it.

    As constants they are laid out for the processor and handed over once, not with each batch: one image takes a sixth
    less time. Weights that change, as in training, want `apply_model`, which is compiled once for all of them.
    """
    constants = jax.device_get(variables)
    return jax.jit(lambda images: cast("Array", model.apply(constants, images, train=False)))


# How many images go through the network together: on a CPU a few, as of one row of digits, or many, where `vgg` takes
# two thirds of the time for each; MNIST's sets have whole numbers of batches. An accelerator wants many.
CPU_BATCHES, ACCELERATOR_BATCH = (16, 125), 1024


def compute_logits(apply: Apply, images: UInt8[np.ndarray, "n 28 28 1"]) -> Float[np.ndarray, "n classes"]:
    """Returns the logits of any number of images, on the host, in their order.

    One image goes alone, more in batches of one size, the last of them padded: so few sizes are compiled, and no image
    is left out. Each batch is divided among this process's devices.

    Args:
      apply: The network with its weights.
      images: Light ink on a dark ground.
    """
    mesh = sharding.local_mesh()
    few, many = CPU_BATCHES if layers.on_cpu() else (ACCELERATOR_BATCH, ACCELERATOR_BATCH)
    batch_size = 1 if len(images) == 1 else sharding.round_up(few if len(images) < many else many, mesh)
    batches = []
    for start in range(0, max(len(images), 1), batch_size):
        batch = images[start : start + batch_size]
        if missing := batch_size - len(batch):  # alone an image has no time for what changes nothing
            batch = np.pad(batch, ((0, missing), (0, 0), (0, 0), (0, 0)))
        is_divided = mesh.size > 1 and batch_size > 1  # to one device the jitted function takes it itself, and faster
        batches.append(apply(sharding.split_rows(batch, mesh) if is_divided else batch))
    return np.concatenate([np.asarray(logits) for logits in batches])[: len(images)]
