import shutil
import signal

import jax
import numpy as np
import pytest

from digitjax.config import TrainConfig
from digitjax.runs.files import CheckpointError
from digitjax.runs.folder import lock_folder
from digitjax.runs.states import RunCheckpoints
from digitjax.train.state import create_state

CONFIG = TrainConfig(dataset="digits", model="mlp", epochs=1)


def test_states_come_back_with_their_history(tmp_path):
    state = create_state(CONFIG, 10)
    with RunCheckpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step() is None
        for step, loss in ((10, 0.5), (20, 0.1), (30, 0.3), (40, 0.2)):
            history = [{"epoch": step, "validation_loss": loss}]
            checkpoints.save(step, state._replace(step=np.int32(step)), history, validation_loss=loss)
        checkpoints.save(45, state._replace(step=np.int32(45)), [])  # as after an interruption
    with RunCheckpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step() == 45
        restored, history, _ = checkpoints.restore(state)
        assert int(restored.step) == 45
        assert history == []
        best, history, _ = checkpoints.restore(state, 20)  # not among the last two, but the best
        assert int(best.step) == 20
        assert history == [{"epoch": 20, "validation_loss": 0.1}]
        jax.tree.map(np.testing.assert_array_equal, best.opt_state, jax.device_get(state.opt_state))
        with pytest.raises(CheckpointError, match="/10/SHA256SUMS: can't be read"):
            checkpoints.restore(state, 10)


def test_a_state_of_another_network_is_refused(tmp_path):
    with RunCheckpoints(tmp_path) as checkpoints:
        checkpoints.save(1, create_state(CONFIG, 10), [])
    other = create_state(TrainConfig(dataset="digits", model="cnn-16-8"), 10)
    with RunCheckpoints(tmp_path) as checkpoints, pytest.raises(CheckpointError, match="/1: "):
        checkpoints.restore(other)


def test_nothing_to_resume_from(tmp_path):
    with (
        RunCheckpoints(tmp_path) as checkpoints,
        pytest.raises(CheckpointError, match="holds no state to resume from"),
    ):
        checkpoints.restore(create_state(CONFIG, 10))


def list_files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_damage_to_any_file_of_a_state_falls_back_to_the_one_before(tmp_path, caplog):
    state = create_state(CONFIG, 10)
    with RunCheckpoints(tmp_path / "run") as checkpoints:
        checkpoints.save(1, state._replace(step=np.int32(1)), [{"epoch": 1}])
        checkpoints.save(2, state._replace(step=np.int32(2)), [{"epoch": 1}, {"epoch": 2}])
    folder = tmp_path / "run" / "state"
    shutil.copytree(folder, tmp_path / "whole")
    for name in [path.relative_to(folder) for path in list_files(folder / "2")]:
        caplog.clear()
        path = folder / name
        whole = path.read_bytes()
        path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:] if whole else b"x")
        with RunCheckpoints(tmp_path / "run") as checkpoints:
            restored, history, _ = checkpoints.restore(state)
            assert (int(restored.step), history) == (1, [{"epoch": 1}])
            assert checkpoints.latest_step() == 1  # what is damaged is in nobody's way any more
        assert "going on from step 1" in caplog.text
        assert str(folder / "2") in caplog.text
        shutil.copytree(tmp_path / "whole" / "2", folder / "2")
    with RunCheckpoints(tmp_path / "run") as checkpoints:
        assert int(checkpoints.restore(state)[0].step) == 2


def test_without_a_whole_state_a_run_begins_anew(tmp_path):
    state = create_state(CONFIG, 10)
    with RunCheckpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, [])
    (tmp_path / "state" / "1" / "SHA256SUMS").write_text("")
    with RunCheckpoints(tmp_path) as checkpoints, pytest.raises(CheckpointError, match="start anew"):
        checkpoints.restore(state)


def test_a_state_that_a_kill_cut_off_is_gone_and_the_one_before_stands(tmp_path, caplog):
    state = create_state(CONFIG, 10)
    with RunCheckpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, [], seconds=2.5)
        checkpoints.save(2, state, [])
    for step, before in ((2, 1), (1, None)):
        (tmp_path / "state" / str(step) / "SHA256SUMS").unlink()  # it is written last
        with RunCheckpoints(tmp_path) as checkpoints:
            assert checkpoints.latest_step() == before
            assert not before or checkpoints.restore(state).seconds == 2.5
        assert f"state/{step} was not finished, and is left out" in caplog.text


def test_hashes_that_an_earlier_state_lacks_are_damage(tmp_path):
    """A kill can but cut off the newest."""
    state = create_state(CONFIG, 10)
    with RunCheckpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, [])
        checkpoints.save(2, state, [])
    for path in (tmp_path / "state").glob("*/SHA256SUMS"):
        path.unlink()
    with RunCheckpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step() == 1
        with pytest.raises(CheckpointError, match=r"state/1/SHA256SUMS: can't be read .*start anew"):
            checkpoints.restore(state)


# Where Orbax's storage fails, threads of its own end with errors that nobody waits for.
storage_gives_up = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@storage_gives_up
def test_on_a_full_disk_earlier_states_stay(tmp_path, full_disk):
    state = create_state(CONFIG, 10)
    with RunCheckpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, [{"epoch": 1}])
        with full_disk(), pytest.raises(CheckpointError, match=r"state/2: can't be written: .*too large"):
            checkpoints.save(2, state, [{"epoch": 2}])
    with RunCheckpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(state)[1] == [{"epoch": 1}]
        checkpoints.save(2, state, [{"epoch": 2}])  # there is room again
        assert checkpoints.restore(state)[1] == [{"epoch": 2}]


LOCK = """
import os, pathlib, signal, sys
from digitjax.runs.folder import lock_folder
with lock_folder(pathlib.Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_is_locked_until_its_process_ends(tmp_path, python):
    with lock_folder(tmp_path):
        refused = python("-c", LOCK, str(tmp_path))
        assert b"another process is writing into it" in refused.stderr
    assert python("-c", LOCK, str(tmp_path)).returncode == -signal.SIGKILL
    with lock_folder(tmp_path):
        pass
