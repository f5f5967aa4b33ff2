"""Accuracy on labelled pictures, by kind.

python benchmarks/pictures.py digits/labels.csv lines/labels.csv

Each table has the columns file (relative to the table's folder), label and kind. A label of one digit is compared with
what `predict_digit` reads; one of several digits, or with rows joined by |, must be read exactly by `read`. An empty
label stands for a picture without a digit.
"""

import csv
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from digitjax.predict import Recognizer
from digitjax.preprocess import ImageError


def read_picture(recognizer: Recognizer, path: Path, label: str) -> str:
    """Returns what the picture is read as, written as labels are."""
    try:
        if len(label) > 1:
            return recognizer.read(path).text.replace("\n", "|")
        digit = recognizer.predict_digit(path).digit
    except ImageError as error:
        return f"({error})"
    return "" if digit is None else str(digit)


def main(tables: Sequence[str]) -> int:
    """Prints mistakes and a table with a line for each kind."""
    if not tables:
        print(__doc__, file=sys.stderr)
        return 2
    recognizer = Recognizer.load()
    num_right, num_all = Counter[str](), Counter[str]()
    for table in map(Path, tables):
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            answer = read_picture(recognizer, table.parent / row["file"], row["label"])
            for kind in (row["kind"], "all"):
                num_all[kind] += 1
                num_right[kind] += answer == row["label"]
            if answer != row["label"]:
                print(f"{row['file']}: {row['label'] or 'no digit'} read as {answer or 'no digit'}")
    print(f"\n{'kind':<16}{'right':>8}{'pictures':>10}{'accuracy':>10}")
    for kind in sorted(num_all, key=lambda kind: (kind == "all", kind)):
        print(f"{kind:<16}{num_right[kind]:>8}{num_all[kind]:>10}{num_right[kind] / num_all[kind]:>10.1%}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
