"""Trained models in their folders: the config, the weights and what is fitted after training.

A training run's folder holds `config.json` and, once trained, `weights.npz` and `calibration.json`. Hashes stand beside
them, so what was damaged is named and not loaded; nothing in them is code or is unpickled. The weights are one file of
NumPy's, which is read at once: importing Orbax, which keeps the states of runs (`states.py`), takes longer than all of
this.
"""

import json
import logging
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from digitjax.config import ConfigError, TrainConfig
from digitjax.nn.inference import Calibration, TrainedModel, assemble_model
from digitjax.nn.networks import Variables, create_model, init_variables
from digitjax.runs import hashes
from digitjax.runs.files import MODEL_FILES, CheckpointError, RunFile, read_json, replace_file, write_text

logger = logging.getLogger("digitjax.runs")  # users see it


def default_checkpoint(name: Literal["default", "reader"] = "default") -> Path:
    """Returns the folder of weights that ship: inside an installed package, or at the top of a source tree.

    Args:
      name: `default` reads one digit, `reader` finds all of a page.
    """
    package = Path(__file__).parents[1]
    installed = package / "checkpoints" / name
    return installed if installed.is_dir() else package.parent / "checkpoints" / name


def save_config(folder: Path, config: TrainConfig) -> None:
    """Writes `config.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / RunFile.CONFIG, config.to_json())


def load_config(folder: Path) -> TrainConfig:
    """Reads `config.json`.

    Raises:
      CheckpointError: It is missing or not a config; the message names the file and the field.
    """
    path = folder / RunFile.CONFIG
    try:
        return TrainConfig.from_json(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise CheckpointError(f"{path}: can't be read ({reason}); is {folder} a training run's folder?") from None
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None


def save_calibration(folder: Path, calibration: Calibration) -> None:
    """Writes `calibration.json`, with which a run is complete."""
    write_text(folder / RunFile.CALIBRATION, json.dumps(calibration._asdict(), indent=2) + "\n")
    seal_model(folder)


def is_complete(folder: Path) -> bool:
    """Whether a run came to its end, and its model is as it was written then."""
    return (folder / RunFile.CALIBRATION).exists() and hashes.find_damage(folder, MODEL_FILES) is None


def _load_calibration(folder: Path) -> Calibration:
    path = folder / RunFile.CALIBRATION
    try:
        calibration = Calibration(**read_json(path) or {})  # none yet: the run was interrupted, or is going on
    except TypeError as error:
        raise CheckpointError(f"{path}: can't be read: {error}") from None
    if not all(isinstance(value, float) for value in calibration) or not calibration.temperature > 0:
        raise CheckpointError(f"{path}: temperature must be above 0 and threshold a number, found {calibration}")
    return calibration


def save_weights(folder: Path, variables: Variables) -> None:
    """Writes the weights into a run's folder, in place of earlier ones.

    Raises:
      CheckpointError: They can't be written, as on a full disk; earlier ones are still there.
    """
    path = folder / RunFile.WEIGHTS
    try:
        with replace_file(path) as fresh:
            np.savez(fresh, **flatten_dict(jax.device_get(variables), sep="/"))
    except OSError as error:
        raise CheckpointError(f"{path}: can't be written: {error.strerror}") from error
    seal_model(folder)


def seal_model(folder: Path) -> None:
    """Writes the hashes of a model's files; call it again after you changed one of them by hand."""
    hashes.write_sums(folder, MODEL_FILES)


def check_model(folder: Path) -> TrainConfig:
    """Returns the config of a trained model whose files are all there and as they were written.

    Says so where its training hasn't ended, since nothing is calibrated then.

    Raises:
      CheckpointError: Something is missing or damaged; the message names it.
    """
    config = load_config(folder)
    if not (folder / RunFile.WEIGHTS).is_file():
        raise CheckpointError(
            f"{folder / RunFile.WEIGHTS}: is missing; finish the run: python -m digitjax.train --resume --out {folder}"
        )
    if damage := hashes.find_damage(folder, MODEL_FILES):
        raise CheckpointError(damage)
    if not (folder / RunFile.CALIBRATION).exists():
        missing = "threshold, and so takes letters and scribbles for digits" if config.can_refuse else "calibration"
        logger.warning(
            "%s: the training hasn't ended, and the model has no %s; finish it: "
            "python -m digitjax.train --resume --out %s",
            folder,
            missing,
            folder,
        )
    return config


def load_model(folder: Path) -> TrainedModel:
    """Reads the trained model from a run's folder.

    Raises:
      CheckpointError: Something is missing, damaged or of another shape than the config says; the message names it.
    """
    config = check_model(folder)
    path = folder / RunFile.WEIGHTS
    expected = jax.eval_shape(lambda: init_variables(create_model(config), jax.random.key(0)))
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            variables = unflatten_dict({name: np.asarray(arrays[name]) for name in arrays}, sep="/")
    except Exception as error:  # NumPy and zipfile raise a dozen kinds, by what a stranger put there
        raise CheckpointError(f"{path}: can't be read: {error}") from error
    if misfit := find_misfit(expected, variables):
        raise CheckpointError(f"{path}: doesn't fit model {config.model!r}: {misfit}")
    return assemble_model(config, variables)._replace(calibration=_load_calibration(folder))


def find_misfit(expected: Any, found: Any) -> str | None:
    """Says where two trees of arrays differ in names, shapes or types; None: nowhere."""
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
