"""What all commands share: arguments from a dataclass, logging, and errors without tracebacks."""

import contextlib
import dataclasses
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import tyro

from digitjax.config import DigitjaxError

EXIT_OK = 0
EXIT_SOME_FAILED = EXIT_BUG = 1
EXIT_WRONG_USE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """The arguments of a command; each command adds its own."""

    debug: bool = False
    """Show tracebacks and the libraries' log messages."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceArguments(Arguments):
    """The arguments that say where the data is."""

    data_dir: Path | None = None
    """TFDS's folder for prepared data (default: TFDS's own, ~/tensorflow_datasets)."""
    idx_dir: Path | None = None
    """Folder with the data set's four IDX files, gzipped or not (default for MNIST: the variable DIGITJAX_IDX_DIR)."""


_Args = TypeVar("_Args", bound=Arguments)


def run(
    command: Callable[[_Args], int],
    args_type: type[_Args],
    argv: Sequence[str] | None,
    *,
    program: str,
    about: str,
    default: _Args | None = None,
) -> int:
    """Parses `argv` (None: the command line) into `args_type`, runs `command` on it and returns the exit status.

    `program` is what users write after `python`: "-m digitjax.train", "demo/app.py".

    Options that aren't given take their values from `default` or, if that is None, from the defaults of `args_type`.

    A user's mistake gives one line on standard error and status 2, with a traceback only if `--debug` is given.
    """
    name, debug = program.removeprefix("-m "), False
    with contextlib.redirect_stdout(_PatientOutput(sys.stdout)), contextlib.redirect_stderr(_PatientOutput(sys.stderr)):
        try:
            args = cast(
                "_Args",
                tyro.cli(
                    args_type,
                    args=argv,
                    prog=f"python {program}",
                    description=about,
                    default=default,
                    config=(tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone),
                ),
            )
            debug = args.debug
            _set_up_logging(debug=debug)
            status = command(args)
            sys.stdout.flush()
        except (DigitjaxError, OSError) as error:  # OSError: a folder that can't be written, a full disk
            if debug:
                raise
            print(f"{name}: error: {error}", file=sys.stderr)
            return EXIT_WRONG_USE
        except KeyboardInterrupt:
            print(f"\n{name}: interrupted", file=sys.stderr)
            return EXIT_INTERRUPTED
        return status


class _PatientOutput:
    """Standard output or error whose reader, such as `head`, may close it early; the command runs to its end anyway."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._without_reader():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._without_reader():
            self._stream.flush()

    @contextlib.contextmanager
    def _without_reader(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def leave(status: int) -> NoReturn:
    """Ends a command's process.

    On exit, the interpreter searches everything ever imported for garbage. With JAX this takes 0.4 s, a fifth of the
    time for reading one picture. Frozen objects are skipped.
    """
    gc.freeze()
    raise SystemExit(status)


def _set_up_logging(*, debug: bool) -> None:
    """Shows our own warnings; those of the libraries concern their internals and are hidden without `--debug`."""
    logging.basicConfig(level=logging.DEBUG if debug else logging.ERROR, format="%(name)s: %(message)s")
    # TFDS and Orbax log here. They raise their errors, too, and one report is enough.
    logging.getLogger("absl").setLevel(logging.DEBUG if debug else logging.CRITICAL)
    logging.getLogger("digitjax").setLevel(logging.DEBUG if debug else logging.INFO)
