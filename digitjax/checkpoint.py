"""Keeps training runs and trained models with Orbax, their config beside them.

A run's folder holds `config.json`, `state/` (the whole training state of the last epochs, to resume from) and, once
trained, `weights/` and `calibration.json` (what prediction needs). Hashes stand beside both, so what was damaged is
named and not loaded; nothing in them is code or is unpickled. Arrays are saved from the host, so that any number of
devices restores them.
"""

import contextlib
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import linen as nn

from digitjax import hashes, sharding
from digitjax.config import ConfigError, DigitjaxError, TrainConfig
from digitjax.history import METRICS_NAME, TENSORBOARD_NAME, Record
from digitjax.model import Variables, create_model, init_variables

logger = logging.getLogger(__name__)

CONFIG_NAME, WEIGHTS_NAME, STATE_NAME = "config.json", "weights", "state"
CALIBRATION_NAME = "calibration.json"
MODEL_NAMES = (CONFIG_NAME, WEIGHTS_NAME, CALIBRATION_NAME)
RESULT_NAMES = (
    CALIBRATION_NAME,
    hashes.SUMS_NAME,
    METRICS_NAME,
    "report.json",
    "report.html",
    "history.png",
    "confusion_matrix.png",
    "mistakes.png",
)


class CheckpointError(DigitjaxError):
    """A checkpoint that can't be read or doesn't fit."""


class Calibration(NamedTuple):
    """What is fitted after training, see `digitjax.calibrate`; as it stands here it changes nothing."""

    temperature: float = 1.0  # logits are divided by it before they become probabilities
    threshold: float = 0.0  # a picture whose `is_digit_score` is below it holds no digit


class TrainedModel(NamedTuple):
    """A network with its weights and the config that they were trained by."""

    config: TrainConfig
    network: nn.Module
    variables: Variables
    calibration: Calibration = Calibration()


def default_checkpoint() -> Path:
    """Returns the folder of the weights that ship: inside an installed package, or at the top of a source tree."""
    package = Path(__file__).parent
    installed = package / "checkpoints" / "default"
    return installed if installed.is_dir() else package.parent / "checkpoints" / "default"


# ---------------------------------------------------------------- finished models


def save_config(folder: Path, config: TrainConfig) -> None:
    """Writes `config.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_NAME).write_text(config.to_json())


def load_config(folder: Path) -> TrainConfig:
    """Reads `config.json`.

    Raises:
      CheckpointError: It is missing or not a config; the message names the file and the field.
    """
    path = folder / CONFIG_NAME
    try:
        return TrainConfig.from_json(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise CheckpointError(f"{path}: can't be read ({reason}); is {folder} a training run's folder?") from None
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None


def save_calibration(folder: Path, calibration: Calibration) -> None:
    """Writes `calibration.json`."""
    (folder / CALIBRATION_NAME).write_text(json.dumps(calibration._asdict(), indent=2) + "\n")
    seal_model(folder)


def _load_calibration(folder: Path) -> Calibration:
    path = folder / CALIBRATION_NAME
    if not path.exists():  # the run was interrupted, or is going on
        return Calibration()
    try:
        calibration = Calibration(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: can't be read: {error}") from None
    if not all(isinstance(value, float) for value in calibration) or not calibration.temperature > 0:
        raise CheckpointError(f"{path}: temperature must be above 0 and threshold a number, found {calibration}")
    return calibration


def save_weights(folder: Path, variables: Variables) -> None:
    """Writes the weights into a run's folder, in place of earlier ones.

    Raises:
      CheckpointError: They can't be written, as on a full disk; earlier ones are still there.
    """
    path, fresh = folder.absolute() / WEIGHTS_NAME, folder.absolute() / f"{WEIGHTS_NAME}.new"
    try:
        with _checkpointer() as checkpointer:
            checkpointer.save(fresh, jax.device_get(variables), force=True)
    except Exception as error:
        for part in folder.glob(f"{fresh.name}*"):
            shutil.rmtree(part, ignore_errors=True)
        raise CheckpointError(f"{path}: can't be written: {_explain(error)}") from error
    # Orbax needs it on object stores alone, and writes the absolute path into it, which is nobody's business.
    (fresh / "commit_success.txt").unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)
    fresh.rename(path)
    seal_model(folder)


def _checkpointer() -> ocp.StandardCheckpointer:
    """Returns one that waits for no other process: a model is saved and loaded by each alone."""
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process{me}"
    )
    return ocp.StandardCheckpointer(multiprocessing_options=alone)


def seal_model(folder: Path) -> None:
    """Writes the hashes of a model's files; call it again after you changed one of them by hand."""
    hashes.write_sums(folder, MODEL_NAMES)


def _explain(error: Exception) -> str:
    """Returns what is to be told of an error that Orbax raised: it adds a page about its inside."""
    return str(error).strip().split("\n", maxsplit=1)[0] or type(error).__name__


def check_model(folder: Path) -> TrainConfig:
    """Returns the config of a trained model whose files are all there and as they were written.

    Raises:
      CheckpointError: Something is missing or damaged; the message names it.
    """
    config = load_config(folder)
    if not (folder / WEIGHTS_NAME).is_dir():
        raise CheckpointError(
            f"{folder}: has no finished weights; go on with: python -m digitjax.train --resume --out {folder}"
        )
    if damage := hashes.find_damage(folder, MODEL_NAMES):
        raise CheckpointError(damage)
    return config


def load_model(folder: Path) -> TrainedModel:
    """Reads the trained model from a run's folder.

    Raises:
      CheckpointError: Something is missing, damaged or of another shape than the config says; the message names it.
    """
    config = check_model(folder)
    path = folder.absolute() / WEIGHTS_NAME
    network = create_model(config)
    expected = jax.eval_shape(lambda: init_variables(network, jax.random.key(0)))
    try:
        with _checkpointer() as checkpointer:
            variables = checkpointer.restore(path)
    except Exception as error:
        raise CheckpointError(f"{path}: can't be restored: {_explain(error)}") from error
    if misfit := _find_misfit(expected, variables):
        raise CheckpointError(f"{path}: doesn't fit model {config.model!r}: {misfit}")
    # On the device once and for all: a network is asked again and again.
    return TrainedModel(
        config, network, sharding.replicate(variables, sharding.local_mesh()), _load_calibration(folder)
    )


def _find_misfit(expected: Any, found: Any) -> str | None:
    """Says where two trees of arrays differ in names, shapes or types; Orbax itself doesn't look at shapes."""
    wanted, have = (
        {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in jax.tree.leaves_with_path(tree)}
        for tree in (expected, found)
    )
    if names := sorted(wanted.keys() ^ have.keys()):
        return f"{names[0]} is {'missing' if names[0] in wanted else 'not part of it'}"
    for name, leaf in wanted.items():
        if (leaf.shape, leaf.dtype) != (have[name].shape, have[name].dtype):
            return f"{name} must be {leaf.dtype}{list(leaf.shape)}, found {have[name].dtype}{list(have[name].shape)}"
    return None


# ---------------------------------------------------------------- runs


class RunCheckpoints:
    """The training states of one run, by step: the last two, and the one of the best validation loss.

    Use it as a context manager.
    """

    def __init__(self, folder: Path) -> None:
        policies = ocp.checkpoint_managers
        self._folder = folder.absolute() / STATE_NAME
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policies.AnyPreservationPolicy(
                    [
                        policies.LatestN(2),
                        policies.BestN(
                            get_metric_fn=lambda metrics: metrics["validation_loss"],
                            reverse=True,  # the lowest comes last, where BestN looks
                            n=1,
                            keep_checkpoints_without_metrics=False,
                        ),
                    ]
                ),
            ),
        )

    def __enter__(self) -> "RunCheckpoints":
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes Orbax's manager."""
        self._manager.close()

    def latest_step(self) -> int | None:
        """Returns the step of the newest state, None where there is none."""
        return self._manager.latest_step()

    def save(self, step: int, state: Any, history: list[Record], validation_loss: float | None = None) -> None:
        """Saves a state with the records of the epochs before it.

        Args:
          step: Optimiser steps done.
          state: The `TrainState`.
          history: One record an epoch.
          validation_loss: Of this state, where it was measured.

        Raises:
          CheckpointError: It can't be written, as on a full disk; the states before it are still there.
        """
        try:
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(jax.device_get(state) if jax.process_count() == 1 else state),
                    history=ocp.args.JsonSave({"epochs": history}),
                ),
                metrics=None if validation_loss is None else {"validation_loss": validation_loss},
                force=True,
            )
            self._manager.wait_until_finished()
            if sharding.is_first_process():
                hashes.write_sums(self._folder / str(step))
            sharding.wait_for_all(f"saved {step}")
        except Exception as error:
            raise CheckpointError(f"{self._folder / str(step)}: can't be written: {_explain(error)}") from error

    def restore(self, template: Any, step: int | None = None) -> tuple[Any, list[Record]]:
        """Returns the state (as NumPy arrays in `template`'s structure) and the records saved at `step`.

        None stands for the newest state that is whole; newer ones that are damaged are deleted, with a warning.

        Raises:
          CheckpointError: There is none, or it can't be restored.
        """
        if step is None:
            step = self._find_whole_step()
        elif damage := hashes.find_damage(self._folder / str(step)):
            raise CheckpointError(damage)
        arrays = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), template)
        try:
            restored = self._manager.restore(
                step, args=ocp.args.Composite(state=ocp.args.StandardRestore(arrays), history=ocp.args.JsonRestore())
            )
        except Exception as error:
            raise CheckpointError(f"{self._folder / str(step)}: can't be restored: {_explain(error)}") from error
        if misfit := _find_misfit(template, restored["state"]):
            raise CheckpointError(f"{self._folder / str(step)}: doesn't fit this run: {misfit}")
        return restored["state"], restored["history"]["epochs"]

    def _find_whole_step(self) -> int:
        """Returns the newest step whose files are as they were written, and deletes the newer ones."""
        damages = dict[int, str]()
        for step in sorted(self._manager.all_steps(), reverse=True):
            if not (damage := hashes.find_damage(self._folder / str(step))):
                for damaged, reason in damages.items():
                    logger.warning("%s; going on from step %d", reason, step)
                    self._manager.delete(damaged)
                return step
            damages[step] = damage
        if damages:
            newest = next(iter(damages.values()))
            raise CheckpointError(f"{newest}; no earlier state is whole, so start anew (--overwrite)")
        raise CheckpointError(f"{self._folder}: holds no state to resume from")


@contextlib.contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Keeps other processes from training into a folder; the lock ends with the process, however that ends.

    Raises:
      CheckpointError: Another process trains into it.
    """
    from filelock import FileLock, Timeout  # prediction has no use for it

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise CheckpointError(f"{folder}: another process is training into it; wait, or choose another --out") from None
    try:
        yield
    finally:
        lock.release()


def holds_run(folder: Path) -> bool:
    """Whether a run, finished or not, lies in a folder."""
    return any((folder / name).exists() for name in (CONFIG_NAME, STATE_NAME, WEIGHTS_NAME))


def delete_run(folder: Path) -> None:
    """Deletes a run's files from its folder, and leaves all others alone."""
    for name in (STATE_NAME, WEIGHTS_NAME, TENSORBOARD_NAME):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (CONFIG_NAME, *RESULT_NAMES):
        (folder / name).unlink(missing_ok=True)
