"""The result of reading a picture, and its forms for programs: JSON and table rows."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, TypedDict

import numpy as np
from jaxtyping import Float32, UInt8

from digitjax.config import DIGITS
from digitjax.pictures.gray import ImageError
from digitjax.pictures.shapes import Box

Reason = Literal["blank", "not a digit"]


class PlainPrediction(TypedDict):
    """A `Prediction` without its image, in plain types: what JSON and tables show, in this order."""

    digit: int | None
    label: str | None
    reason: str | None
    confidence: float
    is_digit_score: float
    probabilities: list[float]
    box: list[int] | None


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """What a picture was read as."""

    label: str | None
    """The name of the class, such as "7"; None if there is no digit, see `reason`."""
    reason: Reason | None
    """Why `label` is None: `blank` (no ink) or `not a digit` (ink that is something else). None if there is a digit."""
    confidence: float
    """The probability of `label`, 0 to 1; 0 if that is None."""
    is_digit_score: float
    """How likely the picture holds one digit rather than something else, 0 to 1; 0 if it is blank."""
    probabilities: Float32[np.ndarray, "classes"]
    """The probability of each class, given that it is one of them; all equal if there is no ink."""
    box: Box | None
    """The ink's bounding box: left, top, right, bottom in the picture's pixels, last two exclusive; None if no ink."""
    canonical: UInt8[np.ndarray, "28 28"]
    """What the model saw: light ink on a dark background, drawn as MNIST's digits are."""

    @property
    def digit(self) -> int | None:
        """0 to 9; None if there is no digit, or if a model with other classes read something else."""
        return int(self.label) if self.label in DIGITS else None

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields of `PlainPrediction`, ready for JSON."""
        return {name: _to_plain(getattr(self, name)) for name in PlainPrediction.__annotations__}


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """All digits in a picture."""

    lines: tuple[tuple[Prediction, ...], ...]
    """The rows from top to bottom, each from left to right; every digit has its box in the picture."""

    @property
    def text(self) -> str:
        """The digits, one line per row."""
        return "\n".join("".join(prediction.label or "" for prediction in line) for line in self.lines)

    def to_dict(self) -> dict[str, Any]:
        """Returns the text and the digits, ready for JSON; each digit has the number of its line, from 0."""
        digits = [{"line": i, **p.to_dict()} for i, line in enumerate(self.lines) for p in line]
        return {"text": self.text, "digits": digits}


def _to_plain(value: Any) -> Any:
    match value:
        case float():
            return round(value, 6)
        case np.ndarray():
            return [round(number, 6) for number in value.tolist()]
        case tuple():
            return list(value)
    return value


# ---------------------------------------------------------------- tables


def csv_columns(class_names: Sequence[str]) -> list[str]:
    """Returns the names of a table's columns: the fields of `PlainPrediction`, with a column per number in a list."""
    lists = {"probabilities": [f"p{name}" for name in class_names], "box": ["left", "top", "right", "bottom"]}
    return [
        "file",
        *(column for name in PlainPrediction.__annotations__ for column in lists.get(name, [name])),
        "error",
    ]


def to_csv_row(name: str, result: Prediction | ImageError, class_names: Sequence[str]) -> list[Any]:
    """Returns the values of the columns that `csv_columns` names."""
    if isinstance(result, ImageError):
        return [name, *[""] * (len(csv_columns(class_names)) - 2), str(result)]
    fields = result.to_dict()
    fields["box"] = fields["box"] or [""] * 4
    values = (value if isinstance(value, list) else [value] for value in fields.values())
    return [name, *(number for numbers in values for number in numbers), ""]
