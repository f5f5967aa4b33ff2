"""What a training run is, as frozen dataclasses that travel to JSON and back.

A `TrainConfig` holds all that decides the weights, and nothing else: where data lies or where a run is written are
arguments of the commands. Being frozen it is hashable, so a jitted function can take it as a static argument.
"""

import dataclasses
import json
import typing
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import tyro

DATASETS = (
    "auto", "mnist", "digits", "fashion_mnist", "kmnist", "emnist/digits", "emnist/letters", "emnist/balanced",
)  # fmt: skip
FOLDER_PREFIX = "folder:"

DIGITS = tuple("0123456789")
"""The classes of most data sets; images without a digit are drawn for these alone."""

ModelName = Literal["default", "mlp", "cnn-16-8", "cnn-32-64-64", "cnn-dropout", "vgg"]
PresetName = Literal["quick", "default", "best"]
LossName = Literal["softmax", "sigmoid"]
OptimizerName = Literal["adamw", "muon"]
ScheduleName = Literal["constant", "cosine", "onecycle"]


class DigitjaxError(Exception):
    """A mistake that the user can mend; its message says what is wrong, where, and what to do."""


class ConfigError(DigitjaxError):
    """A configuration that cannot be run or read."""


def _require(holds: bool, name: str, value: Any, wanted: str) -> None:
    if not holds:
        raise ConfigError(f"{name} must be {wanted}, found {value!r}")


def require_dataset(name: str) -> None:
    """Refuses names that no data set has.

    Raises:
      ConfigError: There is no such data set.
    """
    is_known = name in DATASETS or (name.startswith(FOLDER_PREFIX) and name != FOLDER_PREFIX)
    _require(is_known, "dataset", name, f"one of {', '.join(DATASETS)}, or {FOLDER_PREFIX}PATH")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How far training images are moved and bent, each drawn uniformly from -limit to +limit, per image."""

    rotation_degrees: float = 12.0
    """Turn about the centre."""
    scale: float = 0.12
    """Relative change of size: 0.1 draws factors from 0.9 to 1.1."""
    shear: float = 0.2
    """Horizontal slant: pixels sideways per pixel of height."""
    shift_pixels: float = 2.0
    """Shift in x and in y, in pixels of the 28x28 image."""
    elastic_pixels: float = 0.0
    """Smooth bends: displacement in x and in y at the nodes of a coarse grid, in pixels."""
    stroke_pixels: float = 0.0
    """How much thicker or thinner strokes get all round, in pixels."""
    spoiled_share: float = 0.0
    """Share of the images, 0 to 1, whose look is spoiled (see `spoil.py`) and that are moved twice as far."""

    def scaled(self, factor: float) -> "AugmentConfig":
        """Returns all limits, and the share, times a factor."""
        return AugmentConfig(**{name: factor * limit for name, limit in dataclasses.asdict(self).items()})

    def __post_init__(self) -> None:
        """Refuses limits that no image survives."""
        _require(0 <= self.rotation_degrees <= 180, "augment.rotation_degrees", self.rotation_degrees, "0 to 180")
        _require(0 <= self.scale < 1, "augment.scale", self.scale, "at least 0 and below 1")
        _require(0 <= self.shear <= 2, "augment.shear", self.shear, "0 to 2")
        _require(0 <= self.shift_pixels <= 14, "augment.shift_pixels", self.shift_pixels, "0 to 14")
        _require(0 <= self.elastic_pixels <= 14, "augment.elastic_pixels", self.elastic_pixels, "0 to 14")
        _require(0 <= self.stroke_pixels <= 1, "augment.stroke_pixels", self.stroke_pixels, "0 to 1")
        _require(0 <= self.spoiled_share <= 1, "augment.spoiled_share", self.spoiled_share, "0 to 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides a run's weights: the same config gives the same weights, bit for bit."""

    dataset: str = "auto"
    """mnist; digits (scikit-learn's); auto: MNIST, or digits where it can't be had; fashion_mnist, kmnist,
    emnist/digits, emnist/letters, emnist/balanced; or folder:PATH, pictures of your own, in one folder a class."""
    class_names: Annotated[tuple[str, ...], tyro.conf.Suppress] = DIGITS
    """The classes, as the data says."""
    model: ModelName = "default"
    """The network; the README shows their layers and sizes."""
    loss: LossName = "softmax"
    """softmax: cross-entropy over ten classes; sigmoid: ten independent yes-or-no questions."""
    epochs: int = 7
    """Passes over the training images."""
    settle_epochs: int = 0
    """The last epochs (all, where there are no more), in which images are varied a quarter as much and a quarter as
    many drawn ones are shown: how the data's own writers meant a doubtful image is what the network shall learn
    last."""
    batch_size: int = 128
    """Images per optimiser step."""
    optimizer: OptimizerName = "adamw"
    """adamw; muon: makes the steps of convolutions' kernels orthogonal, and takes AdamW for the rest."""
    learning_rate: float = 4e-3
    """Peak learning rate."""
    schedule: ScheduleName = "onecycle"
    """How the learning rate moves: constant, cosine (down to 0), onecycle (up, then down to almost 0)."""
    weight_decay: float = 0.02
    """Decoupled weight decay, on kernels alone; with muon, on those of convolutions."""
    label_smoothing: float = 0.02
    """Share of the target that is spread over all classes."""
    average_decay: float = 0.998
    """Decay per step of the moving average of the weights, which is what is evaluated and kept; 0 turns it off."""
    dropout_rate: float = 0.25
    """Share of activations dropped while training, by the models that have dropout layers."""
    augment: AugmentConfig = AugmentConfig()
    """How training images are varied."""
    negative_share: float = 0.08
    """Share of the training images that are drawn to hold no digit; 0: the model takes everything for a digit. This
    and the next two are 0 where the classes aren't the ten digits."""
    one_seven_share: float = 0.02
    """Share of the training images that are drawn 1s with an upstroke and 7s; MNIST has few such 1s."""
    redrawn_share: float = 0.06
    """Share of the training images that are digits drawn anew, with the edges of the images that hold none."""
    early_stopping_epochs: int = 0
    """Stop after this many epochs without a better validation loss, and keep the best epoch; 0: never stop early."""
    plateau_epochs: int = 0
    """Halve the learning rate after this many epochs without a better validation loss; 0: never."""
    seed: int = 0
    """Seed of initial weights, order of the images, augmentation and dropout."""

    def __post_init__(self) -> None:
        """Refuses values that cannot train."""
        require_dataset(self.dataset)
        _require(len(self.class_names) >= 2, "class_names", self.class_names, "two or more")
        for name, annotation in typing.get_type_hints(type(self)).items():
            if get_origin(annotation) is Literal:
                _require(
                    getattr(self, name) in get_args(annotation),
                    name,
                    getattr(self, name),
                    f"one of {get_args(annotation)}",
                )
        _require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        _require(self.settle_epochs >= 0, "settle_epochs", self.settle_epochs, "at least 0")
        _require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        _require(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        _require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "at least 0")
        _require(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "at least 0 and below 1")
        _require(0 <= self.average_decay < 1, "average_decay", self.average_decay, "at least 0 and below 1")
        _require(0 <= self.dropout_rate < 1, "dropout_rate", self.dropout_rate, "at least 0 and below 1")
        _require(0 <= self.negative_share <= 0.5, "negative_share", self.negative_share, "0 to 0.5")
        _require(0 <= self.redrawn_share <= 0.2, "redrawn_share", self.redrawn_share, "0 to 0.2")
        _require(0 <= self.one_seven_share <= 0.2, "one_seven_share", self.one_seven_share, "0 to 0.2")
        _require(self.early_stopping_epochs >= 0, "early_stopping_epochs", self.early_stopping_epochs, "at least 0")
        _require(self.plateau_epochs >= 0, "plateau_epochs", self.plateau_epochs, "at least 0")
        _require(0 <= self.seed < 2**32, "seed", self.seed, "0 to 4294967295")

    def to_json(self) -> str:
        """Returns the config as indented JSON, one field a line."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "TrainConfig":
        """Reads what `to_json` wrote.

        Raises:
          ConfigError: The text is not JSON, or a field is missing, unknown or out of range; the message names it.
        """
        try:
            fields = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"not valid JSON: {error}") from None
        if not isinstance(fields, dict):
            raise ConfigError(f"the config must be an object with fields, found {fields!r}")
        augment = _build(AugmentConfig, fields.pop("augment", None), "augment.")
        class_names = fields.pop("class_names", None)
        is_list = isinstance(class_names, list) and all(isinstance(name, str) for name in class_names)
        _require(is_list, "class_names", class_names, "a list of names")
        return _build(cls, fields, "", augment=augment, class_names=tuple(class_names))


PRESETS: dict[PresetName, TrainConfig] = {
    "quick": TrainConfig(
        epochs=1,
        negative_share=0,
        one_seven_share=0,
        redrawn_share=0,
        augment=AugmentConfig(rotation_degrees=6, scale=0.06, shear=0.1, shift_pixels=1),
    ),
    "default": TrainConfig(),
    "best": TrainConfig(
        model="vgg",
        epochs=20,
        settle_epochs=5,
        optimizer="muon",
        negative_share=0.25,
        one_seven_share=0.03,
        redrawn_share=0.16,
        augment=AugmentConfig(elastic_pixels=0.8, stroke_pixels=0.4, spoiled_share=0.05),
    ),
}
"""Whole recipes, by the name that `--preset` gives them."""

_T = TypeVar("_T")


_ANOTHER_VERSION = "; another version of digitjax may have written it: use that one, or train anew"


def _build(kind: type[_T], values: Any, prefix: str, **nested: Any) -> _T:
    """Makes a dataclass from a dict that must have exactly its fields, each of its type."""
    if not isinstance(values, dict):
        raise ConfigError(f"{prefix.rstrip('.')} must be an object with fields, found {values!r}")
    hints = {name: hint for name, hint in typing.get_type_hints(kind).items() if name not in nested}
    if missing := hints.keys() - values.keys():
        raise ConfigError(f"missing field {prefix}{min(missing)}{_ANOTHER_VERSION}")
    if unknown := values.keys() - hints.keys():
        raise ConfigError(f"unknown field {prefix}{min(unknown)}{_ANOTHER_VERSION}")
    for name, hint in hints.items():
        expected = (str,) if get_args(hint) else {float: (int, float)}.get(hint, (hint,))
        if not isinstance(values[name], expected) or isinstance(values[name], bool):
            raise ConfigError(f"field {prefix}{name} must be a {expected[-1].__name__}, found {values[name]!r}")
    return kind(**values, **nested)
