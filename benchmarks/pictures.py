"""Accuracy on labelled pictures, by kind.

python benchmarks/pictures.py FOLDER            # every labels.csv in it and below
python benchmarks/pictures.py digits/labels.csv lines/labels.csv

Each table has the columns file (relative to the table's folder) and label, and kind or note; without a kind it is the
file's name up to a hyphen, and the note. A label of one digit is compared with what `predict_digit` reads; one of
several digits, or with rows joined by |, must be read exactly by `read`. An empty label, or none, stands for a picture
without a digit, which must be refused. `refused` counts the pictures in which no digit was found; a digit that is
refused isn't right.
"""

import csv
import itertools
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sklearn.metrics import roc_auc_score

from digitjax.predict import ImageError, Recognizer


class Answer(NamedTuple):
    """What a picture is read as."""

    text: str  # written as labels are
    is_digit_score: float | None  # of a picture that should hold one digit or none


def read_picture(recognizer: Recognizer, path: Path, label: str) -> Answer:
    """Reads a picture as one of several digits, or of one or none, as its label says."""
    try:
        if len(label) > 1:
            return Answer(recognizer.read(path).text.replace("\n", "|"), None)
        prediction = recognizer.predict_digit(path)
    except ImageError as error:
        return Answer(f"({error})", None)
    return Answer("" if prediction.digit is None else str(prediction.digit), prediction.is_digit_score)


def find_tables(paths: Sequence[str]) -> list[Path]:
    """Returns the tables that are named or lie in a named folder; none where one isn't there."""
    tables = [sorted(path.rglob("labels.csv")) if path.is_dir() else [path] for path in map(Path, paths)]
    return list(itertools.chain(*tables)) if all(found and found[0].is_file() for found in tables) else []


def main(paths: Sequence[str]) -> int:
    """Prints mistakes and a table with a line for each kind."""
    tables = find_tables(paths)
    if not tables:
        print(f"no labels.csv in: {' '.join(paths)}\n\n{__doc__}" if paths else __doc__, file=sys.stderr)
        return 2
    recognizer = Recognizer.load()
    num_all, num_right, num_refused = Counter[str](), Counter[str](), Counter[str]()
    scores: dict[bool, list[float]] = {True: [], False: []}  # by whether there is a digit
    for table in tables:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            label = row["label"].removeprefix("none")
            own_kind = row.get("kind") or f"{row['file'].split('-')[0]} {row.get('note') or ''}".strip()
            text, score = read_picture(recognizer, table.parent / row["file"], label)
            for kind in (own_kind, f"{table.parent.name}, all"):
                num_all[kind] += 1
                num_right[kind] += text == label
                num_refused[kind] += not text
            if score is not None:
                scores[label != ""].append(score)
            if text != label:
                print(f"{row['file']}: {label or 'no digit'} read as {text or 'no digit'}")
    print(f"\n{'kind':<28}{'pictures':>10}{'right':>8}{'accuracy':>10}{'refused':>9}")
    for kind in num_all:
        accuracy = num_right[kind] / num_all[kind]
        print(f"{kind:<28}{num_all[kind]:>10}{num_right[kind]:>8}{accuracy:>10.1%}{num_refused[kind]:>9}")
    if all(scores.values()):
        is_digit = [True] * len(scores[True]) + [False] * len(scores[False])
        print(f"\nAUROC of is_digit_score: {roc_auc_score(is_digit, scores[True] + scores[False]):.4f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
