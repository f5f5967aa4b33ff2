"""The same small training in four frameworks: cnn-32-64-64, Adam at 1e-3, cross-entropy, a new order each epoch.

Each class takes the training images and holds a network in training; each imports its own framework, so that a process
loads only one of them. All use as many threads as the process has processors. Each is written as its documentation
teaches, but without a data loader where the data fits into memory: the comparison is of the training step.
"""

from functools import partial
from typing import Any, Protocol

import numpy as np

FEATURES = (32, 64, 64)
DENSE_FEATURES = 64
NUM_CLASSES = 10
LEARNING_RATE = 1e-3
BATCH_SIZE = 128


class Trainer(Protocol):
    """A network in training."""

    def train_epoch(self) -> None:
        """Trains on all training images once."""

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Returns the logits [n, 10] of uint8 images [n, 28, 28, 1]."""


class DigitjaxTrainer:
    """The library's own train step, with its moving average of the weights, without augmentation."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, seed: int = 0) -> None:
        import jax.numpy as jnp

        from digitjax.config import AugmentConfig, TrainConfig
        from digitjax.train.state import create_state

        nothing = AugmentConfig(rotation_degrees=0, scale=0, shear=0, shift_pixels=0)
        self.config = TrainConfig(
            model="cnn-32-64-64",
            batch_size=BATCH_SIZE,
            learning_rate=LEARNING_RATE,
            schedule="constant",
            weight_decay=0,
            label_smoothing=0,
            augment=nothing,
            negative_share=0,
            style_share=0,
            redrawn_share=0,
            seed=seed,
        )
        self.images, self.labels, self.epoch = jnp.asarray(images), jnp.asarray(labels, jnp.int32), 0
        self.num_steps = -(-len(labels) // BATCH_SIZE)
        self.state = create_state(self.config, self.num_steps)

    def train_epoch(self) -> None:
        """Trains on all training images once."""
        from digitjax.train.batches import DeviceData, draw_order
        from digitjax.train.step import train_step

        order = draw_order(
            self.config.seed, self.epoch, n=len(self.labels), steps=self.num_steps, batch_size=BATCH_SIZE
        )
        data = DeviceData(self.images, self.labels, order)
        for _ in range(self.num_steps):
            self.state = train_step(self.state, data, config=self.config, num_steps=self.num_steps)
        self.state.step.block_until_ready()
        self.epoch += 1

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Returns the logits."""
        from digitjax.nn.inference import apply_model, compute_logits
        from digitjax.nn.networks import create_model

        network = create_model(self.config)
        apply = partial(apply_model, network, {"params": self.state.params})
        return compute_logits(apply, images)


class TorchTrainer:
    """PyTorch, eager, channels first."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, seed: int = 0) -> None:
        import torch
        from torch import nn

        torch.manual_seed(seed)
        layers, channels = list[nn.Module](), 1
        for i, features in enumerate(FEATURES):
            layers += [nn.Conv2d(channels, features, 3), nn.ReLU(), *([nn.MaxPool2d(2)] if i < 2 else [])]
            channels = features
        layers += [nn.Flatten(), nn.LazyLinear(DENSE_FEATURES), nn.ReLU(), nn.Linear(DENSE_FEATURES, NUM_CLASSES)]
        self.network = nn.Sequential(*layers)
        self.images, self.labels = self._to_input(images), torch.from_numpy(labels.astype(np.int64))
        self.network(self.images[:1])  # gives the lazy layer its size
        self.optimizer = torch.optim.Adam(self.network.parameters(), LEARNING_RATE)

    @staticmethod
    def _to_input(images: np.ndarray) -> Any:
        import torch

        return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(255).contiguous()

    def train_epoch(self) -> None:
        """Trains on all training images once."""
        import torch

        self.network.train()
        for indices in torch.randperm(len(self.labels)).split(BATCH_SIZE):
            self.optimizer.zero_grad()
            logits = self.network(self.images[indices])
            torch.nn.functional.cross_entropy(logits, self.labels[indices]).backward()
            self.optimizer.step()

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Returns the logits."""
        import torch

        self.network.eval()
        with torch.inference_mode():
            return torch.cat([self.network(batch) for batch in self._to_input(images).split(1000)]).numpy()


class KerasTrainer:
    """Keras on TensorFlow, `compile` and `fit`."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, seed: int = 0) -> None:
        import os

        os.environ["KERAS_BACKEND"], os.environ["TF_CPP_MIN_LOG_LEVEL"] = "tensorflow", "3"
        import keras

        keras.utils.set_random_seed(seed)
        layers: list[Any] = [keras.Input((28, 28, 1))]
        for i, features in enumerate(FEATURES):
            layers += [keras.layers.Conv2D(features, 3, activation="relu")]
            layers += [keras.layers.MaxPooling2D(2)] if i < 2 else []
        layers += [keras.layers.Flatten(), keras.layers.Dense(DENSE_FEATURES, activation="relu")]
        self.network = keras.Sequential([*layers, keras.layers.Dense(NUM_CLASSES)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.network.compile(keras.optimizers.Adam(LEARNING_RATE), loss)
        self.images, self.labels = images.astype(np.float32) / 255, labels

    def train_epoch(self) -> None:
        """Trains on all training images once."""
        self.network.fit(self.images, self.labels, batch_size=BATCH_SIZE, epochs=1, verbose=0)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Returns the logits."""
        return self.network.predict(images.astype(np.float32) / 255, batch_size=1000, verbose=0)


class FlaxTrainer:
    """Flax, written like its MNIST example: `nn.Conv`, `nn.max_pool`, one jitted step fed from NumPy."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, seed: int = 0) -> None:
        import jax
        import jax.numpy as jnp
        import optax
        from flax import linen as nn
        from flax.training.train_state import TrainState

        class CNN(nn.Module):
            @nn.compact
            def __call__(self, x: Any) -> Any:
                for i, features in enumerate(FEATURES):
                    x = nn.relu(nn.Conv(features, (3, 3), padding="VALID")(x))
                    x = nn.max_pool(x, (2, 2), (2, 2)) if i < 2 else x
                x = nn.relu(nn.Dense(DENSE_FEATURES)(x.reshape(len(x), -1)))
                return nn.Dense(NUM_CLASSES)(x)

        @jax.jit
        def step(state: Any, images: Any, labels: Any) -> Any:
            def loss_fn(params: Any) -> Any:
                logits = state.apply_fn({"params": params}, images)
                return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

            return state.apply_gradients(grads=jax.grad(loss_fn)(state.params))

        network = CNN()
        params = network.init(jax.random.key(seed), jnp.zeros((1, 28, 28, 1)))["params"]
        self.state = TrainState.create(apply_fn=network.apply, params=params, tx=optax.adam(LEARNING_RATE))
        self.step, self.apply = step, jax.jit(network.apply)
        self.images, self.labels = images.astype(np.float32) / 255, labels
        self.generator = np.random.default_rng(seed)

    def train_epoch(self) -> None:
        """Trains on all training images once."""
        order = self.generator.permutation(len(self.labels))
        for start in range(0, len(order), BATCH_SIZE):
            indices = order[start : start + BATCH_SIZE]
            self.state = self.step(self.state, self.images[indices], self.labels[indices])
        self.state.step.block_until_ready()

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Returns the logits."""
        inputs = images.astype(np.float32) / 255
        params = {"params": self.state.params}
        return np.concatenate([self.apply(params, inputs[i : i + 1000]) for i in range(0, len(inputs), 1000)])
