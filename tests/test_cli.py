import json
import subprocess
import sys

import pytest

import digitjax
import digitjax.predict

# What each can't do without.
COMMANDS = {
    "train": [], "evaluate": [], "predict": [], "data": [],
    "export": ["--format", "onnx"], "report": ["run"], "batch": ["in", "out"],
}  # fmt: skip


# Runs each command as `python -m digitjax.COMMAND` does, one after the other: for each a process would load JAX anew.
RUN_ALL = """
import contextlib, io, json, runpy, sys
answers = {}
for command, needed in json.loads(sys.argv[1]).items():
    for arguments in (["--help"], [*needed, "--no-such-option"]):
        sys.argv, out, errors = ["", *arguments], io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            try:
                runpy.run_module(f"digitjax.{command}", run_name="__main__", alter_sys=True)
            except SystemExit as end:
                answers[f"{command} {arguments[-1]}"] = end.code, out.getvalue(), errors.getvalue()
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(python):
    """Status, output and errors of each command, when asked for help and when given an option that it doesn't know."""
    result = python("-W", "ignore", "-c", RUN_ALL, json.dumps(COMMANDS))
    assert result.returncode == 0, result.stderr.decode()
    return json.loads(result.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command, answers):
    status, printed, _ = answers[f"{command} --help"]
    assert status == 0
    assert f"python -m digitjax.{command}" in printed


@pytest.mark.parametrize("command", COMMANDS)
def test_unknown_options_are_wrong_use(command, answers):
    status, _, errors = answers[f"{command} --no-such-option"]
    assert status == 2
    assert "no-such-option" in errors
    assert "Traceback" not in errors


def test_values_out_of_range_are_wrong_use(python):
    result = python("-m", "digitjax.train", "--epochs", "0")
    assert result.returncode == 2
    assert result.stderr.decode().strip() == "digitjax.train: error: epochs must be at least 1, found 0"


def test_the_fallback_is_announced(python, tmp_path):
    code = (
        "import sys; from digitjax.data.__main__ import main; from digitjax.data.published import Mnist; "
        "Mnist.URL = 'http://127.0.0.1:1/'; "
        f"sys.exit(main(['--data-dir', {str(tmp_path)!r}, '--out', {str(tmp_path / 'samples.png')!r}]))"
    )
    result = python("-c", code, DIGITJAX_IDX_DIR="")
    assert result.returncode == 0
    warning = result.stderr.decode().strip()
    assert warning.startswith("digitjax.data: mnist is neither prepared")
    assert warning.count("\n") == 1, "one warning of two lines, and nothing of the libraries'"
    assert "digits: 1,797 images" in result.stdout.decode()


def test_the_package_alone_is_light_and_loads_the_rest_when_asked(python):
    code = "import sys, digitjax; print('jax' in sys.modules); digitjax.Recognizer; print('jax' in sys.modules)"
    result = python("-c", code)
    assert result.stdout.decode().split() == ["False", "True"], result.stderr.decode()


def test_evaluating_own_pictures_needs_no_data_sets(python):
    result = python("-c", "import sys, digitjax.evaluate; print('tensorflow_datasets' in sys.modules)")
    assert result.stdout.decode().strip() == "False", result.stderr.decode()


@pytest.mark.parametrize("name", sorted(set(digitjax.__all__) - {"__version__"}))
def test_what_people_import_is_there(name):
    assert getattr(digitjax, name) is getattr(digitjax.predict, name)
    assert name in dir(digitjax)


def test_other_names_are_no_part_of_the_package():
    with pytest.raises(AttributeError, match="has no attribute 'predict_digits'"):
        _ = digitjax.predict_digits


def test_training_loads_no_tensorflow(python):
    result = python("-c", "import sys, digitjax.train.__main__, digitjax.evaluate; print('tensorflow' in sys.modules)")
    assert result.stdout.decode().strip() == "False", result.stderr.decode()


# A ring of objects is what only the garbage collector finds.
LEAVE = """
import sys
from digitjax import cli
class Ring:
    def __init__(self):
        self.ring = self
    def __del__(self):
        print("collected", flush=True)
Ring()
if sys.argv[1] == "leave":
    cli.leave(3)
raise SystemExit(3)
"""


@pytest.mark.parametrize(("how", "output"), [("leave", ""), ("usual", "collected\n")])
def test_a_command_ends_without_collecting_garbage(how, output):
    result = subprocess.run([sys.executable, "-c", LEAVE, how], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (3, output, "")
