"""A kill just before or just after any write of a run loses nothing."""

import json
import shutil

import pytest
from conftest import assert_same_trees, read_events

from digitjax.runs import weights
from digitjax.runs.history import read_history
from digitjax.train import __main__ as command

SHORT_RUN = ["--dataset", "digits", "--model", "mlp", "--epochs", "2", "--batch-size", "64"]

# Trains once for each moment, in a process of its own that is killed there: just before or just after a file or folder
# of the run, Orbax's among them, gets its name. Arguments: those of the command; the moments; where the runs go; a run
# to begin with, or "". Prints how many names each process gave, and how it ended.
KILL = """
import json, os, shutil, signal, sys
from digitjax import evaluate
from digitjax.train import __main__ as command
from digitjax.report import page, plots
from digitjax.train import calibrate
evaluate.NUM_NEGATIVES = 10
arguments, moments, folder, begun = json.loads(sys.argv[1])

def train(moment, out):
    calls = 0
    def watch(function):
        def watched(*args, **options):
            nonlocal calls
            calls += 1
            if moment == 2 * calls - 2:
                os.kill(os.getpid(), signal.SIGKILL)
            function(*args, **options)
            if moment == 2 * calls - 1:
                os.kill(os.getpid(), signal.SIGKILL)
        return watched
    os.replace, os.rename = watch(os.replace), watch(os.rename)
    status = command.main([*arguments, "--out", out])
    print("calls", calls, flush=True)
    os._exit(status)

for moment in moments:
    if begun:
        shutil.copytree(begun, f"{folder}/{moment}")
    if not (child := os.fork()):
        train(moment, f"{folder}/{moment}")
    print(moment, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def kill(python, compiled):
    """Trains to each moment and is killed there."""

    def kill_at(moments, num_calls, arguments, folder, begun=""):
        never = 1000
        values = json.dumps([arguments, [*moments, never], str(folder), str(begun)])
        result = python("-c", KILL, values, **compiled)
        lines = result.stdout.decode().split("\n")
        assert f"calls {num_calls}" in lines, result.stderr.decode()  # so the moments are all there are
        assert [line for line in lines if line.endswith(" -9")] == [f"{moment} -9" for moment in moments]
        shutil.rmtree(folder / str(never))

    return kill_at


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The short run, not killed."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert command.main([*SHORT_RUN, "--out", str(out)]) == 0
    return out


def assert_ends_as(whole, out, arguments):
    """The command's run ends in the same weights, and leaves the same files."""
    assert command.main([*arguments, "--out", str(out)]) == 0
    assert_same_trees(weights.load_model(out).variables, weights.load_model(whole).variables)
    for folder in ("", "state"):
        names = ({path.name for path in (place / folder).iterdir()} for place in (out, whole))
        assert next(names) - {"tensorboard"} == next(names)
    assert len(read_history(out)) == 2
    assert weights.is_complete(out)


# After the first state before its hashes, after the weights before theirs, after the calibration before its hash.
WORST = [9, 26, 37]


# In a few processes, as a slow machine needs some minutes for them all.
@pytest.mark.parametrize(
    "moments", [WORST, *(pytest.param(range(start, start + 14), marks=pytest.mark.slow) for start in (0, 14, 28))]
)
def test_a_kill_at_any_write_changes_no_bit(tmp_path, kill, whole, moments):
    kill(moments, 21, SHORT_RUN, tmp_path)
    for moment in moments:
        arguments = ["--resume"] if moment else SHORT_RUN  # before its config is there, a run can but start
        assert_ends_as(whole, tmp_path / str(moment), arguments)


@pytest.mark.slow
def test_a_kill_at_any_write_of_a_resumed_run_changes_no_bit(tmp_path, kill, whole):
    """Of one that was killed in its second epoch, and then evaluated."""
    kill([13], 21, SHORT_RUN, tmp_path)
    assert command.main(["--resume", "--out", str(tmp_path / "13")]) == 0
    # Back to the first epoch, but with the weights and the reports that an evaluation would have left.
    shutil.rmtree(max((tmp_path / "13" / "state").iterdir(), key=lambda path: int(path.name)))
    (tmp_path / "13" / "calibration.json").unlink()
    weights.seal_model(tmp_path / "13")
    moments = list(range(30))
    kill(moments, 15, ["--resume", "--tensorboard"], tmp_path / "resumed", tmp_path / "13")
    for moment in moments:
        assert_ends_as(whole, tmp_path / "resumed" / str(moment), ["--resume", "--tensorboard"])
        events = read_events(tmp_path / "resumed" / str(moment))
        assert [step for step, _ in events["loss/validation"]] == [23, 46]
