"""The folder of a run: whether there is one, how it is locked and deleted."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from digitjax.runs.files import CheckpointError, RunFile


@contextlib.contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Keeps other processes from training into a folder; the lock ends with the process, however that ends.

    Raises:
      CheckpointError: Another process trains into it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise CheckpointError(f"{folder}: another process is training into it; wait, or choose another --out") from None
    try:
        yield
    finally:
        lock.release()


def holds_run(folder: Path) -> bool:
    """Whether a run, finished or not, lies in a folder."""
    return any((folder / name).exists() for name in (RunFile.CONFIG, RunFile.STATE, RunFile.WEIGHTS))


def delete_run(folder: Path) -> None:
    """Deletes a run's files from its folder, the config last, and leaves all others alone."""
    for name in reversed(RunFile):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
