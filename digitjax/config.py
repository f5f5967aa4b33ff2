"""What a training run is, as frozen dataclasses that travel to JSON and back.

A `TrainConfig` holds all that decides the weights, and nothing else: where data lies or where a run is written are
arguments of the commands. Being frozen it is hashable, so a jitted function can take it as a static argument.
"""

import dataclasses
import json
import typing
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast, get_args, get_origin

import tyro

DATASETS = (
    "auto", "mnist", "digits", "fashion_mnist", "kmnist", "emnist/digits", "emnist/letters", "emnist/balanced",
)  # fmt: skip
FOLDER_PREFIX = "folder:"

DIGITS = tuple("0123456789")
"""The classes of most data sets; images without a digit are drawn for these alone."""

SIZE = 28
"""The side of the images that networks see, in pixels."""

CENTER = (SIZE - 1) / 2
"""The middle of such an image, in y and in x, where the first pixel's middle is 0."""

ExtraName = Literal["unipen", "optdigits", "semeion", "omniglot"]
ModelName = Literal["default", "mlp", "cnn-16-8", "cnn-32-64-64", "cnn-dropout", "vgg", "reader"]
PresetName = Literal["quick", "default", "best", "reader"]
LossName = Literal["softmax", "sigmoid"]
OptimizerName = Literal["adamw", "muon"]
ScheduleName = Literal["constant", "cosine", "onecycle"]


class DigitjaxError(Exception):
    """A mistake that the user can mend; its message says what is wrong, where, and what to do."""


class ConfigError(DigitjaxError):
    """A configuration that cannot be run or read."""


def _require(holds: bool, name: str, value: Any, wanted: object) -> None:
    if not holds:
        raise ConfigError(f"{name} must be {wanted}, found {value!r}")


def require_dataset(name: str) -> None:
    """Refuses names that no data set has.

    Raises:
      ConfigError: There is no such data set.
    """
    is_known = name in DATASETS or (name.startswith(FOLDER_PREFIX) and name != FOLDER_PREFIX)
    _require(is_known, "dataset", name, f"one of {', '.join(DATASETS)}, or {FOLDER_PREFIX}PATH")


# ---------------------------------------------------------------- fields with limits


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """The numbers that a field may have, as an annotation of its type; `str` says it in words."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def __contains__(self, value: float) -> bool:
        """Whether a number is within the limits; NaN never is."""
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        """The limits in words: "0 to 14", "at least 0 and below 1"."""
        if self.at_least is not None and self.at_most is not None:
            return f"{self.at_least} to {self.at_most}"
        limits = ((name.replace("_", " "), limit) for name, limit in vars(self).items())
        return " and ".join(f"{words} {limit}" for words, limit in limits if limit is not None)


_Share = Annotated[float, Limits(at_least=0, at_most=1)]
_DrawnShare = Annotated[float, Limits(at_least=0, at_most=0.4)]
_Fraction = Annotated[float, Limits(at_least=0, below=1)]
_Pixels = Annotated[float, Limits(at_least=0, at_most=14)]
_Count = Annotated[int, Limits(at_least=0)]


class _Checked:
    """A dataclass that refuses what its fields' annotations don't allow."""

    PREFIX: ClassVar[str] = ""  # how its fields are named to the user

    def __post_init__(self) -> None:
        """Checks every field with limits or choices."""
        for name, hint in typing.get_type_hints(type(self), include_extras=True).items():
            value = getattr(self, name)
            if get_origin(hint) is Literal:
                _require(value in get_args(hint), self.PREFIX + name, value, f"one of {get_args(hint)}")
            if get_origin(hint) is tuple and (choices := get_args(get_args(hint)[0])):
                _require(set(value) <= set(choices), self.PREFIX + name, value, f"some of {choices}")
            for limits in getattr(hint, "__metadata__", ()):
                if isinstance(limits, Limits):
                    _require(value in limits, self.PREFIX + name, value, limits)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentConfig(_Checked):
    """How far training images are moved and bent, each drawn uniformly from -limit to +limit, per image."""

    PREFIX: ClassVar[str] = "augment."

    rotation_degrees: Annotated[float, Limits(at_least=0, at_most=180)] = 12.0
    """Turn about the centre."""
    scale: _Fraction = 0.12
    """Relative change of size: 0.1 draws factors from 0.9 to 1.1."""
    shear: Annotated[float, Limits(at_least=0, at_most=2)] = 0.2
    """Horizontal slant: pixels sideways per pixel of height."""
    shift_pixels: _Pixels = 2.0
    """Shift in x and in y, in pixels of the 28x28 image."""
    elastic_pixels: _Pixels = 0.0
    """Smooth bends: displacement in x and in y at the nodes of a coarse grid, in pixels."""
    stroke_pixels: _Share = 0.0
    """How much thicker or thinner strokes get all round, in pixels."""
    spoiled_share: _Share = 0.0
    """Share of the images, 0 to 1, whose look is spoiled (see `nn/spoil.py`) and that are moved twice as far."""

    def scaled(self, factor: float) -> "AugmentConfig":
        """Returns all limits, and the share, times a factor."""
        return AugmentConfig(**{name: factor * limit for name, limit in dataclasses.asdict(self).items()})


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig(_Checked):
    """Everything that decides a run's weights: the same config gives the same weights, bit for bit."""

    dataset: str = "auto"
    """mnist; digits (scikit-learn's); auto: MNIST, or digits where it can't be had; fashion_mnist, kmnist,
    emnist/digits, emnist/letters, emnist/balanced; or folder:PATH, pictures of your own, in one folder a class."""
    extra_datasets: tuple[ExtraName, ...] = ()
    """Characters by other hands, that training draws with any pen: digits take places of --redrawn-share, the others of
    --negative-share. A fifth of their writers is held out, another one for each --seed of five, to choose when to
    answer "no digit". Only where the classes are the ten digits."""
    class_names: Annotated[tuple[str, ...], tyro.conf.Suppress] = DIGITS
    """The classes, as the data says."""
    class_hashes: Annotated[tuple[str, ...], tyro.conf.Suppress] = ()
    """Of folder:PATH, a hash of each class's pictures: a run goes on, and is evaluated, with the same ones alone."""
    model: ModelName = "default"
    """The network; docs/networks.md shows their layers and sizes."""
    loss: LossName = "softmax"
    """softmax: cross-entropy over ten classes; sigmoid: ten independent yes-or-no questions."""
    epochs: Annotated[int, Limits(at_least=1)] = 7
    """Passes over the training images."""
    settle_epochs: _Count = 0
    """The last epochs (all, where there are no more), in which images are varied a quarter as much and three quarters
    of the drawn ones give their places to images that are shown again: so the network learns last how the data's own
    writers meant a doubtful image."""
    batch_size: Annotated[int, Limits(at_least=1)] = 128
    """Images per optimiser step."""
    optimizer: OptimizerName = "adamw"
    """adamw; muon: makes the steps of convolutions' kernels orthogonal, and takes AdamW for the rest."""
    learning_rate: Annotated[float, Limits(above=0)] = 4e-3
    """Peak learning rate."""
    schedule: ScheduleName = "onecycle"
    """How the learning rate moves: constant, cosine (down to 0), onecycle (up, then down to almost 0)."""
    weight_decay: Annotated[float, Limits(at_least=0)] = 0.02
    """Decoupled weight decay, on kernels alone; with muon, on those of convolutions."""
    label_smoothing: _Fraction = 0.02
    """Share of the target that is spread over all classes."""
    average_decay: _Fraction = 0.998
    """Decay per step of the moving average of the weights, which is what is evaluated and kept; 0 turns it off."""
    dropout_rate: _Fraction = 0.25
    """Share of activations dropped while training; refused for networks that have no dropout."""
    augment: AugmentConfig = AugmentConfig()
    """How training images are varied."""
    negative_share: Annotated[float, Limits(at_least=0, at_most=0.5)] = 0.08
    """Share of the training images that are drawn to hold no digit; 0: the model sees a digit in everything. This
    and the next two are 0 where the classes aren't the ten digits."""
    style_share: _DrawnShare = 0.02
    """Share of the training images that are digits drawn in styles of much of the world, which MNIST's writers hardly
    ever used: 1s with an upstroke, 4s like a φ, 8s of two rings."""
    redrawn_share: _DrawnShare = 0.06
    """Share of the training images that are digits drawn anew, with the edges of the images that hold none."""
    early_stopping_epochs: _Count = 0
    """Stop after this many epochs without a better validation loss, and keep the best epoch; 0: never stop early."""
    plateau_epochs: _Count = 0
    """Halve the learning rate after this many epochs without a better validation loss; 0: never."""
    seed: Annotated[int, Limits(at_least=0, at_most=2**32 - 1)] = 0
    """Seed of initial weights, order of the images, augmentation and dropout."""

    def __post_init__(self) -> None:
        """Refuses values that cannot train."""
        super().__post_init__()
        require_dataset(self.dataset)
        _require(len(self.class_names) >= 2, "class_names", self.class_names, "two or more")
        _require(len(self.class_hashes) in (0, len(self.class_names)), "class_hashes", self.class_hashes, "one a class")

    @property
    def can_refuse(self) -> bool:
        """Whether training shows images without a digit, so that the model can tell them."""
        return self.negative_share > 0

    @property
    def no_digit(self) -> int:
        """The label of an image without a digit, next to those of the classes."""
        return len(self.class_names)

    def list_options(self) -> dict[str, Any]:
        """Returns every value by the name of its option, such as `epochs` and `augment.scale`."""
        fields = dataclasses.asdict(self)
        augment = {f"augment.{name}": value for name, value in fields.pop("augment").items()}
        return fields | augment

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
            return _build(cls, json.loads(text), "")
        except json.JSONDecodeError as error:
            raise ConfigError(f"not valid JSON: {error}") from None


PRESETS: dict[PresetName, TrainConfig] = {
    "quick": TrainConfig(
        epochs=1,
        negative_share=0,
        style_share=0,
        redrawn_share=0,
        augment=AugmentConfig(rotation_degrees=6, scale=0.06, shear=0.1, shift_pixels=1),
    ),
    "default": TrainConfig(),
    "best": TrainConfig(
        model="vgg",
        epochs=20,
        settle_epochs=8,
        optimizer="muon",
        negative_share=0.3,
        style_share=0.04,
        redrawn_share=0.28,
        augment=AugmentConfig(elastic_pixels=0.8, stroke_pixels=0.4, spoiled_share=0.08),
    ),
    "reader": TrainConfig(
        model="reader",
        extra_datasets=("unipen", "optdigits", "semeion", "omniglot"),
        epochs=40,
        batch_size=8,
        optimizer="muon",
        weight_decay=0.01,
        negative_share=0,
        style_share=0,
        redrawn_share=0,
    ),
}
"""Whole recipes, by the name that `--preset` gives them."""

# ---------------------------------------------------------------- from JSON

_T = TypeVar("_T")

_ANOTHER_VERSION = "; another version of digitjax may have written it: use that one, or train anew"


def _build(kind: type[_T], values: Any, prefix: str) -> _T:
    """Makes a dataclass from a dict that must have exactly its fields, each of its type."""
    if not isinstance(values, dict):
        raise ConfigError(f"{prefix.rstrip('.') or 'the config'} must be an object with fields, found {values!r}")
    types = typing.get_type_hints(kind)
    hints = {field.name: types[field.name] for field in dataclasses.fields(cast("Any", kind))}
    if missing := hints.keys() - values.keys():
        raise ConfigError(f"missing field {prefix}{min(missing)}{_ANOTHER_VERSION}")
    if unknown := values.keys() - hints.keys():
        raise ConfigError(f"unknown field {prefix}{min(unknown)}{_ANOTHER_VERSION}")
    return kind(**{name: _convert(hint, values[name], prefix + name) for name, hint in hints.items()})


def _convert(hint: Any, value: Any, name: str) -> Any:
    """Returns a field's value of the type that its hint names, from what JSON has for it."""
    if dataclasses.is_dataclass(hint):
        return _build(cast("type", hint), value, f"{name}.")
    if get_origin(hint) is tuple:
        _require(
            isinstance(value, list) and all(isinstance(part, str) for part in value), name, value, "a list of names"
        )
        return tuple(value)
    expected = (str,) if get_origin(hint) is Literal else {float: (int, float)}.get(hint, (hint,))
    if not isinstance(value, expected) or isinstance(value, bool):
        raise ConfigError(f"field {name} must be a {expected[-1].__name__}, found {value!r}")
    return value
