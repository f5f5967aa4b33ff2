"""The figures of each epoch of a run: `metrics.jsonl` and, on request, the same for TensorBoard."""

import json
import shutil
from pathlib import Path
from typing import Any

from digitjax.config import DigitjaxError
from digitjax.runs.files import CheckpointError, RunFile, write_text

Record = dict[str, Any]
"""One epoch: one line of `metrics.jsonl`."""

# TensorBoard's names, and those of a record.
TAGS = {
    "loss/training": "loss",
    "loss/validation": "validation_loss",
    "accuracy/training": "accuracy",
    "accuracy/validation": "validation_accuracy",
    "learning_rate": "learning_rate",
    "images_per_second": "images_per_second",
}


def read_history(folder: Path) -> list[Record]:
    """Reads a run's `metrics.jsonl`; before the end of the first epoch, returns an empty list.

    Raises:
      CheckpointError: The file can't be read; the message names it.
    """
    path = folder / RunFile.METRICS
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: can't be read: {error}") from None


def import_summary_writer() -> Any:
    """Returns the class that writes for TensorBoard.

    Raises:
      DigitjaxError: The package isn't installed.
    """
    try:
        from tensorboardX import SummaryWriter  # nothing else needs it
    except ImportError:
        raise DigitjaxError("--tensorboard needs a package: pip install 'digitjax[tensorboard]'") from None
    return SummaryWriter


class HistoryWriter:
    """Writes the records of a run, after a resume also the earlier ones; use it as a context manager."""

    def __init__(self, folder: Path, *, tensorboard: bool = False) -> None:
        """Prepares to write the files of a run.

        Args:
          folder: The run's folder.
          tensorboard: Whether to write for TensorBoard, too, into the folder `tensorboard` there. The first write
            deletes what an earlier process wrote into it, since all records are written again.

        Raises:
          DigitjaxError: The package for TensorBoard isn't installed.
        """
        self._folder, self._events, self._num_events = folder, None, 0
        self._summary_writer = import_summary_writer() if tensorboard else None

    def __enter__(self) -> "HistoryWriter":
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes TensorBoard's file."""
        if self._events:
            self._events.close()

    def write(self, history: list[Record]) -> None:
        """Updates the files to hold all of these records."""
        write_text(self._folder / RunFile.METRICS, "".join(json.dumps(record) + "\n" for record in history))
        if self._summary_writer and not self._events:
            shutil.rmtree(self._folder / RunFile.TENSORBOARD, ignore_errors=True)
            self._events = self._summary_writer(str(self._folder / RunFile.TENSORBOARD))
        if self._events:
            for record in history[self._num_events :]:
                for tag, name in TAGS.items():
                    self._events.add_scalar(tag, record[name], record["step"])
            self._num_events = len(history)
            self._events.flush()
