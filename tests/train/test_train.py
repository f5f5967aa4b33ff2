import json
import os
import re
import shutil
import signal
from dataclasses import replace
from typing import get_args
from unittest import mock

import numpy as np
import pytest
from conftest import TINY_RUN, assert_same_trees, read_events, write_semeion
from PIL import Image

from digitjax import evaluate
from digitjax.config import PRESETS, DigitjaxError, ModelName
from digitjax.data.extra import load_extra
from digitjax.drawing.hands import draw_plain
from digitjax.nn import looks
from digitjax.predict import __main__ as predict_command
from digitjax.runs import weights
from digitjax.runs.files import RunFile
from digitjax.runs.folder import lock_folder
from digitjax.runs.history import read_history
from digitjax.train import __main__ as command
from digitjax.train import calibrate, loop
from digitjax.train.__main__ import TrainArguments
from digitjax.train.step import train_step


def test_a_run_leaves_its_folder(run):
    names = {path.name for path in run.iterdir()}
    assert names == {
        "config.json", "calibration.json", "metrics.jsonl",
        "report.json", "report.html", "history.png", "confusion_matrix.png", "mistakes.png",
        "state", "weights.npz", "SHA256SUMS", ".lock",
    }  # fmt: skip
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2, 3, 4, 5, 6]
    report = json.loads((run / "report.json").read_text())
    assert report["dataset"] == "digits"
    assert report["num_examples"] == 400
    assert report["accuracy"] > 0.8


def test_a_run_is_never_overwritten_unasked(run, capsys):
    before = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    assert command.main([*TINY_RUN, "--out", str(run)]) == 2
    error = capsys.readouterr().err
    assert "--resume" in error
    assert "--overwrite" in error
    assert {path: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_a_run_has_its_folder_and_overwriting_takes_all_of_it_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.main([*TINY_RUN, "--tensorboard"]) == 0
    out = tmp_path / "checkpoints" / "digits-mlp"  # named for data and model
    losses = [record["validation_loss"] for record in read_history(out)]
    assert [value for _, value in read_events(out)["loss/validation"]] == pytest.approx(losses)
    (out / "notes.txt").write_text("mine")
    assert {path.name for path in out.iterdir()} == {*RunFile, ".lock", "notes.txt"}

    assert command.main([*TINY_RUN, "--epochs", "1", "--overwrite"]) == 0
    assert (out / "notes.txt").read_text() == "mine"
    assert not (out / RunFile.TENSORBOARD).exists()
    assert len(read_history(out)) == 1


def test_an_output_that_is_no_folder_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert command.main([*TINY_RUN, "--out", str(tmp_path / "file" / "run")]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / "file") in error
    assert "Traceback" not in error


def test_resuming_a_finished_run_changes_nothing(run, capsys):
    before = weights.load_model(run).variables
    assert command.main(["--resume", "--out", str(run)]) == 0
    assert "is complete" in capsys.readouterr().out
    assert_same_trees(weights.load_model(run).variables, before)


@pytest.mark.parametrize(
    ("option", "value", "started"),
    [("--epochs", "30", "epochs=6"), ("--dataset", "mnist", "dataset='digits'"), ("--model", "vgg", "model='mlp'")],
)
def test_resuming_with_other_options_is_refused(run, option, value, started, capsys):
    assert command.main(["--resume", "--out", str(run), option, value]) == 2
    assert f"started with {started}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--preset", "quick"], "was started with model='mlp', and --preset quick says 'default'"),
        (["--preset=default", "--model", "mlp"], "was started with epochs=6, and --preset default says 7"),
        (["--batch_size=128"], "was started with batch_size=32, not 128"),  # the default is asked for, too
        (["--augment.scale", "0.5"], "was started with augment.scale=0.12, not 0.5"),
    ],
)
def test_what_was_asked_for_is_compared_and_nothing_else_is_named(run, arguments, reason, capsys):
    assert command.main(["--resume", "--out", str(run), *arguments]) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [TINY_RUN, ["--epochs", "6"], ["--augment.scale", "0.12"]])
def test_resuming_with_the_same_options_is_fine(run, arguments, capsys):
    assert command.main(["--resume", "--out", str(run), *arguments]) == 0
    assert "is complete" in capsys.readouterr().out


def test_callers_name_a_preset_or_a_whole_config(run, tmp_path, monkeypatch, digits):
    trained = []

    def note(config, *_, **__):
        trained.append(config)
        raise DigitjaxError("enough")

    monkeypatch.setattr(command, "fit", note)
    for options in ({"preset": "best"}, {}, {"config": replace(PRESETS["quick"], dataset="digits", epochs=2)}):
        out = tmp_path / str(len(trained))
        with monkeypatch.context() as patch:
            patch.setattr(command, "load_splits", lambda *_, **__: digits)
            with pytest.raises(DigitjaxError, match="enough"):
                command.train(TrainArguments(out=out, **options))
        assert weights.load_config(out) == trained[-1]
    best, default, own = trained
    assert best == replace(PRESETS["best"], dataset="digits")
    assert default == replace(PRESETS["default"], dataset="digits")
    assert own == replace(PRESETS["quick"], dataset="digits", epochs=2)

    resumed = TrainArguments(out=run, resume=True)
    assert command.train(resumed) == command.train(replace(resumed, config=weights.load_config(run))) == 0
    with pytest.raises(DigitjaxError, match="was started with epochs=6, not 7"):
        command.train(replace(resumed, config=replace(weights.load_config(run), epochs=7)))
    with pytest.raises(DigitjaxError, match="and --preset best says"):
        command.train(replace(resumed, preset="best"))


def test_resuming_nothing_is_refused(tmp_path, capsys):
    assert command.main(["--resume", "--out", str(tmp_path / "none")]) == 2
    assert "config.json" in capsys.readouterr().err


def test_a_learning_rate_that_explodes_is_one_clear_error(tmp_path, capsys):
    assert command.main([*TINY_RUN, "--learning-rate", "1e30", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "the loss became NaN or infinite at step" in error
    assert "no state was saved before it" in error


def test_a_full_disk_is_one_clear_error(tmp_path, python, compiled):
    code = (
        "import resource, sys; from digitjax.train.__main__ import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    # -B: of bytecode, too, no more than so much would be written, and whoever loads it next would fail.
    result = python("-B", "-c", code, *TINY_RUN, "--out", str(tmp_path), **compiled)
    assert result.returncode == 2
    error = result.stderr.decode().splitlines()
    assert "can't be written" in error[-1]
    assert not any("Traceback" in line for line in error)


def test_two_runs_into_one_folder_are_refused(tmp_path, capsys):
    with lock_folder(tmp_path):
        assert command.main([*TINY_RUN, "--overwrite", "--out", str(tmp_path)]) == 2
    assert "another process is writing into it" in capsys.readouterr().err
    assert not (tmp_path / "config.json").exists()


def test_a_damaged_state_is_told_and_the_run_ends_in_the_same_weights(tmp_path, run, caplog):
    shutil.copytree(run, tmp_path / "copy")
    (tmp_path / "copy" / "calibration.json").unlink()  # without it a run isn't complete
    newest = max((tmp_path / "copy" / "state").iterdir(), key=lambda path: int(path.name))
    path = next(path for path in (newest / "state" / "d").rglob("*") if path.is_file())
    path.write_bytes(path.read_bytes()[:-1])
    assert command.main(["--resume", "--out", str(tmp_path / "copy")]) == 0
    assert f"{path}: is damaged" in caplog.text
    assert_same_trees(weights.load_model(tmp_path / "copy").variables, weights.load_model(run).variables)


@pytest.fixture
def stopped(tmp_path, monkeypatch, capsys):
    """The folder of a run that Ctrl-C stopped in its first step, and that said how to go on."""
    real_step = train_step

    def interrupted_step(*args, **options):
        os.kill(os.getpid(), signal.SIGINT)
        return real_step(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", interrupted_step)
        assert command.main([*TINY_RUN, "--out", str(tmp_path / "stopped")]) == 130
    assert f"python -m digitjax.train --resume --out {tmp_path / 'stopped'}" in capsys.readouterr().err
    return tmp_path / "stopped"


def test_ctrl_c_keeps_the_weights(stopped):
    assert weights.load_model(stopped).config.model == "mlp"


def test_the_weights_of_a_stopped_run_say_that_they_refuse_nothing(stopped, seven, caplog, capsys):
    Image.fromarray(seven).save(stopped / "seven.png")
    assert predict_command.main(["--checkpoint", str(stopped), str(stopped / "seven.png")]) == 0
    assert "seven.png: " in capsys.readouterr().out
    (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "the training hasn't ended, and the model has no threshold, and so takes letters" in warning
    assert f"python -m digitjax.train --resume --out {stopped}" in warning


def test_an_evaluation_halfway_doesnt_pass_for_the_end(stopped, run, capsys):
    config = (stopped / "config.json").stat().st_mtime_ns
    assert evaluate.main([str(stopped)]) == 0
    assert "test accuracy" in (stopped / "report.html").read_text(encoding="utf-8")  # the page shows it
    assert command.main(["--resume", "--out", str(stopped)]) == 0
    assert "is complete" not in capsys.readouterr().out
    assert_same_trees(weights.load_model(stopped).variables, weights.load_model(run).variables)
    for name in ("report.json", "calibration.json"):
        assert (stopped / name).read_text() == (run / name).read_text()
    assert (stopped / "config.json").stat().st_mtime_ns == config  # resuming doesn't write it

    (stopped / "report.html").unlink()
    assert command.main(["--resume", "--out", str(stopped)]) == 0
    assert "is complete" in capsys.readouterr().out
    assert "test accuracy" in (stopped / "report.html").read_text(encoding="utf-8")


def test_weights_without_a_state_are_not_trained_over(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "copy", ignore=shutil.ignore_patterns("state", "calibration.json"))
    before = (tmp_path / "copy" / "weights.npz").read_bytes()
    assert command.main(["--resume", "--out", str(tmp_path / "copy")]) == 2
    assert "holds weights, but no complete state to resume from" in capsys.readouterr().err
    assert (tmp_path / "copy" / "weights.npz").read_bytes() == before


@pytest.mark.parametrize("damage", ["all states", "no hashes", "no states"])
def test_what_cant_be_resumed_is_left_as_it_is(run, tmp_path, damage, capsys):
    out = tmp_path / "copy"
    shutil.copytree(run, out)
    (out / "tensorboard").mkdir()
    (out / "tensorboard" / "events").write_text("some")
    (out / "config.json").write_text((out / "config.json").read_text() + " ")  # so it is damaged, and not complete
    for state in (out / "state").iterdir():
        if damage == "no states":
            shutil.rmtree(state)
        else:
            (state / "SHA256SUMS").unlink() if damage == "no hashes" else (state / "more").write_text("")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and "state" not in path.parts}
    assert command.main(["--resume", "--tensorboard", "--out", str(out)]) == 2
    assert "(--overwrite)" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before


def test_what_says_two_things_is_refused(run, capsys):
    assert command.main(["--resume", "--overwrite", "--out", str(run)]) == 2
    assert "leave one of them out" in capsys.readouterr().err
    assert weights.is_complete(run)


def test_a_run_with_dropout_is_resumed_with_its_options(tmp_path, monkeypatch, digits):
    options = ["--model", "cnn-dropout", "--dropout-rate", "0.5", "--dataset", "digits", "--out", str(tmp_path / "run")]
    monkeypatch.setattr(command, "fit", mock.Mock(side_effect=DigitjaxError("went on")))
    monkeypatch.setattr(command, "load_splits", lambda *_, **__: digits)
    for more in ([], ["--resume"]):
        with pytest.raises(DigitjaxError, match="went on"):
            command.main([*options, *more, "--debug"])
    with pytest.raises(DigitjaxError, match=r"was started with dropout_rate=0\.5, not 0\.25"):
        command.main(["--resume", "--out", str(tmp_path / "run"), "--dropout-rate", "0.25", "--debug"])


def test_tensorboard_has_all_epochs_of_a_run_whose_end_was_cut_off(run, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(run, out)
    (out / "calibration.json").unlink()
    lines = (out / "metrics.jsonl").read_text().splitlines(keepends=True)
    (out / "metrics.jsonl").write_text("".join(lines[:-1]))  # as a kill between a state and its line leaves it
    assert command.main(["--resume", "--out", str(out), "--tensorboard"]) == 0
    assert (out / "metrics.jsonl").read_text() == "".join(lines)
    assert [step for step, _ in read_events(out)["loss/validation"]] == [json.loads(line)["step"] for line in lines]


@pytest.mark.parametrize("model", get_args(ModelName))
def test_dropout_is_refused_where_there_is_none(model, monkeypatch, capsys):
    monkeypatch.setattr(command, "_choose_run", mock.Mock(side_effect=DigitjaxError("went on")))
    assert command.main(["--model", model, "--dropout-rate", "0.5"]) == 2
    error = capsys.readouterr().err
    assert ("went on" in error) == (model in ("vgg", "cnn-dropout"))  # as the README's table says
    assert ("--dropout-rate 0.5 changes nothing" in error) == (model not in ("vgg", "cnn-dropout"))


def test_presets_are_whole_recipes_that_options_change(tmp_path, monkeypatch):
    configs = []
    monkeypatch.setattr(command, "train", lambda args: configs.append(args.config) or 0)
    assert (
        command.main(["--preset", "best"]) == command.main(["--preset=best", "--epochs", "3"]) == command.main([]) == 0
    )
    assert command.main(["--preset", "quick"]) == 0
    assert configs == [PRESETS["best"], replace(PRESETS["best"], epochs=3), PRESETS["default"], PRESETS["quick"]]
    with pytest.raises(SystemExit, match="2"):
        command.main(["--preset", "worst"])


# ---------------------------------------------------------------- other hands


def test_a_run_shows_other_hands_and_refuses_by_those_it_held_out(tmp_path, digits):
    write_semeion(tmp_path)
    extra = ["--extra-datasets", "semeion", "--extra-dir", str(tmp_path), "--data-dir", str(tmp_path / "tfds")]
    arguments = [*TINY_RUN, "--epochs", "1", "--negative-share", "0.3", "--redrawn-share", "0.3", *extra]
    for seed in ("0", "1"):
        assert command.main([*arguments, "--seed", seed, "--out", str(tmp_path / seed)]) == 0
        trained = weights.load_model(tmp_path / seed)
        assert trained.config.extra_datasets == ("semeion",)
        _, held_out = load_extra(["semeion"], tmp_path / "tfds", fold=int(seed))
        images, labels = draw_plain(held_out)
        assert len(labels) == 200
        answers = looks.answer(trained, images)
        scores = answers.is_digit_scores[answers.probs.argmax(axis=1) == labels]
        assert np.mean(scores < trained.calibration.threshold) == pytest.approx(
            calibrate.REFUSED_SHARE, abs=1 / len(scores)
        )
    # The prepared copy is enough to go on with a run.
    assert command.main(["--resume", "--out", str(tmp_path / "1"), "--data-dir", str(tmp_path / "tfds")]) == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--preset", "quick", "--dataset", "digits"], "--extra-datasets change nothing"),
        (["--dataset", "digits"], r"semeion can't be downloaded.*--extra-dir"),
        (["--dataset", "fashion_mnist"], "need the ten digits as classes"),
    ],
)
def test_other_hands_that_cant_be_shown_are_refused(arguments, reason, tmp_path, capsys, monkeypatch, digits):
    fashion = digits._replace(name="fashion_mnist", class_names=("Coat", "Bag"))
    if "fashion_mnist" in arguments:
        monkeypatch.setattr(command, "load_splits", lambda *_, **__: fashion)
    places = ["--data-dir", str(tmp_path), "--out", str(tmp_path / "run")]
    assert command.main([*arguments, "--extra-datasets", "semeion", *places]) == 2
    assert re.search(reason, capsys.readouterr().err)
    assert not (tmp_path / "run").exists()
