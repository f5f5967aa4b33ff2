"""Measures a trained model: confusion matrix, scores per class, calibration.

    python -m digitjax.evaluate checkpoints/mnist-default        # on the test set of its data
    python -m digitjax.evaluate --images my_pictures/labels.csv  # on your own pictures, with the shipped weights

Both print a report and write it to a folder, with plots.
"""

import codecs
import contextlib
import csv
import dataclasses
import io
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from jaxtyping import Float, Int

from digitjax import cli
from digitjax.config import DigitjaxError, TrainConfig
from digitjax.data.arrays import Dataset
from digitjax.drawing.negatives import draw_negatives
from digitjax.nn import looks
from digitjax.nn.inference import TrainedModel
from digitjax.pictures.source import quote
from digitjax.predict import ImageError, Recognizer, predict_each, process
from digitjax.report import page
from digitjax.report.measures import Evaluation, Rejection, make_report
from digitjax.runs.files import RunFile, write_text
from digitjax.runs.folder import lock_folder

logger = logging.getLogger("digitjax.evaluate")  # __name__ is "__main__" for python -m digitjax.evaluate

# How many drawings without a digit measure refusal, and their seed, which is above the seed of any training run.
NUM_NEGATIVES = 1000
NEGATIVES_SEED = 2**32


def evaluate_dataset(trained: TrainedModel, dataset: Dataset, *, tta: bool = True) -> Evaluation:
    """Measures a model, with or without test-time augmentation, on images that already look like MNIST's.

    All of them count, even those that `Recognizer` would refuse. `Report.rejection` says separately how many of them it
    would accept, and how many drawings without a digit it would refuse.
    """
    _, probs, scores = looks.answer(trained, dataset.images, tta=tta)
    evaluation = _evaluate(trained.config, dataset, probs.argmax(-1), probs, trained.config.dataset)
    if not trained.config.can_refuse:
        return evaluation
    rejection = measure_rejection(trained, dataset, scores, tta=tta)
    return evaluation._replace(report=dataclasses.replace(evaluation.report, rejection=rejection))


def measure_rejection(
    trained: TrainedModel, digits: Dataset, scores: Float[np.ndarray, "n"], *, tta: bool = True
) -> Rejection:
    """Compares the scores of digits with those of drawings without one, which training hasn't seen."""
    from sklearn.metrics import roc_auc_score

    negatives = draw_negatives(np.random.default_rng(NEGATIVES_SEED), NUM_NEGATIVES, digits)
    others = looks.answer(trained, negatives, tta=tta).is_digit_scores
    threshold = trained.calibration.threshold
    is_digit = np.arange(len(scores) + len(others)) < len(scores)
    return Rejection(
        accepted=float(np.mean(scores >= threshold)),
        refused=float(np.mean(others < threshold)),
        auroc=float(roc_auc_score(is_digit, np.concatenate([scores, others]))),
        num_negatives=len(others),
    )


def evaluate_pictures(recognizer: Recognizer, labels_csv: Path) -> tuple[Evaluation, list[str]]:
    """Measures a recognizer on a user's own pictures, with the same preprocessing as in prediction.

    Args:
      recognizer: The one that reads them.
      labels_csv: A table with the columns `file` (relative to the table's folder) and `label`, a class's name.

    Returns:
      The evaluation of the pictures that could be read, and a line for each that could not. A refused picture is a
      mistake, and counts as if the model had given all classes the same probability.

    Raises:
      DigitjaxError: The table can't be read or has a wrong label, or no picture can be read.
    """
    names = recognizer.class_names
    rows = read_labels(labels_csv, names)
    results = predict_each(recognizer, [file for file, _ in rows])
    unread = [str(result) for result in results if isinstance(result, ImageError)]
    if len(unread) == len(rows):
        raise DigitjaxError(f"{labels_csv}: none of its {len(rows)} pictures can be read; the first: {unread[0]}")
    predictions = [result for result in results if not isinstance(result, ImageError)]
    labels = [label for (_, label), result in zip(rows, results, strict=True) if not isinstance(result, ImageError)]
    images = np.stack([prediction.canonical for prediction in predictions])[..., None]
    dataset = Dataset(images, np.array(labels, np.int32))
    config = recognizer.trained.config
    preds = np.array([config.no_digit if p.label is None else names.index(p.label) for p in predictions])
    probs = np.stack([prediction.probabilities for prediction in predictions])
    probs[preds == config.no_digit] = 1 / len(names)  # a refused picture claims no class, like a blank one
    return _evaluate(config, dataset, preds, probs, labels_csv.stem), unread


def _evaluate(
    config: TrainConfig,
    dataset: Dataset,
    preds: Int[np.ndarray, "n"],
    probs: Float[np.ndarray, "n classes"],
    dataset_name: str,
) -> Evaluation:
    report = make_report(preds, probs, dataset.labels, config, dataset_name)
    return Evaluation(report, dataset.images[..., 0], dataset.labels, preds, probs.max(-1))


def read_labels(labels_csv: Path, class_names: Sequence[str]) -> list[tuple[Path, int]]:
    """Reads a table of pictures with the columns `file` and `label` (a class's name); other columns are ignored.

    It takes what spreadsheet programs save: columns separated by commas, semicolons or tabs, text in UTF-8, UTF-16 (if
    it has a byte order mark) or Windows-1252. Files are relative to the table's folder or, if they aren't there, to the
    working folder. Assumptions that may be wrong are logged.

    Raises:
      DigitjaxError: It can't be read, lacks a column or has a wrong label; the message names line and column.
    """
    try:
        text = _decode_table(labels_csv)
        delimiter = max(",;\t", key=text.partition("\n")[0].count)
        table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
        rows = [(table.line_num, row) for row in table if any(cell.strip() for cell in row)]
    except (OSError, csv.Error) as error:
        raise DigitjaxError(f"{labels_csv}: can't be read: {error}") from None
    if delimiter != ",":
        logger.info(
            "%s: read as a table with columns separated by %s", labels_csv, {";": "semicolons"}.get(delimiter, "tabs")
        )
    if rows and rows[0][1][0] == "sep=":  # Excel's own first line
        del rows[0]
    header = [cell.strip().lower() for cell in rows[0][1]] if rows else []
    if missing := {"file", "label"} - set(header):
        raise DigitjaxError(
            f"{labels_csv}, line 1: has no column {min(missing)!r} among {quote(header)}; it must name file and label"
        )
    if len(rows) == 1:
        raise DigitjaxError(f"{labels_csv}: names no pictures")
    columns = header.index("file"), header.index("label")
    entries = []
    for line, row in rows[1:]:
        file, label = (row[column].strip() if column < len(row) else "" for column in columns)
        name = label if label in class_names else label.removesuffix(".0")  # spreadsheets may write 7 as 7.0
        if name not in class_names:
            known = ", ".join(class_names)
            raise DigitjaxError(
                f"{labels_csv}, line {line}, column label: must be one of {known}, found {quote(label)!r}"
            )
        entries.append((_find_file(labels_csv.parent, file), class_names.index(name)))
    return entries


def _decode_table(path: Path) -> str:
    content = path.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        logger.warning("%s: is not UTF-8; read as Windows-1252", path)
        return content.decode("cp1252", "replace")


def _find_file(folder: Path, name: str) -> Path:
    """Returns the path of a table's file, in the table's or the working folder, with either kind of slash."""
    names = [name, name.replace("\\", "/")]
    candidates = [parent / spelling for spelling in names for parent in (folder, Path())]
    return next((path for path in candidates if path.exists()), candidates[0])


def write_evaluation(out: Path, evaluation: Evaluation) -> None:
    """Writes `report.json`, `confusion_matrix.png` and `mistakes.png` into a folder."""
    from digitjax.report import plots  # matplotlib, 0.5 s

    report = evaluation.report
    out.mkdir(parents=True, exist_ok=True)
    plots.save_confusion_matrix(out / RunFile.CONFUSION_MATRIX, report)
    plots.save_mistakes(out / RunFile.MISTAKES, evaluation)
    write_text(out / RunFile.REPORT, report.to_json())


# ---------------------------------------------------------------- command


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateArguments(cli.SourceArguments):
    """The arguments of `python -m digitjax.evaluate`."""

    run: Annotated[Path | None, tyro.conf.Positional] = None
    """A training run's folder (default: the shipped weights)."""
    images: Path | None = None
    """A CSV table with the columns file,label: evaluate on these pictures instead of the test set."""
    out: Path | None = None
    """The folder for report.json and the plots (default: RUN, or ./evaluation without RUN or with --images or
    --no-tta). It can't be another run's folder."""
    tta: bool = True
    """Test-time augmentation: where the network is unsure, look again at the image, rotated and scaled."""


def evaluate(args: EvaluateArguments) -> int:
    """Prints the report and writes it with its plots and, for a run, its page."""
    out = args.out or (args.run if args.run and args.tta and not args.images else Path("evaluation"))
    is_run = (out / RunFile.CONFIG).exists()
    if is_run and (args.images or args.run is None or out.resolve() != args.run.resolve()):
        raise DigitjaxError(f"{out} holds a run, whose report is of its own test set: choose another --out")
    process.set_up()
    # While a run is being trained, a report would be about other weights.
    with lock_folder(out) if is_run else contextlib.nullcontext():
        evaluation, unread = _measure(args)
        write_evaluation(out, evaluation)
        if is_run:
            page.write_report(out)
    print(evaluation.report)
    print(f"\n{out} holds report.json and the plots")
    for line in unread:
        print(f"left out: {line}", file=sys.stderr)
    return cli.EXIT_SOME_FAILED if unread else cli.EXIT_OK


def _measure(args: EvaluateArguments) -> tuple[Evaluation, list[str]]:
    """Returns the requested evaluation, and a line for each picture that can't be read."""
    recognizer = dataclasses.replace(Recognizer.load(args.run), tta=args.tta)
    if args.images:
        return evaluate_pictures(recognizer, args.images)
    from digitjax.data.splits import load_splits, require_same_data  # with TFDS, 0.4 s

    config = recognizer.trained.config
    splits = load_splits(config.dataset, args.data_dir, args.idx_dir)
    require_same_data(config, splits)
    return evaluate_dataset(recognizer.trained, splits.test, tta=args.tta), []


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `python -m digitjax.evaluate`."""
    return cli.run(
        evaluate,
        EvaluateArguments,
        argv,
        program="-m digitjax.evaluate",
        about="Measures a trained model, and draws its mistakes.",
    )


if __name__ == "__main__":
    cli.leave(main())
