"""Keeps training runs and trained models with Orbax, their config beside them.

A run's folder holds `config.json`, `state/` (the whole training state of the last epochs, to resume from) and, once
trained, `weights/` and `calibration.json` (what prediction needs). Arrays are saved from the host, so that any number
of devices restores them.
"""

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import linen as nn

from digitjax.config import ConfigError, DigitjaxError, TrainConfig
from digitjax.model import Variables, create_model, init_variables

CONFIG_NAME, WEIGHTS_NAME, STATE_NAME = "config.json", "weights", "state"
CALIBRATION_NAME = "calibration.json"
RESULT_NAMES = (CALIBRATION_NAME, "metrics.jsonl", "report.json", "history.png", "confusion_matrix.png", "mistakes.png")

Record = dict[str, Any]
"""What was measured over one epoch: one line of `metrics.jsonl`."""


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
    """Writes the weights into a run's folder, in place of earlier ones."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder.absolute() / WEIGHTS_NAME, jax.device_get(variables), force=True)
    # Orbax needs it on object stores alone, and writes the absolute path into it, which is nobody's business.
    (folder / WEIGHTS_NAME / "commit_success.txt").unlink(missing_ok=True)


def load_model(folder: Path) -> TrainedModel:
    """Reads the trained model from a run's folder.

    Raises:
      CheckpointError: Something is missing, broken or of another shape than the config says; the message names it.
    """
    config = load_config(folder)
    path = folder.absolute() / WEIGHTS_NAME
    if not path.is_dir():
        raise CheckpointError(
            f"{folder}: has no finished weights; go on with: python -m digitjax.train --resume --out {folder}"
        )
    network = create_model(config.model, dropout_rate=config.dropout_rate)
    expected = jax.eval_shape(lambda: init_variables(network, jax.random.key(0)))
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            variables = checkpointer.restore(path)
    except Exception as error:
        raise CheckpointError(f"{path}: can't be restored: {error}") from error
    if misfit := _find_misfit(expected, variables):
        raise CheckpointError(f"{path}: doesn't fit model {config.model!r}: {misfit}")
    return TrainedModel(config, network, variables, _load_calibration(folder))


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

    Use it as a context manager: saving goes on in the background, and leaving waits for it.
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
        """Waits until all is on disk."""
        self._manager.wait_until_finished()
        self._manager.close()

    def latest_step(self) -> int | None:
        """Returns the step of the newest complete state, None where there is none."""
        return self._manager.latest_step()

    def save(self, step: int, state: Any, history: list[Record], validation_loss: float | None = None) -> None:
        """Saves a state with the records of the epochs before it.

        Args:
          step: Optimiser steps done.
          state: The `TrainState`.
          history: One record an epoch.
          validation_loss: Of this state, where it was measured.
        """
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(jax.device_get(state)), history=ocp.args.JsonSave({"epochs": history})
            ),
            metrics=None if validation_loss is None else {"validation_loss": validation_loss},
            force=True,
        )

    def restore(self, template: Any, step: int | None = None) -> tuple[Any, list[Record]]:
        """Returns the state (as NumPy arrays in `template`'s structure) and the records saved at `step`, or the newest.

        Raises:
          CheckpointError: There is none, or it can't be restored.
        """
        step = self.latest_step() if step is None else step
        if step is None:
            raise CheckpointError(f"{self._folder}: holds no state to resume from")
        arrays = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), template)
        try:
            restored = self._manager.restore(
                step, args=ocp.args.Composite(state=ocp.args.StandardRestore(arrays), history=ocp.args.JsonRestore())
            )
        except Exception as error:
            raise CheckpointError(f"{self._folder / str(step)}: can't be restored: {error}") from error
        if misfit := _find_misfit(template, restored["state"]):
            raise CheckpointError(f"{self._folder / str(step)}: doesn't fit this run: {misfit}")
        return restored["state"], restored["history"]["epochs"]


def write_history(folder: Path, history: list[Record]) -> None:
    """Writes `metrics.jsonl`, one record a line."""
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in history))


def holds_run(folder: Path) -> bool:
    """Whether a run, finished or not, lies in a folder."""
    return any((folder / name).exists() for name in (CONFIG_NAME, STATE_NAME, WEIGHTS_NAME))


def delete_run(folder: Path) -> None:
    """Deletes a run's files from its folder, and leaves all others alone."""
    for name in (STATE_NAME, WEIGHTS_NAME):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (CONFIG_NAME, *RESULT_NAMES):
        (folder / name).unlink(missing_ok=True)
