import json

import accuracy
import numpy as np
import pytest

from digitjax.config import PRESETS, TrainConfig
from digitjax.data.arrays import Character
from digitjax.nn import layers
from digitjax.nn.answers import Answers
from digitjax.nn.inference import Calibration, TrainedModel


@pytest.mark.parametrize("on_cpu", [True, False])
def test_multiply_adds_are_those_of_the_layers(on_cpu, monkeypatch):
    monkeypatch.setattr(layers, "on_cpu", lambda: on_cpu)
    # Pixels that come out, times the kernel's size, channels in and channels out; then the dense layers.
    expected = {
        "mlp": 784 * 128 + 128 * 128 + 128 * 10,
        # Of the second convolution's 11x11 pixels pooling takes 10x10.
        "cnn-32-64-64": 26**2 * 9 * 32 + 10**2 * 9 * 32 * 64 + 3**2 * 9 * 64 * 64 + 576 * 64 + 640,
        "vgg": 24**2 * (25 * 32 + 9 * 32 * 32) + 12**2 * 9 * 64 * (32 + 64) + 6**2 * 9 * 144 * (64 + 2 * 144) + 12960,
    }
    for name, count in expected.items():
        assert accuracy.count_multiply_adds(TrainConfig(model=name)) == count


def test_seeds_that_are_measured_arent_trained_again(digits, monkeypatch, tmp_path):
    trained = []
    monkeypatch.setattr(accuracy, "train_seed", lambda preset, config, run, sources: trained.append(config.seed))
    monkeypatch.setattr(accuracy, "measure", lambda run, test: {"accuracy": 0.99 + 0.001 * trained[-1]})
    monkeypatch.setattr(accuracy, "load_splits", lambda *_: digits)
    out = tmp_path / "accuracy.json"

    def run(*seeds):
        monkeypatch.setattr("sys.argv", ["accuracy.py", "--out", str(out), "--seeds", *map(str, seeds)])
        accuracy.main()
        return json.loads(out.read_text())

    assert run(0, 1)["mean"]["accuracy"] == pytest.approx(0.9905)
    results = run(0, 1, 4)
    assert trained == [0, 1, 4]
    assert results["standard_deviation"]["accuracy"] == pytest.approx(np.std([0.99, 0.991, 0.994], ddof=1))
    assert results["parameters"] == 535_722
    assert results["recipe"]["model"] == "vgg"
    monkeypatch.setitem(accuracy.PRESETS, "best", PRESETS["default"])
    assert run(2)["num_seeds"] == 1  # of another recipe than the file's, which is worth nothing now
    assert trained == [0, 1, 4, 2]


def test_hands_that_a_run_held_out_are_counted(monkeypatch):
    """Of four digits one is refused and one is misread; of three letters one is accepted."""
    stroke = (np.array([[0, 0], [5, 9]], np.float32),)
    held_out = [Character(text, stroke, "unipen") for text in "0123XYW"]
    monkeypatch.setattr(accuracy, "load_extra", lambda names, *, fold: ([], held_out if fold == 3 else []))

    def answer(trained, images):
        logits = np.eye(10, dtype=np.float32)[[0, 1, 2, 8, 0, 0, 0]]  # digits come first
        return Answers(logits, None, np.float32([0.9, 0.2, 0.8, 0.7, 0.1, 0.6, 0.3]))

    monkeypatch.setattr(accuracy.looks, "answer", answer)
    trained = TrainedModel(
        TrainConfig(extra_datasets=("unipen",), seed=8),
        network=None,
        variables={},
        apply=None,
        calibration=Calibration(1.0, 0.5),
    )
    figures = accuracy.measure_hands(trained)
    assert figures["unipen_right"] == 3 / 4
    assert figures["unipen_right_and_accepted"] == 2 / 4
    assert figures["unipen_others_refused"] == pytest.approx(2 / 3)
    assert figures["hands_auroc"] == pytest.approx(10 / 12)  # two letters score above the digit that is refused
