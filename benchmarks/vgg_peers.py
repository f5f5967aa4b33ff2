"""The network that ships, in PyTorch, Keras and ONNX Runtime, and a program that reads one picture with each.

    python benchmarks/vgg_peers.py PyTorch FOLDER picture.png     # prints the digit; FOLDER: see `export`

Each function imports its framework itself, so that a process loads one of them alone. The picture gets the usual
treatment: grey, inverted, reduced to 28x28.
"""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Predict = Callable[[np.ndarray], np.ndarray]
"""From uint8 images [n, 28, 28, 1] to logits [n, 10]."""

PIXEL_MEAN, PIXEL_STD, EPSILON = 0.1307, 0.3081, 1e-5
BLOCK_FEATURES, BLOCK_DEPTHS = (32, 64, 144), (2, 2, 3)

# Images that go through a network together, for each the fastest of 16, 64, 256 and 1,024 on two cores.
BATCH_SIZE = 64


def _normalize(images: np.ndarray) -> np.ndarray:
    return ((images.astype(np.float32) / 255 - PIXEL_MEAN) / PIXEL_STD).astype(np.float32)


def _in_batches(predict: Predict) -> Predict:
    return lambda images: np.concatenate(
        [predict(_normalize(images[i : i + BATCH_SIZE])) for i in range(0, len(images), BATCH_SIZE)]
    )


# ---------------------------------------------------------------- networks


def create_torch() -> Any:
    """Returns the network in PyTorch, channels first."""
    from torch import nn

    layers, channels = list[nn.Module](), 1
    for features, depth in zip(BLOCK_FEATURES, BLOCK_DEPTHS, strict=True):
        for _ in range(depth):
            size, padding = (5, 0) if channels == 1 else (3, 1)
            layers += [nn.Conv2d(channels, features, size, padding=padding, bias=False)]
            layers += [nn.BatchNorm2d(features, eps=EPSILON), nn.ReLU()]
            channels = features
        layers += [nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(9 * channels, 10)).eval()


def create_keras() -> Any:
    """Returns the network in Keras."""
    import keras

    layers: list[Any] = [keras.Input((28, 28, 1))]
    for features, depth in zip(BLOCK_FEATURES, BLOCK_DEPTHS, strict=True):
        for _ in range(depth):
            size, padding = (5, "valid") if len(layers) == 1 else (3, "same")
            layers += [keras.layers.Conv2D(features, size, padding=padding, use_bias=False)]
            layers += [keras.layers.BatchNormalization(epsilon=EPSILON), keras.layers.ReLU()]
        layers += [keras.layers.MaxPooling2D(2)]
    return keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(10)])


def export(variables: dict[str, Any], folder: Path) -> None:
    """Writes the weights of Flax's network for each of the others: `model.pt`, `model.keras` and `model.onnx`."""
    import torch

    params, stats = variables["params"], variables["batch_stats"]
    kernels = [np.asarray(params[f"Conv_{i}"]["kernel"]) for i in range(sum(BLOCK_DEPTHS))]
    norms = [
        [
            np.asarray(tree[f"BatchNorm_{i}"][name])
            for tree, name in ((params, "scale"), (params, "bias"), (stats, "mean"), (stats, "var"))
        ]
        for i in range(len(kernels))
    ]
    dense, bias = np.asarray(params["Dense_0"]["kernel"]), np.asarray(params["Dense_0"]["bias"])

    network = create_keras()
    pairs = [array for kernel, norm in zip(kernels, norms, strict=True) for array in (kernel, *norm)]
    network.set_weights([*pairs, dense, bias])
    network.save(folder / "model.keras")

    network = create_torch()
    arrays = []
    for kernel, norm in zip(kernels, norms, strict=True):
        arrays += [kernel.transpose(3, 2, 0, 1), *norm, np.array(0)]
    channels = BLOCK_FEATURES[-1]
    # Flax flattens [3, 3, channels], PyTorch [channels, 3, 3].
    arrays += [dense.reshape(9, channels, 10).transpose(2, 1, 0).reshape(10, -1), bias]
    names = network.state_dict()
    network.load_state_dict(
        {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in zip(names, arrays, strict=True)}
    )
    torch.save(network.state_dict(), folder / "model.pt")
    torch.onnx.export(
        network, (torch.zeros(1, 1, 28, 28),), folder / "model.onnx", dynamo=False,
        input_names=["images"], dynamic_axes={"images": {0: "n"}},
    )  # fmt: skip


# ---------------------------------------------------------------- prediction


def load_torch(folder: Path) -> Predict:
    """Loads the network in PyTorch."""
    import torch

    network = create_torch()
    network.load_state_dict(torch.load(folder / "model.pt", weights_only=True))

    def predict(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()

    return _in_batches(predict)


def load_keras(folder: Path) -> Predict:
    """Loads the network in Keras."""
    import os

    os.environ["KERAS_BACKEND"], os.environ["TF_CPP_MIN_LOG_LEVEL"] = "tensorflow", "3"
    import keras

    network = keras.models.load_model(folder / "model.keras")

    def predict(images: np.ndarray) -> np.ndarray:
        # `predict` is made for many images: for one, calling the network is much faster.
        if len(images) == 1:
            return np.asarray(network(_normalize(images), training=False))
        return network.predict(_normalize(images), batch_size=BATCH_SIZE, verbose=0)

    return predict


def load_onnx(folder: Path) -> Predict:
    """Loads the network in ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    return _in_batches(lambda images: session.run(None, {"images": images.transpose(0, 3, 1, 2)})[0])


LOADERS = {"PyTorch": load_torch, "Keras": load_keras, "ONNX Runtime": load_onnx}


def prepare(picture: bytes) -> np.ndarray:
    """Returns a picture as the tutorials do: uint8 [1, 28, 28, 1]."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(picture)) as image:
        return np.asarray(ImageOps.invert(image.convert("L")).resize((28, 28)))[None, ..., None]


if __name__ == "__main__":
    framework, folder, path = sys.argv[1:]
    print(LOADERS[framework](Path(folder))(prepare(Path(path).read_bytes())).argmax())
