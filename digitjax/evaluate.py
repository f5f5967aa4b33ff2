"""Measures a trained model: confusion matrix, scores per class, calibration.

    python -m digitjax.evaluate checkpoints/mnist-default        # on the test set of its data
    python -m digitjax.evaluate --images my_pictures/labels.csv  # on your own pictures, with the weights that ship

Both print a report, and write it with its plots.
"""

import csv
import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import tyro
from jaxtyping import Float, Int, UInt8

from digitjax import calibrate, cli, data, drawn, model
from digitjax.checkpoint import TrainedModel
from digitjax.config import DigitjaxError, LossName
from digitjax.idx import Dataset
from digitjax.predict import Recognizer
from digitjax.preprocess import ImageError, preprocess_image
from digitjax.tta import predict_logits

NO_DIGIT = -1
"""Stands among predicted classes for a picture that is taken for no digit."""

NUM_NEGATIVES = 1000
NEGATIVES_SEED = 2**32
"""Training draws from the run's seed, which is below this."""

# ---------------------------------------------------------------- measures


@dataclasses.dataclass(frozen=True)
class Rejection:
    """How well a model tells digits from what is none, by `is_digit_score`."""

    accepted: float
    """Share of the digits at or above the threshold."""
    refused: float
    """Share of the drawings without a digit (`digitjax.drawn.draw_negatives`) below it."""
    auroc: float
    """Area under the ROC curve: how often a digit scores higher than a drawing without one."""
    num_negatives: int


@dataclasses.dataclass(frozen=True)
class Report:
    """How a model does on a data set; `report.json` has these fields."""

    accuracy: float
    error: float
    loss: float
    """Mean negative log-likelihood of the true class, in nats; of `sigmoid` models, summed over the ten questions."""
    ece: float
    """Expected calibration error, see `compute_ece`."""
    brier: float
    """Brier score: the squared distance of the probabilities from the truth (1 for the true class), 0 to 2, mean."""
    accuracy_at_99: float
    """Accuracy on the 99 % of the examples that the model is surest of."""
    dataset: str
    num_examples: int
    model: str
    confusion_matrix: list[list[int]]
    """Rows: true class, columns: predicted class."""
    per_class: dict[str, dict[str, float]]
    """precision, recall, f1 and support of each class."""
    rejection: Rejection | None = None
    """None of a model that was trained on digits alone, and on pictures of one's own."""

    def to_json(self) -> str:
        """Returns the report as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def __str__(self) -> str:
        """The report as text, for people."""
        width = max(5, len(str(max(map(max, self.confusion_matrix)))) + 1)
        names = list(self.per_class)
        first = max(5, *map(len, names))
        lines = [
            f"{self.model} on {self.dataset}, {self.num_examples:,} examples",
            f"accuracy {self.accuracy:.2%}  error {self.error:.2%}  loss {self.loss:.4f}  ece {self.ece:.4f}",
            f"brier {self.brier:.4f}  accuracy without the least sure 1 % {self.accuracy_at_99:.2%}",
            "",
            f"{'class':<{first}}  precision  recall      f1  support",
            *(
                f"{name:<{first}}  {s['precision']:>9.2%} {s['recall']:>7.2%} {s['f1']:>7.2%}  {s['support']:>7,}"
                for name, s in self.per_class.items()
            ),
            "",
            "confusion matrix (rows: true, columns: predicted)",
            " " * first + "".join(f"{name[: width - 1]:>{width}}" for name in names),
            *(
                f"{name:<{first}}" + "".join(f"{count or '.':>{width}}" for count in row)
                for name, row in zip(names, self.confusion_matrix, strict=True)
            ),
        ]
        if num_no_digit := self.num_examples - sum(map(sum, self.confusion_matrix)):
            lines += ["", f"{num_no_digit} taken for no digit, counted as mistakes"]
        if r := self.rejection:
            lines += [
                "",
                f"accepted {r.accepted:.2%} of the digits",
                f"refused {r.refused:.2%} of {r.num_negatives:,} drawings without a digit  auroc {r.auroc:.4f}",
            ]
        return "\n".join(lines)


def compute_ece(confidences: Float[np.ndarray, "n"], correct: Float[np.ndarray, "n"], num_bins: int = 15) -> float:
    """Returns the expected calibration error (Guo et al. 2017, https://arxiv.org/abs/1706.04599, equation 3).

    Predictions are put into `num_bins` equally wide bins (low, high] by their confidence; the result is the mean,
    weighted by the bins' sizes, of |accuracy - mean confidence|. 0 is perfect.

    Args:
      confidences: Probability of the predicted class, 0 to 1.
      correct: 1 where the prediction is right, 0 where it is wrong.
      num_bins: The number of bins.
    """
    bins = np.clip(np.ceil(confidences * num_bins).astype(int) - 1, 0, num_bins - 1)
    gaps = np.bincount(
        bins, weights=correct - confidences, minlength=num_bins
    )  # each bin's size * (accuracy - confidence)
    return float(np.abs(gaps).sum() / len(confidences))


def make_report(
    preds: Int[np.ndarray, "n"],
    probs: Float[np.ndarray, "n classes"],
    labels: Int[np.ndarray, "n"],
    *,
    loss: LossName,
    dataset: str,
    model_name: str,
    class_names: Sequence[str],
) -> Report:
    """Measures predictions against the true labels; every example counts once.

    Args:
      preds: Predicted classes; NO_DIGIT counts as wrong and stands in no column of the confusion matrix.
      probs: The probabilities behind them.
      labels: True classes.
      loss: How the model was trained, and so which loss is reported.
      dataset: The data's name, for the record.
      model_name: The model's name, for the record.
      class_names: One name a class.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support  # 1.3 s to import

    correct = (preds == labels).astype(np.float64)
    classes = range(len(class_names))
    scores = np.stack(precision_recall_fscore_support(labels, preds, labels=classes, zero_division=0), axis=1)
    return Report(
        accuracy=float(correct.mean()),
        error=float((1 - correct).mean()),
        loss=calibrate.mean_loss(probs, labels, loss),
        ece=compute_ece(probs.max(-1).astype(np.float64), correct),
        brier=float(np.square(probs - np.eye(len(class_names))[labels]).sum(-1).mean()),
        accuracy_at_99=float(correct[np.argsort(-probs.max(-1))][: math.ceil(0.99 * len(correct))].mean()),
        dataset=dataset,
        num_examples=len(labels),
        model=model_name,
        confusion_matrix=confusion_matrix(labels, preds, labels=classes).tolist(),
        per_class={
            name: {"precision": float(p), "recall": float(r), "f1": float(f1), "support": int(support)}
            for name, (p, r, f1, support) in zip(class_names, scores, strict=True)
        },
    )


# ---------------------------------------------------------------- on a data set and on pictures


class Evaluation(NamedTuple):
    """A report with the examples behind it."""

    report: Report
    images: UInt8[np.ndarray, "n 28 28"]  # as the model saw them
    labels: Int[np.ndarray, "n"]
    preds: Int[np.ndarray, "n"]  # NO_DIGIT where a picture was taken for none
    confidences: Float[np.ndarray, "n"]


def evaluate_dataset(
    trained: TrainedModel, dataset: Dataset, class_names: Sequence[str], *, tta: bool = True
) -> Evaluation:
    """Measures a model, with test-time augmentation or without, on images that are drawn as MNIST's already.

    All of them are counted, also those that `Recognizer` would take for no digit; how many these are, and how many
    drawings without a digit it would refuse, stands apart, in `Report.rejection`.
    """
    logits = predict_logits(trained, dataset.images, tta=tta)
    probs = model.probs_from_logits(logits, trained.config.loss, trained.calibration.temperature)
    evaluation = _evaluate(
        trained, probs.argmax(-1), probs, dataset, dataset_name=trained.config.dataset, class_names=class_names
    )
    if not trained.config.negative_share:
        return evaluation
    rejection = measure_rejection(trained, dataset, model.is_digit_scores(logits, trained.config), tta=tta)
    return evaluation._replace(report=dataclasses.replace(evaluation.report, rejection=rejection))


def measure_rejection(
    trained: TrainedModel, digits: Dataset, scores: Float[np.ndarray, "n"], *, tta: bool = True
) -> Rejection:
    """Compares the scores of digits with those of drawings made for this, which training hasn't seen."""
    from sklearn.metrics import roc_auc_score

    negatives = drawn.draw_negatives(np.random.default_rng(NEGATIVES_SEED), NUM_NEGATIVES, digits)
    logits = predict_logits(trained, negatives, tta=tta)
    others = model.is_digit_scores(logits, trained.config)
    threshold = trained.calibration.threshold
    is_digit = np.arange(len(scores) + len(others)) < len(scores)
    return Rejection(
        accepted=float(np.mean(scores >= threshold)),
        refused=float(np.mean(others < threshold)),
        auroc=float(roc_auc_score(is_digit, np.concatenate([scores, others]))),
        num_negatives=len(others),
    )


def evaluate_pictures(recognizer: Recognizer, labels_csv: Path) -> tuple[Evaluation, list[str]]:
    """Measures a recognizer on a user's own pictures, through the same preprocessing as prediction.

    Args:
      recognizer: What reads them.
      labels_csv: A table with the columns `file` (relative to the table's folder) and `label`, a class's name.

    Returns:
      The evaluation of the pictures that could be read, and a line for each that could not.

    Raises:
      DigitjaxError: The table can't be read or has a wrong label, or no picture can be read.
    """
    names = recognizer.class_names
    rows, pictures, labels, unread = read_labels(labels_csv, names), [], [], []
    for file, label in rows:
        try:
            pictures.append(preprocess_image(labels_csv.parent / file))
            labels.append(label)
        except ImageError as error:
            unread.append(f"{file}: {error}")
    if not pictures:
        raise DigitjaxError(f"{labels_csv}: none of its {len(rows)} pictures can be read; the first: {unread[0]}")
    predictions = recognizer.predict_preprocessed(pictures)
    dataset = Dataset(
        np.stack([prediction.canonical for prediction in predictions])[..., None], np.array(labels, np.int32)
    )
    preds = np.array(
        [NO_DIGIT if prediction.label is None else names.index(prediction.label) for prediction in predictions]
    )
    probs = np.stack([prediction.probabilities for prediction in predictions])
    evaluation = _evaluate(recognizer.trained, preds, probs, dataset, dataset_name=labels_csv.stem, class_names=names)
    return evaluation, unread


def _evaluate(
    trained: TrainedModel,
    preds: Int[np.ndarray, "n"],
    probs: Float[np.ndarray, "n classes"],
    dataset: Dataset,
    *,
    dataset_name: str,
    class_names: Sequence[str],
) -> Evaluation:
    report = make_report(
        preds,
        probs,
        dataset.labels,
        loss=trained.config.loss,
        dataset=dataset_name,
        model_name=trained.config.model,
        class_names=class_names,
    )
    return Evaluation(report, dataset.images[..., 0], dataset.labels, preds, probs.max(-1))


def read_labels(labels_csv: Path, class_names: Sequence[str]) -> list[tuple[str, int]]:
    """Reads a table of pictures with the columns `file` and `label`, a class's name; others are left alone.

    Raises:
      DigitjaxError: It can't be read, lacks a column or has a wrong label; the message names the line.
    """
    try:
        with labels_csv.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if missing := {"file", "label"} - set(reader.fieldnames or ()):
                raise DigitjaxError(
                    f"{labels_csv}: has no column {min(missing)!r}; its first line must name file,label"
                )
            rows = [(reader.line_num, row["file"] or "", row["label"] or "") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DigitjaxError(f"{labels_csv}: can't be read: {error}") from None
    for line, _, label in rows:
        if label.strip() not in class_names:
            known = ", ".join(class_names)
            raise DigitjaxError(f"{labels_csv}, line {line}: label must be one of {known}, found {label!r}")
    if not rows:
        raise DigitjaxError(f"{labels_csv}: names no pictures")
    return [(file, class_names.index(label.strip())) for _, file, label in rows]


def write_evaluation(out: Path, evaluation: Evaluation) -> None:
    """Writes `report.json`, `confusion_matrix.png` and `mistakes.png` into a folder."""
    from digitjax import plots  # matplotlib, 0.5 s

    report = evaluation.report
    out.mkdir(parents=True, exist_ok=True)
    plots.save_confusion_matrix(out / "confusion_matrix.png", report)
    plots.save_mistakes(out / "mistakes.png", evaluation)
    (out / "report.json").write_text(report.to_json())  # last: where it is, a run is complete


# ---------------------------------------------------------------- command


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateArguments(data.SourceArguments):
    """The arguments of `python -m digitjax.evaluate`."""

    run: Annotated[Path | None, tyro.conf.Positional] = None
    """A training run's folder (default: the weights that ship)."""
    images: Path | None = None
    """A CSV table with the columns file,label: evaluate on these pictures instead of the test set."""
    out: Path | None = None
    """Where report.json and the plots go (default: RUN; without it or with --images or --no-tta: ./evaluation)."""
    tta: bool = True
    """Look again, turned and scaled, at what the network is unsure of."""


def evaluate(args: EvaluateArguments) -> int:
    """Prints the report and writes it with its plots."""
    recognizer = dataclasses.replace(Recognizer.load(args.run), tta=args.tta)
    unread: list[str] = []
    if args.images:
        evaluation, unread = evaluate_pictures(recognizer, args.images)
    else:
        splits = data.load_splits(recognizer.trained.config.dataset, args.data_dir, args.idx_dir)
        evaluation = evaluate_dataset(recognizer.trained, splits.test, splits.class_names, tta=args.tta)
    out = args.out or (args.run if args.run and args.tta and not args.images else Path("evaluation"))
    write_evaluation(out, evaluation)
    print(evaluation.report)
    print(f"\n{out} holds report.json and the plots")
    for line in unread:
        print(f"left out: {line}", file=sys.stderr)
    return cli.EXIT_SOME_FAILED if unread else cli.EXIT_OK


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
