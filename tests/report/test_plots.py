import numpy as np
import pytest
from PIL import Image

from digitjax.config import TrainConfig
from digitjax.report import plots
from digitjax.report.measures import Evaluation, make_report


def assert_drawn(path, min_colors=10):
    with Image.open(path) as image:
        assert len(image.convert("RGB").getcolors(1 << 24)) >= min_colors
        return image.size


def make_evaluation(digits, num_wrong):
    labels = digits.test.labels
    preds = labels.copy()
    preds[:num_wrong] = (labels[:num_wrong] + 1) % 10
    probs = np.eye(10, dtype=np.float32)[preds] * 0.9 + 0.01
    report = make_report(preds, probs, labels, TrainConfig(), "digits")
    return Evaluation(report, digits.test.images[..., 0], labels, preds, probs.max(-1))


@pytest.mark.parametrize("num_wrong", [0, 1, 7, 25, 100])
def test_sheets_of_mistakes(digits, tmp_path, num_wrong):
    plots.save_mistakes(tmp_path / "mistakes.png", make_evaluation(digits, num_wrong))
    _, height = assert_drawn(tmp_path / "mistakes.png")
    rows = max(1, min(-(-num_wrong // 10), 6))
    assert height == pytest.approx(rows * 130, abs=80)


def test_a_refused_picture_has_no_confidence(digits, tmp_path, monkeypatch):
    evaluation = make_evaluation(digits, 2)
    evaluation.preds[0] = 10
    drawn = []
    monkeypatch.setattr(plots, "_draw_sheet", lambda _axes, _rows, _gap, captions: drawn.extend(captions))
    plots.save_mistakes(tmp_path / "mistakes.png", evaluation)
    first, second = evaluation.labels[:2]
    assert sorted(drawn) == sorted([f"{first} read as no digit\n#0", f"{second} read as {(second + 1) % 10}\n91%, #1"])


@pytest.mark.parametrize("num_wrong", [0, 30])
def test_confusion_matrix(digits, tmp_path, num_wrong):
    plots.save_confusion_matrix(tmp_path / "matrix.png", make_evaluation(digits, num_wrong).report)
    assert_drawn(tmp_path / "matrix.png")


@pytest.mark.parametrize("accuracies", [[0.9], [0.9, 0.99, 1.0], [1.0, 1.0]])
def test_history(tmp_path, accuracies):
    history = [
        {"epoch": i, "loss": 0.5, "accuracy": a, "validation_loss": 0.4, "validation_accuracy": a}
        for i, a in enumerate(accuracies, 1)
    ]
    plots.save_history(tmp_path / "history.png", history, "a title")
    assert_drawn(tmp_path / "history.png")


def test_sheets_with_rows_of_any_length(digits, tmp_path):
    rows = [digits.train.images[:n, ..., 0] for n in (12, 3, 0)]
    plots.save_sheet(tmp_path / "sheet.png", rows, "a title")
    assert_drawn(tmp_path / "sheet.png")
