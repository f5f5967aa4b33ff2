"""How good predictions are: accuracy, loss, calibration, confusion matrix, scores per class."""

import dataclasses
import json
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from digitjax.config import LossName, TrainConfig


@dataclasses.dataclass(frozen=True)
class Rejection:
    """How well a model tells digits from non-digits, by `is_digit_score`."""

    accepted: float
    """Share of the digits at or above the threshold."""
    refused: float
    """Share of the drawings without a digit (`digitjax.drawing`) below it."""
    auroc: float
    """Area under the ROC curve: how often a digit scores higher than a drawing without one."""
    num_negatives: int


@dataclasses.dataclass(frozen=True)
class Report:
    """How a model does on a data set; `report.json` has these fields."""

    accuracy: float
    error: float
    loss: float
    """Mean negative log-likelihood of the true class, in nats; for `sigmoid` models, summed over the ten questions.

    It is computed from the probabilities that prediction returns, which are all equal for a refused picture; the
    validation loss in the history is what training minimises."""
    ece: float
    """Expected calibration error, see `compute_ece`."""
    brier: float
    """Brier score: the mean squared distance of the probabilities from the truth (1 for the true class), 0 to 2."""
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
    """None for a model that was trained on digits alone, and for a user's own pictures."""

    def to_json(self) -> str:
        """Returns the report as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def __str__(self) -> str:
        """The report as readable text."""
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
            lines += ["", f"{num_no_digit} read as no digit, counted as mistakes"]
        if r := self.rejection:
            lines += [
                "",
                f"accepted {r.accepted:.2%} of the digits",
                f"refused {r.refused:.2%} of {r.num_negatives:,} drawings without a digit  auroc {r.auroc:.4f}",
            ]
        return "\n".join(lines)


def compute_ece(confidences: Float[np.ndarray, "n"], correct: Float[np.ndarray, "n"], num_bins: int = 15) -> float:
    """Returns the expected calibration error (Guo et al. 2017, https://arxiv.org/abs/1706.04599, equation 3).

    Predictions are put into `num_bins` equally wide bins (low, high] by confidence; the result is the mean,
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
    config: TrainConfig,
    dataset: str,
) -> Report:
    """Measures predictions against the true labels; every example counts once.

    Args:
      preds: Predicted classes; `config.no_digit` counts as wrong and has no column in the confusion matrix.
      probs: The probabilities behind them.
      labels: True classes.
      config: The model's config, for its name, its loss and the names of its classes.
      dataset: The name of the data, for the report.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support  # 1.3 s to import

    correct = (preds == labels).astype(np.float64)
    classes = range(len(config.class_names))
    scores = np.stack(precision_recall_fscore_support(labels, preds, labels=classes, zero_division=0), axis=1)
    return Report(
        accuracy=float(correct.mean()),
        error=float((1 - correct).mean()),
        loss=mean_loss(probs, labels, config.loss),
        ece=compute_ece(probs.max(-1).astype(np.float64), correct),
        brier=float(np.square(probs - np.eye(len(classes))[labels]).sum(-1).mean()),
        accuracy_at_99=float(correct[np.argsort(-probs.max(-1))][: math.ceil(0.99 * len(correct))].mean()),
        dataset=dataset,
        num_examples=len(labels),
        model=config.model,
        confusion_matrix=confusion_matrix(labels, preds, labels=classes).tolist(),
        per_class={
            name: {"precision": float(p), "recall": float(r), "f1": float(f1), "support": int(support)}
            for name, (p, r, f1, support) in zip(config.class_names, scores, strict=True)
        },
    )


def mean_loss(probs: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, "n"], loss: LossName) -> float:
    """Returns the mean negative log-likelihood of the true classes; for `sigmoid`, summed over the ten questions."""
    tiny = np.finfo(np.float32).tiny  # a probability that was rounded to 0 costs 87 nats, not infinity
    rows, probs = np.arange(len(labels)), probs.astype(np.float64)
    on_label = -np.log(np.maximum(probs[rows, labels], tiny))
    if loss == "softmax":
        return float(on_label.mean())
    off_label = -np.log(np.maximum(1 - probs, tiny))
    return float((on_label + off_label.sum(-1) - off_label[rows, labels]).mean())


class Evaluation(NamedTuple):
    """A report with the examples behind it."""

    report: Report
    images: UInt8[np.ndarray, "n 28 28"]  # as the model saw them
    labels: Int[np.ndarray, "n"]
    preds: Int[np.ndarray, "n"]  # `config.no_digit` for refused pictures
    confidences: Float[np.ndarray, "n"]
