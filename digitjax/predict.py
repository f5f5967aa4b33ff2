"""Reads the digits in pictures.

    from digitjax.predict import Recognizer, predict_digit
    prediction = predict_digit("photo.jpg")       # a path, bytes, a file, a PIL image or an array
    prediction.digit, prediction.confidence
    Recognizer.load().read("sheet.jpg").text      # all digits, one line a row

or

    python -m digitjax.predict photo.jpg scans/ --format json
    python -m digitjax.predict --read sheet.jpg
"""

import csv
import ctypes
import dataclasses
import functools
import itertools
import json
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

import jax
import numpy as np
import tyro
from jaxtyping import Float32, Float64, UInt8

from digitjax import checkpoint, cli, model
from digitjax.config import DIGITS, DigitjaxError
from digitjax.picture import find_pictures, load_picture
from digitjax.preprocess import ImageError, ImageSource, PreprocessedImage, preprocess_image
from digitjax.segment import Candidate, choose_candidates, find_rows
from digitjax.tta import predict_logits

Reason = Literal["blank", "not a digit"]


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """What a picture was read as."""

    label: str | None
    """The name of the class, such as "7"; None where there is no digit, see `reason`."""
    reason: Reason | None
    """Why `label` is None: `blank`, no ink; `not a digit`, ink that is something else. None where there is a digit."""
    confidence: float
    """The probability of `label`, 0 to 1; 0 where that is None."""
    is_digit_score: float
    """How likely the picture holds one digit, and not something else, 0 to 1; 0 where it is blank."""
    probabilities: Float32[np.ndarray, "classes"]
    """One for each class, given that it is one; all alike where there is no ink."""
    box: tuple[int, int, int, int] | None
    """Where the ink is: left, top, right, bottom in the picture's pixels, the last two exclusive; None for no ink."""
    canonical: UInt8[np.ndarray, "28 28"]
    """What the model saw: light ink on a dark ground, drawn as MNIST draws."""

    @property
    def digit(self) -> int | None:
        """0 to 9; None where there is no digit, and where a model of other classes read something else."""
        return int(self.label) if self.label in DIGITS else None

    def to_dict(self) -> dict[str, Any]:
        """Returns all but the image, ready for JSON."""
        return {
            "digit": self.digit,
            "label": self.label,
            "reason": self.reason,
            "confidence": round(self.confidence, 6),
            "is_digit_score": round(self.is_digit_score, 6),
            "probabilities": [round(float(p), 6) for p in self.probabilities],
            "box": None if self.box is None else list(self.box),
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """All digits of a picture."""

    lines: tuple[tuple[Prediction, ...], ...]
    """The rows from top to bottom, each from left to right; every digit has its box in the picture."""

    @property
    def text(self) -> str:
        """The digits, one line a row."""
        return "\n".join("".join(prediction.label or "" for prediction in line) for line in self.lines)

    def to_dict(self) -> dict[str, Any]:
        """Returns text and digits, ready for JSON; each digit names its line, counted from 0."""
        digits = [{"line": i, **p.to_dict()} for i, line in enumerate(self.lines) for p in line]
        return {"text": self.text, "digits": digits}


@dataclasses.dataclass(frozen=True)
class Recognizer:
    """A trained model that reads pictures. Make one with `Recognizer.load`, and keep it: loading takes a second.

    On Linux the process keeps some 64 MiB of freed memory from then on. Where it hasn't used JAX yet, what JAX computes
    on the CPU runs in the thread that starts it, which then waits.
    """

    trained: checkpoint.TrainedModel
    threshold: float = 0.0
    """What has an `is_digit_score` below it is no digit; `load` takes what was chosen on validation images."""
    tta: bool = True
    """Test-time augmentation: whether it looks again at what it is unsure of, see `digitjax.tta`."""

    @classmethod
    def load(cls, path: str | Path | None = None) -> "Recognizer":
        """Loads a training run's folder; None: the weights that ship.

        Raises:
          CheckpointError: There is no trained model, or it is broken.
        """
        _keep_freed_memory()
        _compute_in_place()
        trained = checkpoint.load_model(Path(path) if path is not None else checkpoint.default_checkpoint())
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
          ImageError: A picture can't be read.
        """
        return self.predict_preprocessed([preprocess_image(image) for image in images])

    def read(self, image: ImageSource) -> Reading:
        """Reads all digits of a picture: rows from top to bottom, each from left to right.

        Dots, commas, dashes, letters and what else is no digit are skipped; touching digits are taken apart where that
        lets the network read them best.

        Raises:
          ImageError: The picture can't be read.
        """
        rows = find_rows(image)
        images = [candidate.image for row in rows for candidate in row.candidates]
        predictions = iter(self._predict(images, min(self.threshold, MIN_PIECE_SCORE)))
        lines = []
        for row in rows:
            row_predictions = [next(predictions) for _ in row.candidates]
            scores = [self._score(c, p) for c, p in zip(row.candidates, row_predictions, strict=True)]
            chosen = [(row.candidates[i], row_predictions[i]) for i in choose_candidates(row, scores)]
            line = tuple(prediction for _, prediction in chosen if prediction.label is not None)
            if line and (self.threshold == 0 or _sum_log_odds(chosen, self.threshold) >= 0):
                lines.append(line)
        return Reading(tuple(lines))

    def predict_preprocessed(self, images: Sequence[PreprocessedImage]) -> list[Prediction]:
        """Reads what `preprocess_image` returned."""
        return self._predict(images, self.threshold)

    def _predict(self, images: Sequence[PreprocessedImage], threshold: float) -> list[Prediction]:
        if not images:
            return []
        canonical = np.stack([image.canonical for image in images])[..., None]  # [n, 28, 28, 1]
        logits = predict_logits(self.trained, canonical, tta=self.tta)
        scores = model.is_digit_scores(logits, self.trained.config)
        probs = model.probs_from_logits(logits, self.trained.config.loss, self.trained.calibration.temperature)
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

    def _score(self, candidate: Candidate, prediction: Prediction) -> float:
        """How well a candidate reads as one digit: the log-probability of its cuts, of its looks and of its shape."""
        probs, is_digit = prediction.probabilities, prediction.is_digit_score
        mean, deviation = LOG_ASPECTS.get(self.class_names[int(probs.argmax())], ANY_LOG_ASPECT)
        excess = (np.log(candidate.aspect) - mean) / deviation
        shape = -0.5 * (excess / (WIDE_TOLERANCE if excess > 0 else NARROW_TOLERANCE)) ** 2
        return candidate.log_prior + float(np.log(max(probs.max() * is_digit, 1e-6)) + max(shape, -8.0))

    def explain(self, prediction: Prediction) -> Float32[np.ndarray, "28 28"]:
        """Says which ink decided: by how much each pixel of `canonical` made the likeliest digit likelier.

        Positive for, negative against, in nats: all of them together say how much surer the model is of that digit
        than on blank paper (see `digitjax.model.integrated_gradients`).
        """
        saliency = model.integrated_gradients(
            self.trained.network,
            self.trained.variables,
            prediction.canonical[..., None],
            np.int32(prediction.probabilities.argmax()),
        )
        return np.asarray(saliency)[..., 0]


# What the arrays of one picture come to; those of the largest pictures are handed back.
KEPT_BYTES = 64 << 20


def _keep_freed_memory() -> None:
    """Has the GNU C library keep freed memory, as it does by itself once a program has freed an array of 32 MiB.

    Handed back, it comes again as new pages, each to be filled with zeros: a quarter of the time that a picture takes.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(-1, KEPT_BYTES)  # M_TRIM_THRESHOLD: from how many free bytes on they are handed back
        libc.mallopt(-3, KEPT_BYTES // 2)  # M_MMAP_THRESHOLD: how large arrays may be to be kept at all


def _compute_in_place() -> None:
    """Has JAX compute on the CPU in the thread that asks, as one picture's answer is waited for at once.

    To wake another thread and be woken by it takes up to a third of the time that a small picture takes. JAX reads this
    when it makes its CPU client; where there is one already, nothing changes.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)


# In a row each piece is a digit or none by itself only where its score is very low: cuts leave traces, and the
# neighbours speak for it. Chosen on the numbers of `benchmarks/composed.py`, as is the weight of the score in `_score`.
MIN_PIECE_SCORE = 0.02

# No piece speaks louder than that for its row, and one that was cut less loud, as letters fall into strokes that pass
# for 1s. A piece speaks for digits down to so far below the threshold: how sure a network is at all, training decides.
# So nine in ten of 600 composed rows of letters are skipped, and none of 600 rows of digits; with 1.0, one is.
MAX_LOG_ODDS, CUT_WEIGHT, LEEWAY = 3.0, 0.3, 1.5


def _sum_log_odds(pieces: Sequence[tuple[Candidate, Prediction]], threshold: float) -> float:
    """Returns the logarithm of the odds that a row is one of digits, each of its pieces a witness of its own."""
    scores = np.array([prediction.is_digit_score for _, prediction in pieces])
    log_odds = _log_odds(scores) - _log_odds(np.array([threshold])) + LEEWAY
    log_odds = log_odds.clip(-MAX_LOG_ODDS, MAX_LOG_ODDS)
    weights = np.array([CUT_WEIGHT if candidate.log_prior < 0 else 1.0 for candidate, _ in pieces])
    return float((weights * log_odds).sum())


def _log_odds(scores: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
    clipped = scores.clip(1e-6, 1 - 1e-6)
    return np.log(clipped / (1 - clipped))


# The natural logarithm of width / height in MNIST's training images: mean and standard deviation for each digit.
LOG_ASPECTS = {
    "0": (-0.11, 0.20), "1": (-0.94, 0.45), "2": (-0.07, 0.22), "3": (-0.24, 0.21), "4": (-0.24, 0.21),
    "5": (-0.07, 0.26), "6": (-0.33, 0.22), "7": (-0.27, 0.21), "8": (-0.28, 0.22), "9": (-0.40, 0.20),
}  # fmt: skip
ANY_LOG_ASPECT = (-0.2, 0.4)  # of what is no digit, roughly

# Other people write narrower than MNIST's did; what is wider is likely more than one digit. Chosen by
# `benchmarks/composed.py --fit`.
NARROW_TOLERANCE, WIDE_TOLERANCE = 2.0, 1.0


@functools.cache
def _default_recognizer() -> Recognizer:
    return Recognizer.load()


def predict_digit(image: ImageSource) -> Prediction:
    """Reads the one digit of a picture with the weights that ship, loaded at the first call.

    Raises:
      ImageError: The picture can't be read.
    """
    return _default_recognizer().predict_digit(image)


def predict_each(recognizer: Recognizer, images: Sequence[ImageSource | ImageError]) -> list[Prediction | ImageError]:
    """Reads one digit a picture, all in one pass; what can't be read gives its error in its place."""
    preprocessed = [_attempt(preprocess_image, image) for image in images]
    predictions = iter(
        recognizer.predict_preprocessed([image for image in preprocessed if not isinstance(image, ImageError)])
    )
    return [image if isinstance(image, ImageError) else next(predictions) for image in preprocessed]


# ---------------------------------------------------------------- command

# Pictures taken at a time: enough for the network to be fast, few enough to keep the memory small.
CHUNK = 64

# Rows that `--show` draws; a longer sheet can't be read. No side of a picture on it has more pixels than that.
MAX_SHOWN, SHOWN_SIZE = 20, 512

STDIN = "-"

Result = Prediction | Reading | ImageError


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictArguments(cli.Arguments):
    """The arguments of `python -m digitjax.predict`."""

    paths: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Pictures; folders, searched for pictures; - for the bytes of one picture on standard input."""
    format: Literal["text", "json", "csv"] = "text"
    """How results are printed; json is one object a line."""
    checkpoint: Path | None = None
    """A training run's folder (default: the weights that ship)."""
    read: bool = False
    """Read all digits of each picture, row by row, instead of one a picture."""
    tta: bool = True
    """Look again, turned and scaled, at what the network is unsure of: more accurate; such pictures take longer."""
    show: Path | None = None
    """Also draw the first 20 pictures, what the model sees of them, which ink decided and the answer, into this PNG."""


def predict(args: PredictArguments) -> int:
    """Prints a result for every input, in order; what can't be read gets its error instead."""
    if not args.paths:
        raise DigitjaxError("no pictures given: name files, folders, or - for standard input")
    if args.read and (args.show or args.format == "csv"):
        raise DigitjaxError("--read goes with --format text or json, and without --show")
    recognizer = dataclasses.replace(Recognizer.load(args.checkpoint), tta=args.tta)
    predict_chunk = _read_chunk if args.read else _predict_chunk
    write_csv = functools.partial(_write_csv, class_names=recognizer.class_names)
    writers: dict[str, Callable[[str, Result], None]] = {"text": _write_text, "json": _write_json, "csv": write_csv}
    write = writers[args.format]
    if args.format == "csv":
        csv.writer(sys.stdout).writerow(csv_columns(recognizer.class_names))
    num_failed, shown = 0, list[tuple[str, ImageSource, Prediction]]()
    inputs = _expand(args.paths)
    while chunk := list(itertools.islice(inputs, CHUNK)):
        for (name, source), result in zip(chunk, predict_chunk(recognizer, chunk), strict=True):
            write(name, result)
            num_failed += isinstance(result, ImageError)
            if isinstance(result, Prediction) and args.show and len(shown) < MAX_SHOWN:
                shown.append((name, cast("ImageSource", source), result))
    if args.show:
        from digitjax import plots  # matplotlib, 0.5 s

        rows = [
            plots.Shown(name, load_picture(source, SHOWN_SIZE), p, recognizer.explain(p)) for name, source, p in shown
        ]
        plots.save_predictions(args.show, rows, recognizer.class_names)
    return cli.EXIT_SOME_FAILED if num_failed else cli.EXIT_OK


def _expand(paths: Sequence[str]) -> Iterator[tuple[str, ImageSource | ImageError]]:
    """Yields each input's name and picture; a folder stands for the pictures in it and below, by name."""
    for path in paths:
        if path == STDIN:
            yield path, sys.stdin.buffer.read()
        elif Path(path).is_dir():
            files = find_pictures(Path(path))
            yield from ((str(file), file) for file in files)
            if not files:
                yield path, ImageError(f"{path}: is a folder without pictures")
        else:
            yield path, path


def _predict_chunk(recognizer: Recognizer, chunk: Sequence[tuple[str, ImageSource | ImageError]]) -> list[Result]:
    return list(predict_each(recognizer, [source for _, source in chunk]))


def _read_chunk(recognizer: Recognizer, chunk: Sequence[tuple[str, ImageSource | ImageError]]) -> list[Result]:
    return [_attempt(recognizer.read, source) for _, source in chunk]


_T = TypeVar("_T")


def _attempt(function: Callable[[ImageSource], _T], source: ImageSource | ImageError) -> _T | ImageError:
    try:
        return source if isinstance(source, ImageError) else function(source)
    except ImageError as error:
        return error


def _write_text(name: str, result: Result) -> None:
    if isinstance(result, ImageError):
        print(result if name != STDIN else f"standard input: {result}", file=sys.stderr)
    elif isinstance(result, Reading):
        print(result.text)
    elif result.label is None:
        print(f"{name}: no digit ({result.reason})")
    else:
        print(f"{name}: {result.label} ({result.confidence:.1%})")


def _write_json(name: str, result: Result) -> None:
    fields = {"error": str(result)} if isinstance(result, ImageError) else result.to_dict()
    print(json.dumps({"file": name, **fields}, ensure_ascii=False))


def csv_columns(class_names: Sequence[str]) -> list[str]:
    """Returns the names of a table's columns."""
    probabilities = [f"p{name}" for name in class_names]
    answer = ["digit", "label", "reason", "confidence", "is_digit_score"]
    return ["file", *answer, *probabilities, "left", "top", "right", "bottom", "error"]


def to_csv_row(name: str, result: Prediction | ImageError, class_names: Sequence[str]) -> list[Any]:
    """Returns the fields that `csv_columns` names."""
    if isinstance(result, ImageError):
        return [name, *[""] * (len(csv_columns(class_names)) - 2), str(result)]
    fields = result.to_dict()
    box = fields.pop("box") or [""] * 4
    row = [name, *fields.pop("probabilities"), *box, ""]
    row[1:1] = fields.values()
    return row


def _write_csv(name: str, result: Result, class_names: Sequence[str]) -> None:
    csv.writer(sys.stdout).writerow(to_csv_row(name, cast("Prediction | ImageError", result), class_names))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `python -m digitjax.predict`."""
    return cli.run(
        predict, PredictArguments, argv, program="-m digitjax.predict", about="Reads the digits in pictures."
    )


if __name__ == "__main__":
    cli.leave(main())
