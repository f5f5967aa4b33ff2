"""The files of a run: their names, how JSON is read, and the error of what can't be read."""

import enum
import json
from pathlib import Path
from typing import Any

from digitjax.config import DigitjaxError


class CheckpointError(DigitjaxError):
    """A checkpoint that can't be read or doesn't fit."""


class RunFile(enum.StrEnum):
    """What a run may leave in its folder."""

    CONFIG = "config.json"
    WEIGHTS = "weights.npz"
    CALIBRATION = "calibration.json"
    SUMS = "SHA256SUMS"
    STATE = "state"
    METRICS = "metrics.jsonl"
    TENSORBOARD = "tensorboard"
    HISTORY = "history.png"
    REPORT = "report.json"
    CONFUSION_MATRIX = "confusion_matrix.png"
    MISTAKES = "mistakes.png"
    PAGE = "report.html"


MODEL_FILES = (RunFile.CONFIG, RunFile.WEIGHTS, RunFile.CALIBRATION)
"""What prediction loads."""


def read_json(path: Path) -> Any:
    """Reads a JSON file of a run; None where there is none yet.

    Raises:
      CheckpointError: It can't be read; the message names it.
    """
    try:
        return json.loads(path.read_text()) if path.exists() else None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: can't be read: {error}") from None
