"""A trained model that reads pictures: one digit, or all of them."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float32
from PIL import Image

from digitjax.config import DIGITS
from digitjax.nn import looks, saliency
from digitjax.nn.inference import TrainedModel
from digitjax.pictures.gray import ImageError
from digitjax.pictures.preprocess import PreprocessedImage, draw_box, preprocess_image
from digitjax.pictures.source import ImageSource, Picture, load_picture
from digitjax.predict import pages
from digitjax.predict.layout import group_lines
from digitjax.predict.results import Prediction, Reading
from digitjax.runs.weights import default_checkpoint, load_model


@dataclasses.dataclass(frozen=True)
class Recognizer:
    """A trained model that reads pictures. Make one with `Recognizer.load`, and keep it: loading takes a second."""

    trained: TrainedModel
    threshold: float = 0.0
    """With an `is_digit_score` below it there is no digit; `load` takes what was chosen on validation images."""
    tta: bool = True
    """Test-time augmentation: whether it looks again at what it is unsure of, see `digitjax.nn.looks`."""
    reader: TrainedModel | None = None
    """What finds the digits of a page; None: the weights that ship, loaded when `read` is called first."""

    @classmethod
    def load(cls, path: str | Path | None = None) -> "Recognizer":
        """Loads a training run's folder; None: the weights that ship.

        Raises:
          CheckpointError: There is no trained model, or it is broken.
        """
        trained = load_model(Path(path) if path is not None else default_checkpoint())
        return cls(trained, trained.calibration.threshold)

    @property
    def class_names(self) -> tuple[str, ...]:
        """What a picture may be read as."""
        return self.trained.config.class_names

    def predict_digit(self, image: ImageSource) -> Prediction:
        """Reads the one digit of a picture.

        Raises:
          ImageError: The picture can't be read.
        """
        return self.predict_digits([image])[0]

    def predict_digits(self, images: Iterable[ImageSource]) -> list[Prediction]:
        """Reads one digit a picture, all in one pass through the network.

        Raises:
          ImageError: A picture can't be read, or one is given in place of several.
        """
        if isinstance(images, str | bytes | PathLike | Image.Image | Mapping):
            raise ImageError(f"predict_digits takes several pictures, found one {type(images).__name__}")
        return self.predict_preprocessed([preprocess_image(image) for image in images])

    def read(self, image: ImageSource) -> Reading:
        """Reads all digits of a picture: rows from top to bottom, each from left to right.

        Digits may touch. Dots, commas, dashes, letters and other non-digits are skipped.

        Raises:
          ImageError: The picture can't be read.
        """
        picture = load_picture(image, pages.MAX_SIDE)
        found = pages.find_digits(self.reader or _default_reader(), picture.gray)
        predictions = [
            self._look_closer(picture, box, scores) for box, scores in zip(found.boxes, found.scores, strict=True)
        ]
        lines = group_lines(found.boxes)
        return Reading(tuple(tuple(predictions[i] for i in line) for line in lines))

    def _look_closer(
        self, picture: Picture, box: Float32[np.ndarray, "4"], scores: Float32[np.ndarray, "10"]
    ) -> Prediction:
        """Describes a digit that was found."""
        (left, top), (right, bottom) = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
        own = int(left), int(top), int(right), int(bottom)
        score, probs = float(scores.max()), scores / scores.sum()
        label = DIGITS[int(probs.argmax())]
        return Prediction(label, None, score, score, probs, picture.to_source(own), draw_box(picture.gray, own))

    def predict_preprocessed(self, images: Sequence[PreprocessedImage]) -> list[Prediction]:
        """Reads what `preprocess_image` returned."""
        return self._predict(images, self.threshold)

    def _predict(self, images: Sequence[PreprocessedImage], threshold: float) -> list[Prediction]:
        if not images:
            return []
        canonical = np.stack([image.canonical for image in images])[..., None]  # [n, 28, 28, 1]
        _, probs, scores = looks.answer(self.trained, canonical, tta=self.tta)
        return [self._to_prediction(*answer, threshold) for answer in zip(images, probs, scores, strict=True)]

    def _to_prediction(
        self,
        image: PreprocessedImage,
        probs: Float32[np.ndarray, "classes"],
        is_digit_score: np.float32,
        threshold: float,
    ) -> Prediction:
        if image.box is None:
            return Prediction(None, "blank", 0.0, 0.0, np.full_like(probs, 1 / len(probs)), None, image.canonical)
        score, i = float(is_digit_score), int(probs.argmax())
        if score < threshold:
            return Prediction(None, "not a digit", 0.0, score, probs, image.box, image.canonical)
        return Prediction(self.class_names[i], None, float(probs[i]), score, probs, image.box, image.canonical)

    def explain(self, prediction: Prediction) -> Float32[np.ndarray, "28 28"]:
        """Says which ink decided: by how much each pixel of `canonical` made the likeliest digit likelier.

        Positive for, negative against, in nats: all of them together say how much surer the model is of that digit
        than on blank paper (see `digitjax.nn.saliency`).
        """
        gradients = saliency.integrated_gradients(
            self.trained.network,
            self.trained.variables,
            prediction.canonical[..., None],
            np.int32(prediction.probabilities.argmax()),
        )
        return np.asarray(gradients)[..., 0]


@functools.cache
def _default_reader() -> TrainedModel:
    return load_model(default_checkpoint("reader"))


@functools.cache
def _default_recognizer() -> Recognizer:
    return Recognizer.load()


def predict_digit(image: ImageSource) -> Prediction:
    """Reads the one digit of a picture with the weights that ship, loaded at the first call.

    Raises:
      ImageError: The picture can't be read.
    """
    return _default_recognizer().predict_digit(image)


def read(image: ImageSource) -> Reading:
    """Reads all digits of a picture with the weights that ship, loaded at the first call.

    Raises:
      ImageError: The picture can't be read.
    """
    return _default_recognizer().read(image)


def predict_each(recognizer: Recognizer, images: Iterable[ImageSource | ImageError]) -> list[Prediction | ImageError]:
    """Reads one digit a picture, all in one pass; what can't be read gives its error in its place.

    Of the pictures only the 28x28 that the network sees are kept, so they may be made one by one.
    """
    preprocessed = [_attempt(preprocess_image, image) for image in images]
    predictions = iter(
        recognizer.predict_preprocessed([image for image in preprocessed if not isinstance(image, ImageError)])
    )
    return [image if isinstance(image, ImageError) else next(predictions) for image in preprocessed]


def read_each(recognizer: Recognizer, images: Sequence[ImageSource | ImageError]) -> list[Reading | ImageError]:
    """Reads all digits of each picture; what can't be read gives its error in its place."""
    return [_attempt(recognizer.read, image) for image in images]


_T = TypeVar("_T")


def _attempt(function: Callable[[ImageSource], _T], source: ImageSource | ImageError) -> _T | ImageError:
    try:
        return source if isinstance(source, ImageError) else function(source)
    except ImageError as error:
        return error
