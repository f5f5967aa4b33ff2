"""Trains a digit classifier, evaluates it and keeps it.

python -m digitjax.train                              # MNIST, the default recipe
python -m digitjax.train --model mlp --epochs 5
python -m digitjax.train --resume --out checkpoints/mnist-default
"""

import argparse
import contextlib
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast

import jax
import tyro

from digitjax import cli
from digitjax.config import DIGITS, FOLDER_PREFIX, PRESETS, DigitjaxError, PresetName, TrainConfig
from digitjax.data.arrays import Splits
from digitjax.data.splits import load_splits
from digitjax.nn import devices
from digitjax.nn.networks import create_model
from digitjax.runs import weights
from digitjax.runs.files import RunFile
from digitjax.runs.folder import delete_run, holds_run, lock_run
from digitjax.runs.history import import_summary_writer
from digitjax.train.batches import process_part
from digitjax.train.loop import TrainingError, fit


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainArguments(cli.SourceArguments):
    """The arguments of `python -m digitjax.train`."""

    preset: PresetName = "default"
    """The recipe that the other options change, on two cores: quick, 20 seconds for 99.1 %, takes everything for a
    digit; default, a minute; best, about an hour."""
    config: Annotated[TrainConfig, tyro.conf.arg(name="")] = dataclasses.field(default_factory=TrainConfig)
    """What decides the weights."""
    out: Path | None = None
    """The run's folder (default: checkpoints/<dataset>-<model>)."""
    resume: bool = False
    """Go on with the run in --out, exactly where it stood."""
    overwrite: bool = False
    """Delete an earlier run in --out first."""
    tensorboard: bool = False
    """Also write the metrics for TensorBoard, into the folder tensorboard in --out."""
    distributed: bool = False
    """Train together with other processes, each started with this command; --out is a folder that all of them see."""
    coordinator: str | None = None
    """With --distributed: HOST:PORT of process 0 (default: detected on Slurm, Kubernetes and Cloud TPU)."""
    num_processes: int | None = None
    """With --distributed: how many processes there are (default: detected)."""
    process_id: int | None = None
    """With --distributed: which of them this is, from 0 (default: detected)."""


def train(args: TrainArguments) -> int:
    """Runs a whole training: data, fit, one reading of the test set, report and plots."""
    _require_dropout(args.config)
    if args.tensorboard:
        import_summary_writer()  # whether it is there is better known before anything is written
    if args.distributed:
        devices.join_processes(args.coordinator, args.num_processes, args.process_id)
    config, splits, out = _choose_run(args)
    lock = lock_run(out) if devices.is_first_process() else contextlib.nullcontext()
    with lock:
        try:
            return _train(args, config, splits, out)
        except (RuntimeError, ValueError) as error:  # JAX's, where another process is gone
            if jax.process_count() == 1:
                raise
            raise TrainingError(
                f"another process was lost ({error}); what was saved is kept: start all of them again, with --resume"
            ) from error


def _train(args: TrainArguments, config: TrainConfig, splits: Splits, out: Path) -> int:
    if args.resume and (out / RunFile.REPORT).exists():
        if devices.is_first_process():
            print(f"{out} is complete; its report.json and plots say how it ended")
        return cli.EXIT_OK
    if devices.is_first_process():
        _prepare_folder(args, config, out)
    devices.wait_for_all("folder prepared")
    result = fit(config, splits, out, tensorboard=args.tensorboard, show_progress=devices.is_first_process())
    if not devices.is_first_process():
        return cli.EXIT_INTERRUPTED if result.interrupted else cli.EXIT_OK
    weights.save_weights(out, result.variables)
    if result.interrupted:
        print(f"\nStopped, nothing lost. Go on with: python -m digitjax.train --resume --out {out}", file=sys.stderr)
        return cli.EXIT_INTERRUPTED

    from digitjax import evaluate  # with SciPy, scikit-learn and matplotlib, which only now are needed
    from digitjax.report import page, plots
    from digitjax.train import calibrate

    trained = weights.load_model(out)
    trained = trained._replace(calibration=calibrate.calibrate(trained, splits.validation))
    weights.save_calibration(out, trained.calibration)
    plots.save_history(out / RunFile.HISTORY, result.history, f"{config.model} on {config.dataset}")
    evaluation = evaluate.evaluate_dataset(trained, splits.test)
    evaluate.write_evaluation(out, evaluation)
    path = page.write_report(out)
    print(evaluation.report)
    print(f"\n{out} holds the weights, report.json and the plots; {path} shows all of it")
    return cli.EXIT_OK


def _require_dropout(config: TrainConfig) -> None:
    if config.dropout_rate != TrainConfig.dropout_rate and not hasattr(create_model(config), "dropout_rate"):
        raise DigitjaxError(
            f"--dropout-rate {config.dropout_rate} changes nothing: {config.model} has no dropout layers"
        )


def _prepare_folder(args: TrainArguments, config: TrainConfig, out: Path) -> None:
    if holds_run(out) and not args.resume:
        if not args.overwrite:
            raise DigitjaxError(
                f"{out} holds a run already: go on with it (--resume), replace it (--overwrite) or choose another --out"
            )
        delete_run(out)
    weights.save_config(out, config)


def _choose_run(args: TrainArguments) -> tuple[TrainConfig, Splits, Path]:
    """Decides config, data and folder."""
    config = args.config
    if args.resume and args.out:
        config = _resumed_config(args.out, config)
    with devices.first_process_first("data"):  # which may have to be prepared
        splits = load_splits(config.dataset, args.data_dir, args.idx_dir, part=process_part())
    config = dataclasses.replace(config, dataset=splits.name, class_names=splits.class_names)
    if splits.class_names != DIGITS:
        config = dataclasses.replace(config, negative_share=0, one_seven_share=0, redrawn_share=0)
    out = args.out or _default_folder(config)
    return _resumed_config(out, config) if args.resume else config, splits, out


def _default_folder(config: TrainConfig) -> Path:
    if config.dataset.startswith(FOLDER_PREFIX):
        data_name = Path(config.dataset.removeprefix(FOLDER_PREFIX)).name
    else:
        data_name = config.dataset.replace("/", "-")
    return Path("checkpoints") / f"{data_name}-{config.model}"


def _resumed_config(out: Path, asked: TrainConfig) -> TrainConfig:
    """Returns the config that the run in `out` was started with; options that disagree with it are an error."""
    saved = weights.load_config(out)
    for field in dataclasses.fields(TrainConfig):
        value, started = getattr(asked, field.name), getattr(saved, field.name)
        if value not in (started, field.default):
            raise DigitjaxError(
                f"{out} was started with {field.name}={started!r}, not {value!r}: leave the option out, or change --out"
            )
    return saved


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `python -m digitjax.train`."""
    status = cli.run(
        train,
        TrainArguments,
        argv,
        program="-m digitjax.train",
        about="Trains a digit classifier, evaluates and keeps it.",
        default=TrainArguments(config=PRESETS[_find_preset(argv)]),
    )
    if status == cli.EXIT_WRONG_USE and jax.distributed.is_initialized():
        os._exit(status)  # a usual end would wait for the others, who wait for this one
    return status


def _find_preset(argv: Sequence[str] | None) -> PresetName:
    """Returns the preset that the command line names: the defaults of all other options hang on it."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--preset", choices=PRESETS, default="default")
    try:
        return cast("PresetName", parser.parse_known_args(argv)[0].preset)
    except argparse.ArgumentError:  # the command's own parser tells the user, with its help
        return "default"


if __name__ == "__main__":
    cli.leave(main())
