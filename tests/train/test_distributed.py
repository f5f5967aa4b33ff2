import socket
import subprocess
import sys

import numpy as np
import pytest

from digitjax.data import arrays
from digitjax.runs.history import read_history
from digitjax.runs.weights import is_complete
from digitjax.train import __main__ as command

# Smaller blocks than in earnest, so that each process has some.
COMMAND = """
import sys
from digitjax.data import arrays
from digitjax.train.__main__ import main
arrays.BLOCK = 300
raise SystemExit(main(sys.argv[1:]))
"""
ARGUMENTS = ["--dataset", "digits", "--model", "cnn-16-8", "--batch-size", "256", "--epochs", "4"]


def start_two(out, *arguments, code=COMMAND):
    """Starts two processes that train together; returns both."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    group = ["--distributed", "--coordinator", coordinator, "--num-processes", "2", "--out", str(out), *arguments]
    return [
        subprocess.Popen(
            [sys.executable, "-c", code, *ARGUMENTS, *group, f"--process-id={i}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]


@pytest.mark.slow
def test_two_processes_go_on_after_one_was_killed_and_end_as_one_does(monkeypatch, tmp_path):
    first, second = start_two(tmp_path / "two")
    seen = []
    for line in first.stderr:
        seen.append(line)
        if "epoch   1/4" in line:
            break
    else:
        pytest.fail("".join(seen))
    second.kill()
    second.communicate()
    _, errors = first.communicate()
    assert first.returncode == 2
    assert "another process was lost" in errors
    assert "Traceback" not in errors
    assert not is_complete(tmp_path / "two")

    outputs = [process.communicate() for process in start_two(tmp_path / "two", "--resume")]
    assert "report.html shows all of it" in outputs[0][0], outputs[0][1]
    assert "report" not in outputs[1][0]  # one of them speaks for both

    monkeypatch.setattr(arrays, "BLOCK", 300)
    assert command.main([*ARGUMENTS, "--out", str(tmp_path / "one")]) == 0
    two, one = (read_history(tmp_path / name) for name in ("two", "one"))
    assert len(two) == len(one) == 4
    # Rounding errors grow from step to step: by themselves the two would end a thousandth apart.
    for name in ("loss", "validation_loss", "accuracy", "validation_accuracy"):
        np.testing.assert_allclose([record[name] for record in two], [record[name] for record in one], rtol=1e-2)


def test_what_is_missing_to_find_the_others_is_told(capsys):
    assert command.main(["--dataset", "digits", "--distributed"]) == 2
    assert "--coordinator HOST:PORT --num-processes N --process-id I" in capsys.readouterr().err


# A bug in the fifth step of the second process.
BUG = """
from digitjax.train import loop
real, steps = loop.train_step, []
def step(*args, **options):
    steps.append(1)
    if len(steps) == 5 and "--process-id=1" in sys.argv:
        raise ValueError("a bug")
    return real(*args, **options)
loop.train_step = step
"""


@pytest.mark.slow
def test_a_bug_in_one_process_ends_all_of_them(tmp_path):
    """And is told where it is; nobody waits for ever."""
    first, second = start_two(tmp_path, code=COMMAND.replace("arrays.BLOCK = 300\n", "arrays.BLOCK = 300\n" + BUG))
    (_, told), (_, traceback) = first.communicate(timeout=240), second.communicate(timeout=240)
    assert (first.returncode, second.returncode) == (2, 1)
    assert "another process was lost" in told
    assert "ValueError: a bug" in traceback
    assert "another process" not in traceback
