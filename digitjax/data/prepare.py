"""Has TFDS prepare a data set once, in its folder, and opens the prepared copy."""

import contextlib
import io
import logging
import threading
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from digitjax.data.arrays import DatasetError
from digitjax.data.builders import Builder

PROBE_SECONDS = 5

logger = logging.getLogger("digitjax.data")  # the command's name, which users see


class UnreachableError(DatasetError):
    """A data set that is neither here nor available from the network."""


@contextlib.contextmanager
def open_source(builder: Builder, name: str) -> Iterator[dict[str, Any]]:
    """Yields the examples of each split, to be read inside the context; prepares the data first if necessary.

    Raises:
      DatasetError: It isn't available, or the prepared copy can't be read.
    """
    if not builder.is_prepared():
        if builder.downloads and not _is_reachable(next(iter(builder.download_urls().values()))):
            raise UnreachableError(
                f"{name} is neither prepared in {builder.data_dir} nor can it be downloaded from {builder.URL}. "
                f"Go online, or {builder.BY_HAND}."
            )
        _prepare(builder, name)
    try:
        yield builder.as_data_source()
    except Exception as error:
        raise DatasetError(
            f"the copy of {name} in {builder.data_dir} can't be read ({error}): delete that folder to prepare it anew"
        ) from error


def _prepare(builder: Builder, name: str) -> None:
    import requests  # comes with TFDS; takes 0.1 s, only needed for preparing

    logger.info("preparing %s in %s; this happens once", name, builder.data_dir)
    if not builder.downloads:
        tfds.disable_progress_bar()  # without downloads it takes a few seconds
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints; standard output is for results
            builder.download_and_prepare()
    except (requests.RequestException, tfds.download.DownloadError) as error:
        raise UnreachableError(f"{name}: the download failed: {error}") from error
    except tfds.core.download.download_manager.NonMatchingChecksumError as error:
        raise DatasetError(f"{name}: the download is not the published file: {error}") from error
    except OSError as error:
        if not builder.is_prepared():  # else another process did meanwhile, and its copy is as good
            raise DatasetError(f"{name} can't be prepared in {builder.data_dir}: {error}; see --data-dir") from error
        builder.info.read_from_directory(builder.data_path)
    finally:
        tfds.enable_progress_bar()


def _is_reachable(url: str) -> bool:
    """Whether the server answers within `PROBE_SECONDS`: TFDS itself would try for minutes."""
    answers = []

    def probe() -> None:
        import requests  # comes with TFDS; takes 0.1 s, only needed for downloads

        try:
            answers.append(requests.head(url, timeout=PROBE_SECONDS, allow_redirects=True).ok)
        except requests.RequestException as error:
            logger.debug("%s: %s", url, error)

    # A thread, since looking up a host name has no time limit.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answers == [True]
