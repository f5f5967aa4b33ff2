import csv
import json

import numpy as np
import pytest
from PIL import Image

from digitjax import checkpoint, drawn, evaluate, tta
from digitjax.config import DigitjaxError
from digitjax.predict import Recognizer

RNG = np.random.default_rng(0)


def random_probs(n, classes=10):
    probs = RNG.random((n, classes)) ** 4
    return (probs / probs.sum(1, keepdims=True)).astype(np.float32)


def report_on(probs, labels, **changes):
    options = {"loss": "softmax", "dataset": "made", "model_name": "none", "class_names": tuple("0123456789")}
    return evaluate.make_report(probs.argmax(-1), probs, labels, **(options | changes))


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
    assert evaluate.compute_ece(confidences, correct) == pytest.approx(expected)
    assert evaluate.compute_ece(np.array([1.0, 1.0]), np.array([1.0, 1.0])) == 0


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
    report = evaluate.make_report(
        np.array([0, evaluate.NO_DIGIT, 1]), probs, labels,
        loss="softmax", dataset="made", model_name="none", class_names=tuple("0123456789"),
    )  # fmt: skip
    assert report.accuracy == pytest.approx(2 / 3)
    assert "1 taken for no digit" in str(report)


def test_rejection_is_counted(run, digits):
    trained = checkpoint.load_model(run)
    scores = np.linspace(0.5, 1, 11, dtype=np.float32)
    calibrated = trained._replace(calibration=checkpoint.Calibration(1.0, 0.75))
    rejection = evaluate.measure_rejection(calibrated, digits.test, scores)
    assert rejection.accepted == pytest.approx(6 / 11)
    rng = np.random.default_rng(evaluate.NEGATIVES_SEED)
    others = drawn.draw_negatives(rng, rejection.num_negatives, digits.test)
    logits = tta.predict_logits(trained, others)
    other_scores = 1 - 1 / (1 + np.exp(logits.astype(np.float64)).sum(axis=1))
    assert rejection.refused == pytest.approx(np.mean(other_scores < 0.75), abs=1e-3)
    above = (scores[:, None] > other_scores).mean()  # by brute force: of all pairs, those in the right order
    assert rejection.auroc == pytest.approx(above, abs=1e-3)


# ---------------------------------------------------------------- command


def test_command_repeats_the_runs_report(run, tmp_path, capsys):
    assert evaluate.main([str(run), "--out", str(tmp_path)]) == 0
    assert (tmp_path / "report.json").read_text() == (run / "report.json").read_text()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report.keys() >= {
        "accuracy", "error", "loss", "ece", "brier", "accuracy_at_99", "dataset", "num_examples", "confusion_matrix",
        "per_class",
    }  # fmt: skip
    assert np.sum(report["confusion_matrix"]) == report["num_examples"] == 400
    assert 0.5 < report["rejection"]["auroc"] <= 1
    printed = capsys.readouterr().out
    assert f"accuracy {report['accuracy']:.2%}" in printed
    assert "confusion matrix" in printed


def test_evaluating_without_second_looks_leaves_the_runs_report_alone(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = (run / "report.json").read_text()
    assert evaluate.main([str(run.absolute()), "--no-tta"]) == 0
    assert (run / "report.json").read_text() == before
    plain = json.loads((tmp_path / "evaluation" / "report.json").read_text())
    assert plain["loss"] != json.loads(before)["loss"]


@pytest.fixture
def pictures(digits, tmp_path):
    """A folder of ten test digits as dark ink on white paper, with their table."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "kind"])
        for i, (image, label) in enumerate(zip(*(part[:10] for part in digits.test), strict=True)):
            Image.fromarray(255 - image[..., 0]).resize((140, 140)).save(folder / f"{i}.png")
            writer.writerow([f"{i}.png", label, "test"])
    return folder


def test_own_pictures(run, pictures, tmp_path, capsys):
    out = tmp_path / "out"
    assert evaluate.main([str(run), "--images", str(pictures / "labels.csv"), "--out", str(out)]) == 0
    report = json.loads((out / "report.json").read_text())
    recognizer = Recognizer.load(run)
    with (pictures / "labels.csv").open() as file:
        right = sum(
            recognizer.predict_digit(pictures / row["file"]).digit == int(row["label"]) for row in csv.DictReader(file)
        )
    assert report["accuracy"] == pytest.approx(right / 10)
    assert report["accuracy"] >= 0.7
    assert report["dataset"] == "labels"
    assert (out / "mistakes.png").stat().st_size > 1000
    assert "10 examples" in capsys.readouterr().out


def test_a_picture_that_cant_be_read_is_left_out_and_named(run, pictures, tmp_path, capsys):
    (pictures / "3.png").write_bytes(b"no picture")
    Image.new("L", (50, 50), 255).save(pictures / "4.png")  # readable, but blank
    arguments = [str(run), "--images", str(pictures / "labels.csv"), "--out", str(tmp_path / "out")]
    assert evaluate.main(arguments) == 1
    captured = capsys.readouterr()
    assert "9 examples" in captured.out
    assert "1 taken for no digit" in captured.out
    assert "3.png" in captured.err


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name,label\na.png,1\n", "no column 'file'"),
        ("file,label\na.png,1\nb.png,x\n", "line 3: label must be one of 0, 1, .*9, found 'x'"),
        ("file,label\na.png,\n", "line 2: label must be one of"),
        ("file,label\n", "names no pictures"),
        ("file,label\na.png,1\n", r"none of its 1 pictures can be read.*a\.png"),
    ],
)
def test_faulty_tables_are_named(run, tmp_path, table, message):
    path = tmp_path / "labels.csv"
    path.write_text(table)
    with pytest.raises(DigitjaxError, match=message):
        evaluate.evaluate_pictures(Recognizer(checkpoint.load_model(run)), path)


def test_a_missing_table_is_named(run, tmp_path, capsys):
    assert evaluate.main([str(run), "--images", str(tmp_path / "none.csv")]) == 2
    assert "none.csv: can't be read" in capsys.readouterr().err


def test_all_of_mnists_test_set_counts(mnist):
    trained = checkpoint.load_model(checkpoint.default_checkpoint())
    report = evaluate.evaluate_dataset(trained, mnist.test, mnist.class_names).report
    shipped = json.loads((checkpoint.default_checkpoint() / "report.json").read_text())
    assert report.num_examples == 10_000
    assert report.accuracy >= 0.995
    assert report.confusion_matrix == shipped["confusion_matrix"]
