import csv
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from digitjax import evaluate
from digitjax.config import DigitjaxError
from digitjax.drawing.negatives import draw_negatives
from digitjax.nn import looks
from digitjax.nn.inference import Calibration
from digitjax.predict import Recognizer
from digitjax.runs import weights
from digitjax.runs.folder import lock_folder


def test_rejection_is_counted(run, digits):
    trained = weights.load_model(run)
    scores = np.linspace(0.5, 1, 11, dtype=np.float32)
    calibrated = trained._replace(calibration=Calibration(1.0, 0.75))
    rejection = evaluate.measure_rejection(calibrated, digits.test, scores)
    assert rejection.accepted == pytest.approx(6 / 11)
    rng = np.random.default_rng(evaluate.NEGATIVES_SEED)
    others = draw_negatives(rng, rejection.num_negatives, digits.test)
    logits = looks.predict_logits(trained, others)
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
    assert "1 read as no digit" in captured.out
    assert "3.png" in captured.err


def test_what_is_refused_claims_no_class(run, pictures):
    """Neither loss nor calibration take it for a sure mistake, and it is the least sure of all."""
    recognizer = Recognizer.load(run)
    predictions = recognizer.predict_digits(sorted(pictures.glob("*.png")))
    threshold = sorted(prediction.is_digit_score for prediction in predictions)[4]
    evaluation, _ = evaluate.evaluate_pictures(replace(recognizer, threshold=threshold), pictures / "labels.csv")
    labels = evaluation.labels.tolist()
    answered = [(p, label) for p, label in zip(predictions, labels, strict=True) if p.is_digit_score >= threshold]
    assert len(answered) == 6
    assert np.sum(evaluation.preds == 10) == 4
    losses = [-math.log(p.probabilities[label]) for p, label in answered] + [math.log(10)] * 4
    assert evaluation.report.loss == pytest.approx(sum(losses) / 10, rel=1e-5)
    squares = [sum((q - (i == label)) ** 2 for i, q in enumerate(p.probabilities)) for p, label in answered]
    assert evaluation.report.brier == pytest.approx((sum(squares) + 4 * 0.9) / 10, rel=1e-5)
    assert evaluation.confidences[evaluation.preds == 10] == pytest.approx(0.1)

    evaluation, _ = evaluate.evaluate_pictures(replace(recognizer, threshold=2), pictures / "labels.csv")
    assert evaluation.report.accuracy == 0
    assert evaluation.report.ece == pytest.approx(0.1)


TABLE = "file,label\n0.png,7\n1.png,2\n"


@pytest.mark.parametrize(
    "content",
    [
        TABLE.encode(),
        TABLE.encode("utf-8-sig"),
        TABLE.encode("utf-16"),
        ("\ufeff" + TABLE).encode("utf-16-be"),
        TABLE.replace(",", ";").encode(),
        ("sep=;\r\n" + TABLE.replace(",", ";").replace("\n", "\r\n")).encode(),
        TABLE.replace(",", "\t").encode(),
        b"note;File ; LABEL\nna\xefve;0.png; 7\n\n;1.png;2.0\n;;\n  \n",
        b'label, file\n"7", "0.png"\n"2 ", "1.png"\n\n\n',
        b"file,label\n.\\0.png,7\nsub\\..\\1.png,2",
        b"file,label\npictures/0.png,7\npictures/1.png,2",  # relative to the working folder
    ],
)
def test_tables_as_spreadsheet_programs_save_them(pictures, monkeypatch, content):
    monkeypatch.chdir(pictures.parent)
    (pictures / "sub").mkdir()
    (pictures / "labels.csv").write_bytes(content)
    rows = evaluate.read_labels(pictures / "labels.csv", "0123456789")
    assert [label for _, label in rows] == [7, 2]
    assert [file.resolve() for file, _ in rows] == [pictures / "0.png", pictures / "1.png"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name,label\na.png,1\n", "no column 'file'"),
        ("file,label\na.png,1\nb.png,x\n", "line 3, column label: must be one of 0, 1, .*9, found 'x'"),
        ("file,label\na.png,\n", "line 2, column label: must be one of"),
        ("file,label\n", "names no pictures"),
        ("file,label\na.png,1\n", r"none of its 1 pictures can be read.*a\.png"),
    ],
)
def test_faulty_tables_are_named(run, tmp_path, table, message):
    path = tmp_path / "labels.csv"
    path.write_text(table)
    with pytest.raises(DigitjaxError, match=message):
        evaluate.evaluate_pictures(Recognizer(weights.load_model(run)), path)


def test_a_run_that_is_being_trained_isnt_measured_into_its_folder(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "copy")
    with lock_folder(copy):
        assert evaluate.main([str(copy)]) == 2
    assert "another process is writing into it" in capsys.readouterr().err


def test_a_runs_folder_takes_no_other_report(run, pictures, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "copy")
    for arguments in ([str(run)], [], [str(copy), "--images", str(pictures / "labels.csv")]):
        assert evaluate.main([*arguments, "--out", str(copy)]) == 2
        assert "holds a run, whose report is of its own test set" in capsys.readouterr().err
    assert (copy / "report.json").read_bytes() == (run / "report.json").read_bytes()


def test_a_missing_table_is_named(run, tmp_path, capsys):
    assert evaluate.main([str(run), "--images", str(tmp_path / "none.csv")]) == 2
    assert "none.csv: can't be read" in capsys.readouterr().err


def test_all_of_mnists_test_set_counts(mnist):
    trained = weights.load_model(weights.default_checkpoint())
    report = evaluate.evaluate_dataset(trained, mnist.test).report
    shipped = json.loads((weights.default_checkpoint() / "report.json").read_text())
    assert report.num_examples == 10_000
    assert report.accuracy >= 0.995
    assert report.confusion_matrix == shipped["confusion_matrix"]
