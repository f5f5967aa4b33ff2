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

from digitjax.nn import looks, saliency
from digitjax.nn.inference import TrainedModel
from digitjax.pictures.gray import ImageError
from digitjax.pictures.preprocess import PreprocessedImage, preprocess_image
from digitjax.pictures.segment import find_rows
from digitjax.pictures.source import ImageSource
from digitjax.predict.results import Prediction, Reading
from digitjax.predict.rows import MIN_PIECE_SCORE, choose_digits
from digitjax.runs.weights import default_checkpoint, load_model


@dataclasses.dataclass(frozen=True)
class Recognizer:
    """A trained model that reads pictures. Make one with `Recognizer.load` and keep it: loading takes a second."""

    trained: TrainedModel
    threshold: float = 0.0
    """Below this `is_digit_score` there is no digit; `load` takes the value chosen on validation images."""
    tta: bool = True
    """Test-time augmentation: whether to look again at unsure answers, see `digitjax.nn.looks`."""

    @classmethod
    def load(cls, path: str | Path | None = None) -> "Recognizer":
        """Loads the model in a training run's folder; None for the weights that ship with digitjax.

        Raises:
          CheckpointError: There is no trained model, or it is broken.
        """
        trained = load_model(Path(path) if path is not None else default_checkpoint())
        return cls(trained, trained.calibration.threshold)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that a picture may be read as."""
        return self.trained.config.class_names

    def predict_digit(self, image: ImageSource) -> Prediction:
        """Reads the one digit in a picture.

        Raises:
          ImageError: The picture can't be read.
        """
        return self.predict_digits([image])[0]

    def predict_digits(self, images: Iterable[ImageSource]) -> list[Prediction]:
        """Reads one digit per picture, all in one pass through the network.

        Raises:
          ImageError: A picture can't be read, or a single picture is given instead of several.
        """
        if isinstance(images, str | bytes | PathLike | Image.Image | Mapping):
            raise ImageError(f"predict_digits takes several pictures, found one {type(images).__name__}")
        return self.predict_preprocessed([preprocess_image(image) for image in images])

    def read(self, image: ImageSource) -> Reading:
        """Reads all digits in a picture: rows from top to bottom, each from left to right.

        Dots, commas, dashes, letters and other non-digits are skipped; touching digits are split where the network
        then reads them best.

        Raises:
          ImageError: The picture can't be read.
        """
        rows = find_rows(image)
        images = [candidate.image for row in rows for candidate in row.candidates]
        predictions = iter(self._predict(images, min(self.threshold, MIN_PIECE_SCORE)))
        lines = [
            choose_digits(row, [next(predictions) for _ in row.candidates], self.class_names, self.threshold)
            for row in rows
        ]
        return Reading(tuple(line for line in lines if line))

    def predict_preprocessed(self, images: Sequence[PreprocessedImage]) -> list[Prediction]:
        """Reads one digit in each result of `preprocess_image`."""
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
        """Shows which ink decided: how much each pixel of `canonical` raised the likeliest digit's log-probability.

        Positive values speak for that digit, negative ones against it, in nats; their sum is how much surer of it the
        model is than for a blank image (see `digitjax.nn.saliency`).
        """
        gradients = saliency.integrated_gradients(
            self.trained.network,
            self.trained.variables,
            prediction.canonical[..., None],
            np.int32(prediction.probabilities.argmax()),
        )
        return np.asarray(gradients)[..., 0]


@functools.cache
def _default_recognizer() -> Recognizer:
    return Recognizer.load()


def predict_digit(image: ImageSource) -> Prediction:
    """Reads the one digit in a picture with the weights that ship with digitjax, loaded on the first call.

    Raises:
      ImageError: The picture can't be read.
    """
    return _default_recognizer().predict_digit(image)


def read(image: ImageSource) -> Reading:
    """Reads all digits in a picture with the weights that ship with digitjax, loaded on the first call.

    Raises:
      ImageError: The picture can't be read.
    """
    return _default_recognizer().read(image)


def predict_each(recognizer: Recognizer, images: Iterable[ImageSource | ImageError]) -> list[Prediction | ImageError]:
    """Reads one digit per picture, all in one pass; a picture that can't be read gives its error instead.

    Only the 28x28 images that the network sees are kept, so the pictures may be generated one by one.
    """
    preprocessed = [_attempt(preprocess_image, image) for image in images]
    predictions = iter(
        recognizer.predict_preprocessed([image for image in preprocessed if not isinstance(image, ImageError)])
    )
    return [image if isinstance(image, ImageError) else next(predictions) for image in preprocessed]


def read_each(recognizer: Recognizer, images: Sequence[ImageSource | ImageError]) -> list[Reading | ImageError]:
    """Reads all digits in each picture; a picture that can't be read gives its error instead."""
    return [_attempt(recognizer.read, image) for image in images]


_T = TypeVar("_T")


def _attempt(function: Callable[[ImageSource], _T], source: ImageSource | ImageError) -> _T | ImageError:
    try:
        return source if isinstance(source, ImageError) else function(source)
    except ImageError as error:
        return error
