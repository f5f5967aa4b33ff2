"""Reads pictures and prints the results.

python -m digitjax.predict photo.jpg scans/ --format json
python -m digitjax.predict --read sheet.jpg
"""

import csv
import dataclasses
import functools
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, cast

import tyro

from digitjax import cli
from digitjax.config import DigitjaxError
from digitjax.pictures.folders import find_pictures
from digitjax.pictures.gray import ImageError
from digitjax.pictures.pdf import list_pages
from digitjax.pictures.source import ImageSource
from digitjax.predict import process
from digitjax.predict.recognizer import Recognizer, predict_each, read_each
from digitjax.predict.results import Prediction, Reading, csv_columns, to_csv_row

# Pictures read at a time: enough to keep the network fast, few enough to keep memory use low.
CHUNK = 64

# The most rows that `--show` draws; a longer sheet would be unreadable.
MAX_SHOWN = 20

STDIN = "-"

Result = Prediction | Reading | ImageError


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictArguments(cli.Arguments):
    """The arguments of `python -m digitjax.predict`."""

    paths: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Pictures; folders, searched for pictures; - for the bytes of one picture on standard input."""
    format: Literal["text", "json", "csv"] = "text"
    """How results are printed; json is one object per line."""
    checkpoint: Path | None = None
    """A training run's folder (default: the weights that ship with digitjax)."""
    read: bool = False
    """Read all digits of each picture, row by row, instead of one per picture."""
    tta: bool = True
    """Look again, rotated and scaled, at pictures the network is unsure of: more accurate, but slower for these."""
    show: Path | None = None
    """Also draw the first 20 pictures, what the model sees of them, which ink decided and the answer, into this PNG."""


def predict(args: PredictArguments) -> int:
    """Prints a result for every input, in order; one that can't be read gets its error instead."""
    if not args.paths:
        raise DigitjaxError("no pictures given: name files, folders, or - for standard input")
    if args.read and (args.show or args.format == "csv"):
        raise DigitjaxError("--read goes with --format text or json, and without --show")
    process.set_up()
    recognizer = dataclasses.replace(Recognizer.load(args.checkpoint), tta=args.tta)
    predict_chunk: Callable[..., Sequence[Result]] = read_each if args.read else predict_each
    write_csv = functools.partial(_write_csv, class_names=recognizer.class_names)
    inputs = _expand(args.paths)
    head = list(itertools.islice(inputs, 2))
    is_one = len(head) == 1 and Path(head[0][0]) == Path(args.paths[0])  # the path itself, not something found in it
    write_text = functools.partial(_write_text, is_one=is_one)
    writers: dict[str, Callable[[str, Result], None]] = {"text": write_text, "json": _write_json, "csv": write_csv}
    write = writers[args.format]
    if args.format == "csv":
        csv.writer(sys.stdout).writerow(csv_columns(recognizer.class_names))
    num_failed, shown = 0, list[tuple[str, ImageSource, Prediction]]()
    inputs = itertools.chain(head, inputs)
    while chunk := list(itertools.islice(inputs, CHUNK)):
        results = predict_chunk(recognizer, [source for _, source in chunk])
        for (name, source), result in zip(chunk, results, strict=True):
            write(name, result)
            num_failed += isinstance(result, ImageError)
            if isinstance(result, Prediction) and args.show and len(shown) < MAX_SHOWN:
                shown.append((name, cast("ImageSource", source), result))
    if args.show:
        from digitjax.predict.show import save_predictions  # imports matplotlib, 0.5 s

        save_predictions(args.show, recognizer, shown)
    return cli.EXIT_SOME_FAILED if num_failed else cli.EXIT_OK


def _expand(paths: Sequence[str]) -> Iterator[tuple[str, ImageSource | ImageError]]:
    """Yields each input's name and picture; a folder stands for the pictures in and below it, by name."""
    for path in paths:
        if path == STDIN:
            yield path, sys.stdin.buffer.read()
        elif Path(path).is_dir():
            files = find_pictures(Path(path))
            yield from ((str(page), page) for file in files for page in list_pages(file))
            if not files:
                yield path, ImageError(f"{path}: is a folder without pictures")
        else:
            yield from ((str(page), page) for page in list_pages(Path(path)))


def _write_text(name: str, result: Result, *, is_one: bool) -> None:
    """Prints a picture's digit, or its rows; if there is only one picture, its rows stand without a name."""
    if isinstance(result, ImageError):
        print(result if name != STDIN else f"standard input: {result}", file=sys.stderr)
    elif isinstance(result, Reading):
        rows = result.text.split("\n") if result.lines or is_one else ["no digits"]
        print("\n".join(row if is_one else f"{name}: {row}" for row in rows))
    elif result.label is None:
        print(f"{name}: no digit ({result.reason})")
    else:
        print(f"{name}: {result.label} ({result.confidence:.1%})")


def _write_json(name: str, result: Result) -> None:
    fields = {"error": str(result)} if isinstance(result, ImageError) else result.to_dict()
    print(json.dumps({"file": name, **fields}, ensure_ascii=False))


def _write_csv(name: str, result: Result, class_names: Sequence[str]) -> None:
    csv.writer(sys.stdout).writerow(to_csv_row(name, cast("Prediction | ImageError", result), class_names))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `python -m digitjax.predict`."""
    return cli.run(
        predict, PredictArguments, argv, program="-m digitjax.predict", about="Reads the digits in pictures."
    )


if __name__ == "__main__":
    cli.leave(main())
