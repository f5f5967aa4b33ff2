"""The names of what a run leaves in its folder."""

import enum

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
