import dataclasses
import json

import pytest

from digitjax.config import AugmentConfig, ConfigError, TrainConfig


def test_json_round_trip():
    config = TrainConfig(model="mlp", epochs=3, learning_rate=1e-3, augment=AugmentConfig(scale=0.3), seed=7)
    assert TrainConfig.from_json(config.to_json()) == config
    assert json.loads(config.to_json())["augment"]["scale"] == 0.3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("settle_epochs", -1),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("weight_decay", -1.0),
        ("label_smoothing", 1.0),
        ("average_decay", 1.0),
        ("dropout_rate", -0.1),
        ("negative_share", 0.6),
        ("style_share", -0.1),
        ("redrawn_share", 0.5),
        ("early_stopping_epochs", -1),
        ("plateau_epochs", -1),
        ("seed", -1),
    ],
)
def test_values_out_of_range_are_refused(field, value):
    with pytest.raises(ConfigError, match=rf"{field} must be .*found {value!r}"):
        TrainConfig(**{field: value})


def test_unknown_extra_data_is_refused(no_type_checks):
    with pytest.raises(ConfigError, match=r"extra_datasets must be some of .*'unipen'.*found \('unipen', 'mnist'\)"):
        TrainConfig(extra_datasets=("unipen", "mnist"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rotation_degrees", 181.0),
        ("scale", 1.0),
        ("shear", -0.1),
        ("shift_pixels", 15.0),
        ("elastic_pixels", -1.0),
        ("stroke_pixels", 1.1),
    ],
)
def test_augmentation_out_of_range_is_refused(field, value):
    with pytest.raises(ConfigError, match=rf"augment.{field} must be .*found {value!r}"):
        AugmentConfig(**{field: value})


def change(**fields):
    return json.dumps(json.loads(TrainConfig().to_json()) | fields)


def without(field):
    return json.dumps({name: value for name, value in json.loads(TrainConfig().to_json()).items() if name != field})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "must be an object"),
        (change(model="resnet"), "model must be one of .*found 'resnet'"),
        (change(epochs="8"), "field epochs must be a int, found '8'"),
        (change(epochs=True), "field epochs must be a int, found True"),
        (change(momentum=0.9), "unknown field momentum"),
        (without("seed"), "missing field seed"),
        (without("augment"), "missing field augment"),
        (change(augment=7), "augment must be an object"),
        (change(augment={"scale": 0.1}), "missing field augment"),
        (change(epochs=-1), "epochs must be at least 1"),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_broken_configs_are_named(text, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig.from_json(text)


def test_configs_can_be_static_arguments():
    assert hash(TrainConfig()) == hash(TrainConfig())
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().epochs = 3
