"""The networks: Linen modules from images to logits, the only place that scales pixels."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Key, UInt8

from digitjax.config import SIZE, TrainConfig
from digitjax.nn import layers
from digitjax.nn.reader import PageReader

Variables = dict[str, Any]
"""Flax variables: {"params": ..., and "batch_stats": ... where the network has batch normalisation}."""

Images = UInt8[Array, "n 28 28 1"] | Float[Array, "n 28 28 1"]
"""Light ink on a dark ground, either uint8 in 0..255 or float on the same scale (as augmentation leaves them)."""

# Mean and standard deviation of MNIST's training pixels, on the scale 0..1.
PIXEL_MEAN, PIXEL_STD = 0.1307, 0.3081

# Share of the running statistics that a step keeps.
BATCH_NORM_MOMENTUM = 0.95

Conv = partial(layers.Conv, padding="VALID")


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

    block_features: Sequence[int] = (32, 64, 144)
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
        case "reader":
            return PageReader()
        case "vgg":
            return VGG(dropout_rate=dropout_rate, num_classes=num_classes)


@partial(jax.jit, static_argnames="network")  # operation by operation it takes four seconds
def init_variables(network: nn.Module, key: Key[Array, ""]) -> Variables:
    """Returns fresh variables, decided by `key`."""
    return dict(network.init(key, jnp.zeros((1, SIZE, SIZE, 1), jnp.uint8), train=False))


def count_params(params: Any) -> int:
    """Returns the number of trained numbers in a tree of arrays."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
