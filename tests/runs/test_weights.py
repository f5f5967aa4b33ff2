import contextlib
import dataclasses
import io
import json
import pathlib
import pickle
import shutil
import zipfile

import jax
import numpy as np
import pytest
from conftest import assert_same_trees

from digitjax.config import PRESETS, TrainConfig
from digitjax.nn.inference import Calibration
from digitjax.nn.networks import create_model, init_variables
from digitjax.runs import weights
from digitjax.runs.files import CheckpointError

CONFIG = TrainConfig(dataset="digits", model="mlp", epochs=1)


@pytest.fixture
def copy(run, tmp_path):
    """A run's folder that may be broken."""
    return shutil.copytree(run, tmp_path / "copy")


def test_a_model_comes_back(tmp_path):
    network = create_model(TrainConfig(model="cnn-16-8"))
    variables = init_variables(network, jax.random.key(3))
    config = TrainConfig(model="cnn-16-8")
    weights.save_config(tmp_path, config)
    weights.save_weights(tmp_path, variables)
    trained = weights.load_model(tmp_path)
    assert trained.config == config
    assert trained.network == network
    assert_same_trees(trained.variables, variables)


def test_the_calibration_comes_back(copy):
    calibration = Calibration(temperature=0.7, threshold=0.4)
    weights.save_calibration(copy, calibration)
    assert weights.load_model(copy).calibration == calibration


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "can't be read"),
        ('{"temperature": 1.0, "limit": 0.5}', "can't be read.*limit"),
        ('{"temperature": 0.0, "threshold": 0.5}', "temperature must be above 0"),
        ('{"temperature": 1.0, "threshold": "high"}', "temperature must be above 0 and threshold a number"),
    ],
)
def test_a_broken_calibration_is_named(copy, text, message):
    (copy / "calibration.json").write_text(text)
    weights.seal_model(copy)
    with pytest.raises(CheckpointError, match=rf"calibration\.json: {message}"):
        weights.load_model(copy)


def test_a_run_that_goes_on_has_no_calibration(copy):
    (copy / "calibration.json").unlink()
    weights.seal_model(copy)
    assert weights.load_model(copy).calibration == Calibration(temperature=1.0, threshold=0.0)


def test_weights_name_no_folder_of_this_machine(tmp_path):
    weights.save_config(tmp_path, CONFIG)
    weights.save_weights(tmp_path, init_variables(create_model(TrainConfig(model="mlp")), jax.random.key(0)))
    for folder in (tmp_path, weights.default_checkpoint()):
        for path in folder.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                assert str(tmp_path).encode() not in content
                assert str(weights.default_checkpoint()).encode() not in content


def test_saving_again_replaces(tmp_path):
    network = create_model(TrainConfig(model="mlp"))
    weights.save_config(tmp_path, CONFIG)
    for seed in (0, 1):
        weights.save_weights(tmp_path, init_variables(network, jax.random.key(seed)))
    assert_same_trees(weights.load_model(tmp_path).variables, init_variables(network, jax.random.key(1)))


SAVE_ON_FOUR_DEVICES = """
import sys, pathlib, jax, jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from digitjax import config
from digitjax.nn.networks import create_model, init_variables
from digitjax.runs import weights
assert len(jax.devices()) == 4
mesh = jax.make_mesh((4,), ("device",))
variables = init_variables(create_model(config.TrainConfig(model="mlp")), jax.random.key(5))
def place(leaf):  # each device holds a quarter of the rows, where they divide
    return jax.device_put(leaf, NamedSharding(mesh, PartitionSpec("device" if leaf.shape[0] % 4 == 0 else None)))
weights.save_config(pathlib.Path(sys.argv[1]), config.TrainConfig(model="mlp"))
weights.save_weights(pathlib.Path(sys.argv[1]), jax.tree.map(place, variables))
"""

LOAD_AND_SUM = """
import sys, pathlib, jax
from digitjax.runs import weights
assert len(jax.devices()) == 4
print(float(weights.load_model(pathlib.Path(sys.argv[1])).variables["params"]["Dense_0"]["kernel"].sum()))
"""
FOUR_DEVICES = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}


def test_what_four_devices_save_one_restores(tmp_path, python):
    result = python("-c", SAVE_ON_FOUR_DEVICES, str(tmp_path), **FOUR_DEVICES)
    assert result.returncode == 0, result.stderr.decode()
    expected = init_variables(create_model(TrainConfig(model="mlp")), jax.random.key(5))
    assert_same_trees(weights.load_model(tmp_path).variables, expected)


def test_what_one_device_saves_four_restore(run, python):
    result = python("-c", LOAD_AND_SUM, str(run), **FOUR_DEVICES)
    assert result.returncode == 0, result.stderr.decode()
    kernel = weights.load_model(run).variables["params"]["Dense_0"]["kernel"]
    assert float(result.stdout) == pytest.approx(float(kernel.sum()), rel=1e-6)


def damage(path):
    """Yields the ways in which a file may be damaged, each done: flipped bits, its end lost, all of it lost."""
    whole = path.read_bytes()
    for i in {0, len(whole) // 3, len(whole) - 1} if whole else ():
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 4]) + whole[i + 1 :])
        yield f"a bit of byte {i}"
    for length in {0, len(whole) // 2} if whole else ():
        path.write_bytes(whole[:length])
        yield f"all after byte {length}"
    path.unlink()
    yield "the file"
    path.write_bytes(whole)


def test_damage_to_any_file_of_a_model_is_named(copy):
    for path in [copy / name for name in ("config.json", "weights.npz", "calibration.json", "SHA256SUMS")]:
        for lost in damage(path):
            with pytest.raises(CheckpointError) as caught:
                weights.load_model(copy)
            # Where the list itself is damaged, the file is named whose line it is.
            assert str(copy if path.name == "SHA256SUMS" else path) in str(caught.value), lost
    weights.load_model(copy)


def test_on_a_full_disk_earlier_weights_stay(tmp_path, full_disk):
    network = create_model(TrainConfig(model="mlp"))
    first, second = (init_variables(network, jax.random.key(seed)) for seed in (0, 1))
    weights.save_config(tmp_path, CONFIG)
    weights.save_weights(tmp_path, first)
    with full_disk(), pytest.raises(CheckpointError, match=r"weights\.npz: can't be written: .*too large"):
        weights.save_weights(tmp_path, second)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "weights.npz", "SHA256SUMS"}
    assert_same_trees(weights.load_model(tmp_path).variables, first)
    weights.save_weights(tmp_path, second)
    assert_same_trees(weights.load_model(tmp_path).variables, second)


class Payload:
    """What runs a program where it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return pathlib.Path.touch, (self.marker,)


def test_a_strangers_checkpoint_runs_nothing(copy, tmp_path):
    marker = tmp_path / "ran"
    payload = pickle.dumps(Payload(marker))
    pickle.loads(payload)  # noqa: S301 - that it does run
    marker.unlink()
    for path in [copy / name for name in ("config.json", "weights.npz", "calibration.json")]:
        whole = path.read_bytes()
        path.write_bytes(payload)
        weights.seal_model(copy)
        with contextlib.suppress(CheckpointError):
            weights.load_model(copy)
        assert not marker.exists()
        path.write_bytes(whole)


def test_no_run(tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json: can't be read \(No such file or directory\)"):
        weights.load_model(tmp_path / "nowhere")


def test_a_broken_config_is_named(copy):
    (copy / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json: not valid JSON"):
        weights.load_model(copy)


def test_an_unfinished_run_says_how_to_go_on(copy):
    (copy / "weights.npz").unlink()
    with pytest.raises(CheckpointError, match=r"python -m digitjax\.train --resume --out"):
        weights.load_model(copy)


@pytest.mark.parametrize(
    ("name", "misfit"),
    [("cnn-16-8", "Conv_0/kernel is missing"), ("cnn-32-64-64", "Conv_0/kernel is missing")],
)
def test_weights_of_another_network_are_refused(copy, name, misfit):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model": name}))
    weights.seal_model(copy)
    with pytest.raises(CheckpointError, match=f"weights.npz: doesn't fit model '{name}': params/{misfit}"):
        weights.load_model(copy)


@pytest.mark.parametrize(("kind", "change"), [("unknown", {"layers": 7}), ("missing", {"seed": None})])
def test_a_model_of_another_version_names_the_field(copy, kind, change):
    config = json.loads((copy / "config.json").read_text()) | change
    (copy / "config.json").write_text(json.dumps({name: value for name, value in config.items() if value is not None}))
    weights.seal_model(copy)
    (field,) = change
    with pytest.raises(CheckpointError, match=rf"config\.json: {kind} field {field}; another version of digitjax"):
        weights.load_model(copy)


def test_weights_of_another_shape_are_refused(tmp_path):
    weights.save_config(tmp_path, TrainConfig(model="default"))
    variables = init_variables(create_model(TrainConfig(model="cnn-32-64-64")), jax.random.key(0))
    weights.save_weights(tmp_path, variables)
    message = r"Conv_0/kernel must be float32\[5, 5, 1, 32\], found float32\[3, 3, 1, 32\]"
    with pytest.raises(CheckpointError, match=message):
        weights.load_model(tmp_path)


def test_broken_weights_are_named(copy):
    path = copy / "weights.npz"
    whole = path.read_bytes()
    array, text = io.BytesIO(), io.BytesIO()
    np.save(array, np.zeros(3))
    with zipfile.ZipFile(text, "w") as archive:
        archive.writestr("params/Dense_0/kernel", "no array")
    for content in (b"", whole[: len(whole) // 2], whole.replace(b"<f4", b"<x4"), array.getvalue(), text.getvalue()):
        path.write_bytes(content)
        weights.seal_model(copy)
        with pytest.raises(CheckpointError, match=r"weights\.npz: (can't be read|doesn't fit)"):
            weights.load_model(copy)


def test_the_weights_that_ship_are_whole():
    trained = weights.load_model(weights.default_checkpoint())
    extra_datasets = ("unipen", "optdigits", "semeion", "omniglot")
    assert trained.config == dataclasses.replace(PRESETS["best"], dataset="mnist", extra_datasets=extra_datasets)
    assert trained.calibration != Calibration()
