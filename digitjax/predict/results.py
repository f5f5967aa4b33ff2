"""What a picture is read as, and how programs get it: as JSON, as a row of a table."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypedDict

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from digitjax.config import DIGITS
from digitjax.pictures.gray import ImageError
from digitjax.pictures.shapes import Box
from digitjax.predict.layout import find_columns, split_numbers

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
    """The name of the class, such as "7"; None where there is no digit, see `reason`."""
    reason: Reason | None
    """Why `label` is None: `blank`, no ink; `not a digit`, ink that is something else. None where there is a digit."""
    confidence: float
    """The probability of `label`, 0 to 1; 0 where that is None."""
    is_digit_score: float
    """How likely the picture holds one digit, and not something else, 0 to 1; 0 where it is blank."""
    probabilities: Float32[np.ndarray, "classes"]
    """One for each class, given that it is one; all alike where there is no ink."""
    box: Box | None
    """Where the ink is: left, top, right, bottom in the picture's pixels, the last two exclusive; None for no ink."""
    canonical: UInt8[np.ndarray, "28 28"]
    """What the model saw: light ink on a dark ground, drawn as MNIST draws."""

    @property
    def digit(self) -> int | None:
        """0 to 9; None where there is no digit, and where a model of other classes read something else."""
        return int(self.label) if self.label in DIGITS else None

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields of `PlainPrediction`, ready for JSON."""
        return {name: _to_plain(getattr(self, name)) for name in PlainPrediction.__annotations__}


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """All digits of a picture."""

    lines: tuple[tuple[Prediction, ...], ...]
    """The rows from top to bottom, each from left to right; every digit has its box in the picture."""

    @property
    def text(self) -> str:
        """The digits, one line a row."""
        return "\n".join(map(_join, self.lines))

    @property
    def numbers(self) -> tuple[str, ...]:
        """The numbers, as people would say them: digits of a line that belong together, with their leading zeros.

        Signs and narrow gaps don't divide a number: a telephone number is one.
        """
        return tuple(
            _join(
                prediction for prediction, own in zip(line, split_numbers(_boxes(line)), strict=True) if own == number
            )
            for line in self.lines
            for number in range(1 + split_numbers(_boxes(line))[-1])
        )

    @property
    def table(self) -> tuple[tuple[str, ...], ...]:
        """The digits in the rows and columns that they stand in, such as 9 by 9 for a Sudoku; "": an empty cell."""
        if not self.lines:
            return ()
        columns = iter(find_columns(_boxes(prediction for line in self.lines for prediction in line)))
        cells = [[(int(next(columns)), prediction) for prediction in line] for line in self.lines]
        width = 1 + max(column for row in cells for column, _ in row)
        return tuple(tuple(_join(p for at, p in row if at == column) for column in range(width)) for row in cells)

    def to_dict(self) -> dict[str, Any]:
        """Returns text and digits, ready for JSON; each digit names its line, counted from 0."""
        digits = [{"line": i, **p.to_dict()} for i, line in enumerate(self.lines) for p in line]
        return {"text": self.text, "numbers": self.numbers, "table": self.table, "digits": digits}


def _join(digits: Iterable[Prediction]) -> str:
    return "".join(prediction.label or "" for prediction in digits)


def _boxes(digits: Iterable[Prediction]) -> Float64[np.ndarray, "n 4"]:
    return np.array([prediction.box for prediction in digits], np.float64)


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
    """Returns the names of a table's columns: the fields of `PlainPrediction`, a column for each number in a list."""
    lists = {"probabilities": [f"p{name}" for name in class_names], "box": ["left", "top", "right", "bottom"]}
    return [
        "file",
        *(column for name in PlainPrediction.__annotations__ for column in lists.get(name, [name])),
        "error",
    ]


def to_csv_row(name: str, result: Prediction | ImageError, class_names: Sequence[str]) -> list[Any]:
    """Returns the fields that `csv_columns` names."""
    if isinstance(result, ImageError):
        return [name, *[""] * (len(csv_columns(class_names)) - 2), str(result)]
    fields = result.to_dict()
    fields["box"] = fields["box"] or [""] * 4
    values = (value if isinstance(value, list) else [value] for value in fields.values())
    return [name, *(number for numbers in values for number in numbers), ""]
