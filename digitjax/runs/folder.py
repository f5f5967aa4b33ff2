"""The folder of a run: locks it, finds out whether it holds one, and deletes its files."""

import contextlib
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from digitjax.runs.files import CheckpointError, RunFile


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keeps other processes from writing into a folder; the lock ends with the process, even if it is killed.

    Raises:
      CheckpointError: Another process is writing into it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise CheckpointError(
            f"{folder}: another process is writing into it; wait for it, or choose another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


def holds_run(folder: Path) -> bool:
    """Whether a folder holds a run, finished or not."""
    return any((folder / name).exists() for name in (RunFile.CONFIG, RunFile.STATE, RunFile.WEIGHTS))


def delete_files(folder: Path, names: Iterable[RunFile] = tuple(RunFile)) -> None:
    """Deletes a run's files (by default all) from its folder, last written first, and leaves all other files alone."""
    for name in reversed(tuple(names)):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
