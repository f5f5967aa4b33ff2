import numpy as np
import pytest

from digitjax.config import TrainConfig
from digitjax.report.measures import compute_ece, make_report

RNG = np.random.default_rng(0)


def random_probs(n, classes=10):
    probs = RNG.random((n, classes)) ** 4
    return (probs / probs.sum(1, keepdims=True)).astype(np.float32)


def report_on(probs, labels, **changes):
    return make_report(probs.argmax(-1), probs, labels, TrainConfig(**changes), "made")


def test_report_equals_counting_by_hand():
    probs, labels = random_probs(500), RNG.integers(0, 10, 500)
    report = report_on(probs, labels)
    matrix = [[0] * 10 for _ in range(10)]
    loss = 0.0
    for p, label in zip(probs.tolist(), labels.tolist(), strict=True):
        matrix[label][p.index(max(p))] += 1
        loss -= np.log(p[label])
    assert report.confusion_matrix == matrix
    assert report.num_examples == 500
    right = sum(matrix[i][i] for i in range(10))
    assert report.accuracy == pytest.approx(right / 500)
    assert report.error == pytest.approx(1 - right / 500)
    assert report.loss == pytest.approx(loss / 500, rel=1e-6)
    for i, scores in enumerate(report.per_class.values()):
        predicted, true = sum(row[i] for row in matrix), sum(matrix[i])
        precision, recall = matrix[i][i] / predicted, matrix[i][i] / true
        assert scores == pytest.approx(
            {
                "precision": precision,
                "recall": recall,
                "f1": 2 * precision * recall / (precision + recall) if precision + recall else 0,
                "support": true,
            }
        )


def test_sigmoid_loss_adds_all_questions():
    probs = np.array([[0.9, 0.2], [0.3, 0.6]], np.float32)
    expected = -(np.log(0.9) + np.log(0.8) + np.log(0.3) + np.log(0.4)) / 2
    report = report_on(probs, np.array([0, 0]), loss="sigmoid", class_names=("a", "b"))
    assert report.loss == pytest.approx(expected, rel=1e-5)


def test_calibration_error_equals_the_formula():
    confidences = RNG.random(1000)
    confidences[:3] = [0.0, 1.0, 1 / 15]  # the bins' edges
    correct = (RNG.random(1000) < confidences**2).astype(float)
    expected = 0.0
    for m in range(15):
        inside = [
            (c, r)
            for c, r in zip(confidences, correct, strict=True)
            if m / 15 < c <= (m + 1) / 15 or (m == 0 and c == 0)
        ]
        if inside:
            accuracy, confidence = (
                sum(column) / len(inside) for column in ([r for _, r in inside], [c for c, _ in inside])
            )
            expected += len(inside) / 1000 * abs(accuracy - confidence)
    assert compute_ece(confidences, correct) == pytest.approx(expected)
    assert compute_ece(np.array([1.0, 1.0]), np.array([1.0, 1.0])) == 0


def test_brier_score_and_accuracy_without_the_least_sure():
    """200 examples, the two least sure of them wrong; so is one that is sure."""
    probs = np.full((200, 3), 0.05, np.float32)
    probs[:, 0] = 0.9
    probs[[7, 50]] = [0.4, 0.35, 0.25]
    labels = np.zeros(200, int)
    labels[[7, 50, 120]] = 1
    report = report_on(probs, labels, class_names=("a", "b", "c"))
    assert report.accuracy == pytest.approx(197 / 200)
    assert report.accuracy_at_99 == pytest.approx(197 / 198)
    expected = [
        sum((float(p) - (label == k)) ** 2 for k, p in enumerate(row)) for row, label in zip(probs, labels, strict=True)
    ]
    assert report.brier == pytest.approx(np.mean(expected))


def test_pictures_without_ink_count_as_mistakes():
    labels = np.array([0, 0, 1])
    probs = np.eye(10, dtype=np.float32)[labels]
    config = TrainConfig()
    report = make_report(np.array([0, config.no_digit, 1]), probs, labels, config, "made")
    assert report.accuracy == pytest.approx(2 / 3)
    assert "1 read as no digit" in str(report)
