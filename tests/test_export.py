import dataclasses
import re
import shutil
import sys

import numpy as np
import pytest
from conftest import REPOSITORY

from digitjax import export
from digitjax.nn.inference import compute_logits
from digitjax.runs import weights

RUNTIMES = {"onnx": export.run_onnx, "stablehlo": export.run_stablehlo}
FORMATS = tuple(RUNTIMES)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The weights that ship, written in each format, by its name."""
    folder = tmp_path_factory.mktemp("exported")
    for name in FORMATS:
        assert export.main(["--format", name, "--out", str(folder / f"digitjax.{name}")]) == 0
    return {name: folder / f"digitjax.{name}" for name in FORMATS}


@pytest.fixture
def canonical(seven, recognizer):
    """What the network sees of the drawn 7, and of the same in a negative."""
    return np.stack([recognizer.predict_digit(picture).canonical[..., None] for picture in (seven, 255 - seven)])


@pytest.mark.parametrize("n", [2_000, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FORMATS)
def test_test_digits_are_read_as_here(mnist, recognizer, exported, name, n):
    content, run, images = exported[name].read_bytes(), RUNTIMES[name], mnist.test.images[:n]
    outputs = run(content, images)
    logits = compute_logits(recognizer.trained.apply, images)
    assert (outputs[0].argmax(-1) == logits.argmax(-1)).all()
    assert np.abs(outputs[0] - logits).max() <= 1e-4
    # The same probabilities as the recognizer gives at its first look.
    predictions = dataclasses.replace(recognizer, tta=False).predict_digits(list(mnist.test.images[:50, ..., 0]))
    canonical = np.stack([prediction.canonical for prediction in predictions])[..., None]
    _, probs, scores = run(content, canonical)
    np.testing.assert_allclose(probs, [prediction.probabilities for prediction in predictions], atol=1e-5)
    np.testing.assert_allclose(scores, [prediction.is_digit_score for prediction in predictions], atol=1e-5)


@pytest.mark.parametrize("name", FORMATS)
def test_any_number_of_images(recognizer, exported, name, digits):
    content = exported[name].read_bytes()
    for n in (1, 2, 7):
        outputs = RUNTIMES[name](content, digits.test.images[:n])
        assert [output.shape for output in outputs] == [(n, 10), (n, 10), (n,)]
        export.check(recognizer.trained, outputs, digits.test.images[:n])


def test_another_model_is_noticed(run, digits):
    trained = weights.load_model(run)
    images = digits.test.images[:20]
    outputs = export.run_stablehlo(export.export_stablehlo(trained), images)
    other = trained._replace(calibration=trained.calibration._replace(temperature=2.0))
    with pytest.raises(export.ExportError, match="computes something else"):
        export.check(other, outputs, images)
    with pytest.raises(export.ExportError, match="computes something else"):
        export.check(trained, [outputs[0] * np.nan, *outputs[1:]], images)


def test_the_onnx_model_is_standard_and_holds_what_is_needed(recognizer, exported):
    import onnx

    onnx.checker.check_model(exported["onnx"], full_check=True)
    model, trained = onnx.load(exported["onnx"]), recognizer.trained
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert float(properties["threshold"]) == trained.calibration.threshold
    assert float(properties["temperature"]) == trained.calibration.temperature
    assert type(trained.config).from_json(properties["config"]) == trained.config
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}


def test_missing_packages_are_named(run, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    assert export.main(["--format", "onnx", "--checkpoint", str(run), "--out", str(tmp_path / "x")]) == 2
    assert "pip install 'digitjax[onnx]'" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def read_examples():
    """The Python examples of exported models in docs/runtimes.md, by format."""
    blocks = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs/runtimes.md").read_text(), re.DOTALL)
    return {name: next(block for block in blocks if f"digitjax.{name}" in block) for name in FORMATS}


@pytest.mark.parametrize("name", FORMATS)
def test_the_example_needs_nothing_of_ours(python, canonical, exported, name, tmp_path):
    shutil.copy(exported[name], tmp_path)
    np.save(tmp_path / "images.npy", canonical)
    program = f"""
import os, sys
os.chdir({str(tmp_path)!r})
for package in ("flax", "orbax", "digitjax"):
    sys.modules[package] = None
{read_examples()[name]}
print(probs.argmax(-1).tolist(), [bool(score > 0.5) for score in is_digit_scores])
"""
    done = python("-c", program)
    assert done.stdout.decode().split("\n")[-2] == "[7, 7] [True, True]", done.stderr.decode()
