"""Reads millions of pictures with Ray Data, on one machine or on a cluster.

    python -m digitjax.batch pictures/ results/                    # a folder, searched for pictures
    python -m digitjax.batch 'scans/2026-*/*.png' results/         # those that a pattern names
    python -m digitjax.batch scans.parquet results/                # pictures in a column of Parquet files

The results are Parquet files in a folder, a row a picture. Each actor keeps a recognizer of its own; pictures stream
through, so that memory doesn't grow with their number. What can't be read gets a row with its error. Started again, the
command goes on with the pictures that have no row yet.
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

# What names a picture: its file or, in Parquet, Ray's number for a row, which hangs on file and place alone.
FILE, ROW = "file", "row_hash"

# Rows that are written together, those that stand in line for an actor together, and those that it takes at once.
ROWS_PER_FILE, ROWS_PER_BLOCK, BATCH_SIZE = 1_000, 256, 64

# What Ray counts for an actor, of which there is one for each processor: it uses more, but if all processors were taken
# reading would wait for ever. So Ray must think that there are two at least.
ACTOR_CPUS, MIN_CPUS = 0.5, 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchArguments(cli.Arguments):
    """The arguments of `python -m digitjax.batch`."""

    input: Annotated[str, tyro.conf.Positional]
    """A folder or a pattern of pictures, or a Parquet file, a pattern of such or a folder of such."""
    output: Annotated[Path, tyro.conf.Positional]
    """The folder of the results; what lies there isn't read again."""
    column: str = "image"
    """Of Parquet: the column of the pictures, their bytes or, as Hugging Face has them, structs with bytes."""
    checkpoint: Path | None = None
    """A training run's folder (default: the weights that ship)."""
    actors: int | None = None
    """How many recognizers work at once (default: one for each processor)."""
    address: str | None = None
    """A Ray cluster, such as auto or ray://HOST:10001 (default: one is started on this machine, for the time)."""


class PictureReader:
    """Reads batches of pictures: what Ray keeps in an actor."""

    def __init__(self, folder: Path | None, column: str) -> None:
        """Loads the recognizer.

        Args:
          folder: A training run's folder; None: the weights that ship.
          column: The pictures' column, or FILE for their files.
        """
        import cv2

        cv2.setNumThreads(1)  # there is an actor for each processor
        process.set_up()
        self._recognizer, self._column = Recognizer.load(folder), column

    def __call__(self, batch: "pa.Table") -> "pa.Table":
        """Replaces the pictures of a table by what they were read as; other columns stay.

        What is called as a column of the results becomes `input_...`, such as `input_label`.
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
    """Returns the columns of the results: `PlainPrediction`, and `error`, which is null where a picture was read."""
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
    """Returns the files that a folder or a pattern stands for, with their whole paths, and whether they are Parquet.

    Earlier results, which may lie in the same folder, are none of them.

    Raises:
      DigitjaxError: There are none, or both Parquet and pictures.
    """
    if Path(pattern).is_dir():
        files = [*sorted(Path(pattern).rglob("*.parquet")), *find_pictures(Path(pattern))]
    else:
        # What a pattern names is taken for a picture, whatever its suffix. Path.glob takes no absolute patterns.
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
    """Returns the keys of all rows in a folder of results, sorted; a file that was cut off by a kill is deleted.

    Raises:
      DigitjaxError: The folder holds other results, or a file there can't be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    done = [np.zeros(0, np.uint64)]
    for path in sorted(output.glob("*.parquet")):
        try:
            file = pq.ParquetFile(path)
        except pa.ArrowInvalid:  # it is no Parquet
            logger.warning("%s was not finished, and is read anew", path)
            path.unlink()
            continue
        except OSError as error:  # rights, a disk or a network that fails: what lies there may be whole
            raise DigitjaxError(f"{path}: can't be read: {error}") from None
        with file:
            if key not in file.schema_arrow.names:
                raise DigitjaxError(f"{path}: has no column {key}: the results of another input lie there")
            try:
                done += [hash_keys(batch.column(0).to_pylist()) for batch in file.iter_batches(columns=[key])]
            except (OSError, pa.ArrowInvalid) as error:
                raise DigitjaxError(f"{path}: can't be read: {error}") from None
    keys = np.concatenate(done)
    keys.sort()
    return keys


def hash_keys(keys: Sequence[str | int]) -> NDArray[np.uint64]:
    """Returns eight bytes for each key, so that a hundred million of them find place in a gigabyte."""
    digests = (hashlib.blake2b(str(key).encode(), digest_size=8).digest() for key in keys)
    return np.frombuffer(b"".join(digests), np.uint64)


def is_new(keys: Sequence[str | int], done: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Returns which keys aren't among those of `find_done`."""
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
    """Returns a data set of the rows that aren't done, with their numbers."""
    import pyarrow as pa
    import ray
    import ray.data

    shared = ray.put(done)  # once for all

    def leave_out_done(batch: "pa.Table") -> "pa.Table":
        return batch.filter(pa.array(is_new(batch.column(ROW).to_pylist(), ray.get(shared))))

    rows = ray.data.read_parquet(list(files), include_row_hash=True)
    return rows.map_batches(leave_out_done, batch_format="pyarrow") if len(done) else rows


# ---------------------------------------------------------------- command


def _join_ray(args: BatchArguments) -> None:
    import ray
    import ray.data

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    if not args.debug:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        warnings.filterwarnings("ignore", module="ray")
    log_level = logging.INFO if args.debug else logging.ERROR
    one_thread = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"  # for there are many actors
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
    """Returns how many rows a folder of results has, and how many of them have an error."""
    import pyarrow.dataset as ds

    rows = ds.dataset(sorted(str(path) for path in output.glob("*.parquet")), format="parquet")
    return rows.count_rows(), rows.count_rows(filter=~ds.field("error").is_null())


def batch(args: BatchArguments) -> int:
    """Reads what isn't done yet, and prints how much that was."""
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise DigitjaxError(f"{error.name} is missing: pip install 'digitjax[ray]'") from None
    if args.actors is not None and args.actors < 1:
        raise DigitjaxError(f"--actors must be at least 1, found {args.actors}")
    files, is_parquet = find_inputs(args.input, args.output)
    check_model(args.checkpoint or default_checkpoint())  # rather now than in an actor
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
