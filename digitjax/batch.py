"""Reads millions of pictures with Ray Data, on one machine or on a cluster.

    python -m digitjax.batch pictures/ results/                    # a folder, searched for pictures
    python -m digitjax.batch 'scans/2026-*/*.png' results/         # the files that match a pattern
    python -m digitjax.batch scans.parquet results/                # pictures in a column of Parquet files

The results are Parquet files in a folder, with one row per picture. Each actor has its own recognizer; pictures stream
through, so memory doesn't grow with their number. A picture that can't be read gets a row with its error. Run again,
the command continues with the pictures that have no row yet.
"""

import dataclasses
import glob
import hashlib
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import numpy as np
import tyro
from numpy.typing import NDArray

from digitjax import cli
from digitjax.config import DigitjaxError
from digitjax.pictures.folders import find_pictures, natural_order
from digitjax.pictures.pdf import list_pages
from digitjax.predict import ImageError, Recognizer, predict_each, process
from digitjax.predict.results import PlainPrediction
from digitjax.runs.folder import lock_folder
from digitjax.runs.weights import check_model, default_checkpoint

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger("digitjax.batch")  # __name__ is "__main__" for python -m digitjax.batch

# The key of a picture: its file or, in Parquet, Ray's hash of its row, which depends only on file and position.
FILE, ROW = "file", "row_hash"

# How many rows are written together, how many queue for an actor together, and how many it takes at once.
ROWS_PER_FILE, ROWS_PER_BLOCK, BATCH_SIZE = 1_000, 256, 64

# The CPUs that Ray counts for an actor, with one actor per processor. An actor uses more, but if Ray thought that all
# CPUs were taken, reading would wait for ever. For the same reason, it must think that there are at least two.
ACTOR_CPUS, MIN_CPUS = 0.5, 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchArguments(cli.Arguments):
    """The arguments of `python -m digitjax.batch`."""

    input: Annotated[str, tyro.conf.Positional]
    """Pictures (a folder or a pattern) or Parquet files (a file, a pattern or a folder)."""
    output: Annotated[Path, tyro.conf.Positional]
    """The folder for the results; pictures whose results are already there aren't read again."""
    column: str = "image"
    """For Parquet: the column of the pictures, as bytes or, like Hugging Face's, as structs with bytes."""
    checkpoint: Path | None = None
    """A training run's folder (default: the shipped weights)."""
    actors: int | None = None
    """The number of recognizers that work in parallel (default: one per processor)."""
    address: str | None = None
    """A Ray cluster, such as auto or ray://HOST:10001 (default: a temporary one on this machine)."""


class PictureReader:
    """Reads batches of pictures; each of Ray's actors holds one."""

    def __init__(self, folder: Path | None, column: str) -> None:
        """Loads the recognizer.

        Args:
          folder: A training run's folder; None: the shipped weights.
          column: The column of the pictures, or FILE for that of their paths.
        """
        import cv2

        cv2.setNumThreads(1)  # each processor has its own actor
        process.set_up()
        self._recognizer, self._column = Recognizer.load(folder), column

    def __call__(self, batch: "pa.Table") -> "pa.Table":
        """Replaces the pictures of a table by their readings; other columns stay.

        A column that shares its name with one of the results becomes `input_...`, for example `input_label`.
        """
        import pyarrow as pa

        values = batch.column(self._column).to_pylist()
        pictures = [value["bytes"] if isinstance(value, dict) else value for value in values]
        sources = [ImageError("is missing") if picture is None else picture for picture in pictures]
        results = predict_each(self._recognizer, sources)
        rows = [
            {"error": str(result)} if isinstance(result, ImageError) else {**result.to_dict(), "error": None}
            for result in results
        ]
        answers = pa.Table.from_pylist(rows, schema=result_schema())
        kept = batch if self._column == FILE else batch.drop_columns([self._column])
        kept = kept.rename_columns(
            [f"input_{name}" if name in answers.column_names else name for name in kept.column_names]
        )
        for name in answers.column_names:
            kept = kept.append_column(name, answers.column(name))
        return kept


def result_schema() -> "pa.Schema":
    """Returns the columns of the results: `PlainPrediction`'s, and `error`, null if the picture could be read."""
    import pyarrow as pa

    columns = {
        int | None: pa.int8(),
        str | None: pa.string(),
        float: pa.float32(),
        list[float]: pa.list_(pa.float32()),
        list[int] | None: pa.list_(pa.int32()),
    }
    fields = {name: columns[hint] for name, hint in get_type_hints(PlainPrediction).items()}
    return pa.schema({**fields, "error": pa.string()})


# ---------------------------------------------------------------- input and output


def find_inputs(pattern: str, output: Path) -> tuple[list[str], bool]:
    """Returns the absolute paths of the files in a folder or matching a pattern, and whether they are Parquet.

    Earlier results, which may be in the same folder, are left out.

    Raises:
      DigitjaxError: There are no files, or both Parquet files and pictures.
    """
    if Path(pattern).is_dir():
        files = [*sorted(Path(pattern).rglob("*.parquet")), *find_pictures(Path(pattern))]
    else:
        # A file that matches a pattern counts as a picture, whatever its suffix. Path.glob takes no absolute patterns.
        named = map(Path, glob.iglob(pattern, recursive=True))  # noqa: PTH207
        files = sorted((file for file in named if not file.is_dir()), key=natural_order)
    parquet = [file for file in files if file.suffix == ".parquet"]
    if len(files) > 1:
        parquet = [file for file in parquet if file.resolve().parent != output.resolve()]
    pictures = [file for file in files if file.suffix != ".parquet"]
    if parquet and pictures:
        raise DigitjaxError(
            f"{pattern}: holds pictures and Parquet files; name one kind, such as '{pattern}/*.parquet'"
        )
    if not parquet and not pictures:
        raise DigitjaxError(f"{pattern}: no pictures and no Parquet files there")
    pages = parquet or [page for file in pictures for page in list_pages(file)]
    return [str(page.absolute()) for page in pages], bool(parquet)  # actors may run elsewhere


def find_done(output: Path, key: str) -> NDArray[np.uint64]:
    """Returns the sorted keys of all rows in a folder of results; deletes files that a kill cut off.

    Raises:
      DigitjaxError: The folder holds the results of another input, or a file there can't be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    done = [np.zeros(0, np.uint64)]
    for path in sorted(output.glob("*.parquet")):
        try:
            file = pq.ParquetFile(path)
        except pa.ArrowInvalid:  # it isn't Parquet
            logger.warning("%s was not finished; its pictures are read again", path)
            path.unlink()
            continue
        except OSError as error:  # permissions, a failing disk or network: the file may be intact
            raise DigitjaxError(f"{path}: can't be read: {error}") from None
        with file:
            if key not in file.schema_arrow.names:
                raise DigitjaxError(f"{path}: has no column {key}: the results of another input are there")
            try:
                done += [hash_keys(batch.column(0).to_pylist()) for batch in file.iter_batches(columns=[key])]
            except (OSError, pa.ArrowInvalid) as error:
                raise DigitjaxError(f"{path}: can't be read: {error}") from None
    keys = np.concatenate(done)
    keys.sort()
    return keys


def hash_keys(keys: Sequence[str | int]) -> NDArray[np.uint64]:
    """Hashes each key to eight bytes, so that a hundred million of them fit into a gigabyte."""
    digests = (hashlib.blake2b(str(key).encode(), digest_size=8).digest() for key in keys)
    return np.frombuffer(b"".join(digests), np.uint64)


def is_new(keys: Sequence[str | int], done: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Returns which keys aren't among those from `find_done`."""
    if not len(done):
        return np.ones(len(keys), bool)
    hashes = hash_keys(keys)
    places = np.minimum(np.searchsorted(done, hashes), len(done) - 1)
    return done[places] != hashes


def _check_parquet(files: Sequence[str], column: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for file in files:
        try:
            names = pq.read_schema(file).names
        except (OSError, pa.ArrowInvalid) as error:
            raise DigitjaxError(f"{file}: can't be read: {error}") from None
        if column not in names:
            raise DigitjaxError(f"{file}: has no column {column!r}, only {', '.join(names)}; see --column")


def _read_files(files: Sequence[str]) -> Any:
    """Returns a data set of files."""
    import pyarrow as pa
    import ray.data

    chunks = [files[i : i + ROWS_PER_BLOCK] for i in range(0, len(files), ROWS_PER_BLOCK)]
    return ray.data.from_arrow([pa.table({FILE: chunk}) for chunk in chunks])


def _read_parquet(files: Sequence[str], done: NDArray[np.uint64]) -> Any:
    """Returns a data set of the rows that aren't done yet, with their hashes."""
    import pyarrow as pa
    import ray
    import ray.data

    shared = ray.put(done)  # stored once, for all batches

    def leave_out_done(batch: "pa.Table") -> "pa.Table":
        return batch.filter(pa.array(is_new(batch.column(ROW).to_pylist(), ray.get(shared))))

    rows = ray.data.read_parquet(list(files), include_row_hash=True)
    return rows.map_batches(leave_out_done, batch_format="pyarrow") if len(done) else rows


# ---------------------------------------------------------------- command


def _join_ray(args: BatchArguments) -> None:
    import ray
    import ray.data

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry
    if not args.debug:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        warnings.filterwarnings("ignore", module="ray")
    log_level = logging.INFO if args.debug else logging.ERROR
    one_thread = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"  # since there are many actors
    options: dict[str, Any] = {}
    if not args.address:
        options = {"include_dashboard": False, "num_cpus": max(os.cpu_count() or 1, MIN_CPUS)}
    try:
        ray.init(
            args.address or "local",
            logging_level=log_level,
            log_to_driver=args.debug,
            runtime_env={"env_vars": {"XLA_FLAGS": one_thread}},
            **options,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        where = f"--address {args.address}: no Ray there" if args.address else "Ray can't be started on this machine"
        raise DigitjaxError(f"{where}: {error}") from None
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = sys.stderr.isatty()
    logging.getLogger("ray.data").setLevel(log_level)


def _count(output: Path) -> tuple[int, int]:
    """Returns the number of rows in a folder of results, and how many of them have an error."""
    import pyarrow.dataset as ds

    rows = ds.dataset(sorted(str(path) for path in output.glob("*.parquet")), format="parquet")
    return rows.count_rows(), rows.count_rows(filter=~ds.field("error").is_null())


def batch(args: BatchArguments) -> int:
    """Reads the pictures that aren't done yet, and prints how many there were."""
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise DigitjaxError(f"{error.name} is missing: pip install 'digitjax[ray]'") from None
    if args.actors is not None and args.actors < 1:
        raise DigitjaxError(f"--actors must be at least 1, found {args.actors}")
    files, is_parquet = find_inputs(args.input, args.output)
    check_model(args.checkpoint or default_checkpoint())  # better now than in an actor
    if is_parquet:
        _check_parquet(files, args.column)
    with lock_folder(args.output):
        return _read_missing(args, files, is_parquet=is_parquet)


def _read_missing(args: BatchArguments, files: list[str], *, is_parquet: bool) -> int:
    import ray.data

    key = ROW if is_parquet else FILE
    done = find_done(args.output, key)
    if not is_parquet:
        files = [file for file, is_missing in zip(files, is_new(files, done), strict=True) if is_missing]
    if files:
        _join_ray(args)
        try:
            rows = _read_parquet(files, done) if is_parquet else _read_files(files)
            rows.map_batches(
                PictureReader,
                fn_constructor_args=(
                    args.checkpoint and args.checkpoint.absolute(),
                    args.column if is_parquet else FILE,
                ),
                batch_format="pyarrow",
                batch_size=BATCH_SIZE,
                compute=ray.data.ActorPoolStrategy(size=args.actors or int(ray.cluster_resources()["CPU"])),
                num_cpus=ACTOR_CPUS,
            ).write_parquet(str(args.output.absolute()), min_rows_per_file=ROWS_PER_FILE)
        finally:
            ray.shutdown()
    num_rows, num_failed = _count(args.output)
    print(f"{args.output}: {num_rows:,} rows, {num_rows - len(done):,} of them new; {num_failed:,} could not be read")
    return cli.EXIT_SOME_FAILED if num_failed else cli.EXIT_OK


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `python -m digitjax.batch`."""
    return cli.run(batch, BatchArguments, argv, program="-m digitjax.batch", about="Reads millions of pictures.")


if __name__ == "__main__":
    cli.leave(main())
