"""Runs that are killed at any moment end in the very same weights."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import TINY_RUN, assert_same_trees

from digitjax.runs import weights
from digitjax.train import __main__ as command


def test_a_killed_run_goes_on_bit_for_bit(tmp_path, run, compiled):
    arguments = [sys.executable, "-m", "digitjax.train", *TINY_RUN, "--out", str(tmp_path / "killed")]
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(arguments, **pipes, env={**os.environ, **compiled}) as process:
        lines = list(itertools.islice(process.stderr, 2))  # reading waits for the second epoch
        process.kill()
    # Where there is no terminal, each epoch is a line, and nothing else is shown.
    assert [line[: len("epoch   1/6  ")] for line in lines] == ["epoch   1/6  ", "epoch   2/6  "]
    assert process.returncode == -signal.SIGKILL
    assert not weights.is_complete(tmp_path / "killed")
    assert command.main(["--resume", "--out", str(tmp_path / "killed")]) == 0
    assert_same_trees(weights.load_model(tmp_path / "killed").variables, weights.load_model(run).variables)


def kill_at_random(rng, out, num_kills, num_epochs):
    """Trains in processes that are killed in or after one of their first epochs, and then to the end."""
    arguments = [sys.executable, "-m", "digitjax.train", *TINY_RUN, "--epochs", str(num_epochs), "--out", str(out)]
    for _ in range(num_kills):
        with subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
            epochs_left = rng.integers(1, 3)
            for line in process.stderr:
                epochs_left -= line.startswith("epoch")
                if not epochs_left:
                    break
            # An epoch takes about as long as writing its state does, so half of the kills strike there.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0, 0.5))
            process.kill()
            process.stderr.read()
        assert process.returncode == -signal.SIGKILL
        if "--resume" not in arguments:
            arguments.append("--resume")
    assert subprocess.run(arguments, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("num_kills", [2, 20])
def test_kills_at_random_moments_change_no_bit(tmp_path, num_kills):
    num_epochs = 5 * num_kills
    kill_at_random(np.random.default_rng(num_kills), tmp_path / "killed", num_kills, num_epochs)
    assert command.main([*TINY_RUN, "--epochs", str(num_epochs), "--out", str(tmp_path / "whole")]) == 0
    assert_same_trees(
        weights.load_model(tmp_path / "killed").variables, weights.load_model(tmp_path / "whole").variables
    )
