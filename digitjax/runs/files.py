"""The files of a run: their names, how they are written and read, and the error for those that can't be read."""

import contextlib
import enum
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from digitjax.config import DigitjaxError


class CheckpointError(DigitjaxError):
    """A checkpoint that can't be read or doesn't fit."""


class RunFile(enum.StrEnum):
    """The files that a run may write, in order; once the calibration is there, the run is complete."""

    CONFIG = "config.json"
    STATE = "state"
    METRICS = "metrics.jsonl"
    TENSORBOARD = "tensorboard"
    WEIGHTS = "weights.npz"
    SUMS = "SHA256SUMS"
    HISTORY = "history.png"
    CONFUSION_MATRIX = "confusion_matrix.png"
    MISTAKES = "mistakes.png"
    REPORT = "report.json"
    CALIBRATION = "calibration.json"
    PAGE = "report.html"


MODEL_FILES = (RunFile.CONFIG, RunFile.WEIGHTS, RunFile.CALIBRATION)
"""The files that prediction loads."""

RESULTS = (
    RunFile.HISTORY,
    RunFile.CONFUSION_MATRIX,
    RunFile.MISTAKES,
    RunFile.REPORT,
    RunFile.CALIBRATION,
    RunFile.PAGE,
)
"""The files derived from the trained weights, which no longer describe them once training goes on."""


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yields the path of a new file, which atomically replaces `path` when the context ends.

    So even after a kill or power cut, `path` is the whole old file or the whole new one; after an error in the context,
    the old one. One process at a time may do this. Anything but a file, such as /dev/null, is written to directly.
    """
    target = path.resolve()  # a link stays a link
    if target.exists() and not target.is_file():
        yield target
        return
    fresh = target.with_name(f".{target.name}")
    try:
        yield fresh
        with fresh.open("rb") as file:
            os.fsync(file.fileno())  # or the new name may reach the disk before the content does
        fresh.replace(target)
    except OSError as error:
        if error.filename == str(fresh):
            error.filename = str(path)  # the name that the user knows
        raise
    finally:
        fresh.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, replacing an earlier one, see `replace_file`."""
    with replace_file(path) as fresh:
        fresh.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Reads a JSON file of a run; None if there is none yet.

    Raises:
      CheckpointError: It can't be read; the message names it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: can't be read: {error}") from None
