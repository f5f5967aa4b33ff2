"""How well this library, and general OCR for comparison, read labelled pictures, by kind.

    python benchmarks/reading.py FOLDER                                # every labels.csv in it or below
    python benchmarks/reading.py digits/labels.csv lines/labels.csv --peers RapidOCR Tesseract

Each table has the columns file (relative to the table's folder) and label, and kind or note; without a kind, it is the
file's name up to a hyphen, followed by the note. A label of one digit is compared with what `predict_digit` reads; one
of several digits, or of rows joined by |, with what `read` reads. An empty label, or none, means a picture without a
digit. A peer reads the whole picture, and only the digits it finds are compared.

For each kind and reader, the table shows the share of pictures read exactly, the F1 score of their digits regardless of
order, and the milliseconds per picture, including decoding.
"""

import argparse
import csv
import itertools
import json
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from machine import describe_machine
from PIL import Image
from sklearn.metrics import roc_auc_score

from digitjax.predict import ImageError, Recognizer, process


class Answer(NamedTuple):
    """The reading of a picture."""

    text: str  # rows joined by |, as in labels
    is_digit_score: float | None = None  # for a picture that should hold one digit or none


Read = Callable[[Path, bool], Answer]
"""Reads a picture; True means that it holds one digit or none."""


# In so small a picture RapidOCR finds less than it reads in all of it.
STRIP_HEIGHT = 128


# ---------------------------------------------------------------- readers


def load_digitjax() -> Read:
    """Returns this library, with the shipped weights."""
    process.set_up()
    recognizer = Recognizer.load()

    def read(path: Path, is_single: bool) -> Answer:
        try:
            if not is_single:
                return Answer(recognizer.read(path).text.replace("\n", "|"))
            prediction = recognizer.predict_digit(path)
        except ImageError as error:
            return Answer(f"({error})")
        return Answer("" if prediction.digit is None else str(prediction.digit), prediction.is_digit_score)

    return read


def load_rapidocr() -> Read:
    """Returns RapidOCR; where the picture is low, or no text is found in it, all of it is read as one line."""
    from rapidocr import RapidOCR

    engine = RapidOCR(params={"Global.log_level": "critical"})

    def read(path: Path, _: bool) -> Answer:
        with Image.open(path) as image:
            is_low = image.height <= STRIP_HEIGHT
        found = None if is_low else engine(str(path))
        if found and found.txts and hasattr(found, "boxes"):  # there are none where it skipped detection
            return Answer(_join_rows(found.boxes, found.txts))
        return Answer(_keep_digits("".join(engine(str(path), use_det=False, use_cls=False).txts or ())))

    return read


def _join_rows(boxes: Sequence[Any], texts: Sequence[str]) -> str:
    """Joins texts whose boxes, of four corners each, are side by side."""
    rows: list[list[tuple[float, float, float, str]]] = []
    spans = [(*np.asarray(box)[:, 1].astype(float)[[0, -1]], float(np.asarray(box)[0, 0])) for box in boxes]
    for (top, bottom, left), text in sorted(zip(spans, texts, strict=True)):
        for row in rows:
            if row[0][0] < (top + bottom) / 2 < row[0][1]:
                row.append((top, bottom, left, text))
                break
        else:
            rows.append([(top, bottom, left, text)])
    joined = (_keep_digits("".join(text for *_, text in sorted(row, key=lambda part: part[2]))) for row in rows)
    return "|".join(row for row in joined if row)


def load_tesseract() -> Read:
    """Returns the program `tesseract`, told that there are only digits."""
    program = shutil.which("tesseract")
    if program is None:
        raise ImportError(name="tesseract")

    def read(path: Path, is_single: bool) -> Answer:
        mode = "10" if is_single else "6"  # one character; a block of text
        command = [program, str(path), "-", "--psm", mode, "-c", "tessedit_char_whitelist=0123456789"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - the user's own file
        return Answer("|".join(row for line in done.stdout.splitlines() if (row := _keep_digits(line))))

    return read


def _keep_digits(text: str) -> str:
    return "".join(character for character in text if character in "0123456789")


PEERS: dict[str, Callable[[], Read]] = {"RapidOCR": load_rapidocr, "Tesseract": load_tesseract}


# ---------------------------------------------------------------- pictures


class Picture(NamedTuple):
    """A picture and what it holds."""

    path: Path
    label: str  # empty: no digit
    kinds: tuple[str, str]  # its own, and that of its whole table


def list_pictures(paths: Sequence[str]) -> list[Picture]:
    """Returns the pictures of the named tables, and of the tables in the named folders.

    Raises:
      FileNotFoundError: There is no table.
    """
    tables = [sorted(path.rglob("labels.csv")) if path.is_dir() else [path] for path in map(Path, paths)]
    for path, found in zip(paths, tables, strict=True):
        if not found or not found[0].is_file():
            raise FileNotFoundError(f"{path}: no labels.csv is there")
    pictures = []
    for table in itertools.chain(*tables):
        with table.open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                kind = row.get("kind") or f"{row['file'].split('-')[0]} {row.get('note') or ''}".strip()
                label = row["label"].removeprefix("none")
                pictures.append(Picture(table.parent / row["file"], label, (kind, f"{table.parent.name}, all")))
    return pictures


def score_digits(text: str, label: str) -> float:
    """Returns the F1 score of a text's digits, regardless of order; 1 if there are none and should be none."""
    found, wanted = Counter(_keep_digits(text)), Counter(_keep_digits(label))
    total = found.total() + wanted.total()
    return 2 * (found & wanted).total() / total if total else 1.0


def measure(read: Read, pictures: Sequence[Picture], *, tell: bool) -> dict[str, Any]:
    """Returns a reader's figures for each kind, and the AUROC of its scores, if it gives any; prints its mistakes."""
    read(pictures[0].path, len(pictures[0].label) <= 1)  # loads and compiles
    figures: dict[str, list[tuple[bool, float, float, bool]]] = defaultdict(list)
    scores: list[tuple[bool, float]] = []
    for path, label, kinds in pictures:
        begin = time.perf_counter()
        text, score = read(path, len(label) <= 1)
        seconds = time.perf_counter() - begin
        for kind in kinds:
            figures[kind].append((text == label, score_digits(text, label), 1000 * seconds, not text))
        if score is not None:
            scores.append((label != "", score))
        if tell and text != label:
            print(f"{path.name}: {label or 'no digit'} read as {text or 'no digit'}")
    names = ("exact", "f1", "milliseconds", "nothing_found")
    means = {kind: dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True)) for kind, rows in figures.items()}
    result = {kind: {"pictures": len(figures[kind]), **mean} for kind, mean in means.items()}
    truth, values = zip(*scores, strict=True) if scores else ((), ())
    return {"kinds": result, "auroc": float(roc_auc_score(truth, values)) if len(set(truth)) > 1 else None}


def print_table(results: dict[str, dict[str, Any]]) -> None:
    """Prints a line for each kind, with the figures of all readers side by side."""
    kinds = next(iter(results.values()))["kinds"]
    width = max(len(kind) for kind in kinds)
    print(f"\n{'':<{width}}{'pictures':>10}" + "".join(f"{name:>29}" for name in results))
    print(f"{'kind':<{width}}{'':>10}" + f"{'exact':>11}{'F1':>9}{'ms':>9}" * len(results))
    for kind in kinds:
        line = f"{kind:<{width}}{kinds[kind]['pictures']:>10}"
        for result in results.values():
            figures = result["kinds"][kind]
            line += f"{figures['exact']:>11.1%}{figures['f1']:>9.1%}{figures['milliseconds']:>9.1f}"
        print(line)
    for name, result in results.items():
        if result["auroc"] is not None:
            print(f"AUROC of {name}'s is_digit_score: {result['auroc']:.4f}")


def main() -> int:
    """Prints mistakes and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", metavar="FOLDER", help="a table, or a folder that holds labels.csv")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=[], help="what else reads them")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    args = parser.parse_args()
    try:
        pictures = list_pictures(args.paths)
        readers = {"digitjax": load_digitjax(), **{name: PEERS[name]() for name in args.peers}}
    except FileNotFoundError as error:
        parser.error(str(error))
    except ImportError as error:
        parser.error(f"{error.name} is missing: pip install -e '.[bench]' brings RapidOCR, your system Tesseract")
    results = {name: measure(read, pictures, tell=name == "digitjax") for name, read in readers.items()}
    print_table(results)
    if args.out:
        machine = describe_machine({"digitjax", "jax", "rapidocr", "onnxruntime"})
        args.out.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
