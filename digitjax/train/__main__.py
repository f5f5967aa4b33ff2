"""Trains a digit classifier, evaluates it and saves it.

python -m digitjax.train                              # MNIST, the default recipe
python -m digitjax.train --model mlp --epochs 5
python -m digitjax.train --resume --out checkpoints/mnist-default
"""

import argparse
import contextlib
import dataclasses
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast

import jax
import tyro

from digitjax import cli
from digitjax.config import DIGITS, FOLDER_PREFIX, PRESETS, DigitjaxError, PresetName, TrainConfig
from digitjax.data.arrays import Splits
from digitjax.data.extra import FOLDS, load_extra
from digitjax.data.splits import load_splits, require_same_data
from digitjax.nn import devices
from digitjax.nn.inference import assemble_model
from digitjax.nn.networks import create_model
from digitjax.report import page
from digitjax.runs import weights
from digitjax.runs.files import RESULTS, RunFile
from digitjax.runs.folder import delete_files, holds_run, lock_folder
from digitjax.runs.history import import_summary_writer
from digitjax.runs.states import ignore_late_writes
from digitjax.train.batches import process_part
from digitjax.train.loop import TrainingError, fit


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainArguments(cli.SourceArguments):
    """The arguments of `python -m digitjax.train`."""

    preset: PresetName = "default"
    """The recipe, which the other options modify. On two cores, quick takes 20 seconds, reaches 99.1 % and sees a digit
    in everything; default takes a minute; best takes about an hour."""
    config: Annotated[TrainConfig | None, tyro.conf.arg(name="", constructor=TrainConfig)] = None
    """Everything that decides the weights (None: the preset's)."""
    asked: Annotated[frozenset[str] | None, tyro.conf.Suppress] = None
    """The names of the options that were given: a resumed run must have been started with them. None: all of `config`
    or, without one, the preset unless it is the default."""
    extra_dir: Path | None = None
    """Folder with the files of --extra-datasets, or with a folder for each (default: the data prepared before)."""
    out: Path | None = None
    """The run's folder (default: checkpoints/<dataset>-<model>, for your own pictures
    checkpoints/folder-<name>-<model>)."""
    resume: bool = False
    """Resume the run in --out exactly where it stopped."""
    overwrite: bool = False
    """Delete an earlier run in --out first."""
    tensorboard: bool = False
    """Also write the metrics for TensorBoard, to the folder tensorboard in --out."""
    distributed: bool = False
    """Train together with other processes, each started with this command; --out is a folder that all of them share."""
    coordinator: str | None = None
    """With --distributed: HOST:PORT of process 0 (default: detected on Slurm, Kubernetes and Cloud TPU)."""
    num_processes: int | None = None
    """With --distributed: the number of processes (default: detected)."""
    process_id: int | None = None
    """With --distributed: the number of this process, from 0 (default: detected)."""

    @property
    def recipe(self) -> TrainConfig:
        """The config or, if none was given, the preset's."""
        return self.config or PRESETS[self.preset]


def train(args: TrainArguments) -> int:
    """Runs a complete training: data, fit, a single pass over the test set, report and plots."""
    if args.resume and args.overwrite:
        raise DigitjaxError("--resume continues a run, and --overwrite deletes it: leave one of them out")
    if not args.resume:
        _require_use(args.recipe)
    if args.tensorboard:
        import_summary_writer()  # if it is missing, fail before anything is written
    if args.distributed:
        devices.join_processes(args.coordinator, args.num_processes, args.process_id)
    config, splits, out = _choose_run(args)
    lock = lock_folder(out) if devices.is_first_process() else contextlib.nullcontext()
    with lock:
        try:
            return _train(args, config, splits, out)
        except Exception as error:
            if not devices.is_loss_of_another(error):
                raise
            raise TrainingError(
                f"another process was lost ({error}); what was saved is kept: start all of them again, with --resume"
            ) from error


def _train(args: TrainArguments, config: TrainConfig, splits: Splits, out: Path) -> int:
    if args.resume and weights.is_complete(out):
        if devices.is_first_process():
            if not (out / RunFile.PAGE).exists():
                page.write_report(out)
            print(f"{out} is complete; its report.json and plots say how it ended")
        return cli.EXIT_OK
    if devices.is_first_process():
        _prepare_folder(args, config, out)
    devices.wait_for_all("folder prepared")
    result = fit(config, splits, out, tensorboard=args.tensorboard, show_progress=devices.is_first_process())
    if devices.is_first_process():
        delete_files(out, RESULTS)  # they describe the weights being replaced
        weights.save_weights(out, result.variables)
    devices.wait_for_all("weights saved")
    if not devices.is_first_process():
        return cli.EXIT_INTERRUPTED if result.interrupted else cli.EXIT_OK
    if result.interrupted:
        print(f"\nStopped; nothing lost. Resume with: python -m digitjax.train --resume --out {out}", file=sys.stderr)
        return cli.EXIT_INTERRUPTED

    from digitjax import evaluate  # loads SciPy, scikit-learn and matplotlib, only needed now
    from digitjax.report import plots
    from digitjax.train import calibrate

    trained = assemble_model(config, result.variables)
    trained = trained._replace(calibration=calibrate.calibrate(trained, splits))
    plots.save_history(out / RunFile.HISTORY, result.history, f"{config.model} on {config.dataset}")
    evaluation = evaluate.evaluate_dataset(trained, splits.test)
    evaluate.write_evaluation(out, evaluation)
    weights.save_calibration(out, trained.calibration)  # now the run is complete
    page.write_report(out)
    print(evaluation.report)
    print(f"\n{out} holds the weights, report.json and the plots; {out / RunFile.PAGE} shows all of it")
    return cli.EXIT_OK


def _prepare_folder(args: TrainArguments, config: TrainConfig, out: Path) -> None:
    if args.resume:
        if (out / RunFile.WEIGHTS).exists() and not any((out / RunFile.STATE).glob(f"*/{RunFile.SUMS}")):
            raise DigitjaxError(f"{out} holds weights, but no complete state to resume from: train anew (--overwrite)")
        return
    if holds_run(out):
        if not args.overwrite:
            raise DigitjaxError(
                f"{out} already holds a run: resume it (--resume), replace it (--overwrite) or choose another --out"
            )
        delete_files(out)
    weights.save_config(out, config)


# ---------------------------------------------------------------- which run it is


def _choose_run(args: TrainArguments) -> tuple[TrainConfig, Splits, Path]:
    """Determines config, data and folder."""
    config, out = args.recipe, args.out
    if args.resume and out:
        config = _resume_config(args, out)
    with devices.first_process_first("data"):  # it may have to be prepared
        splits = load_splits(config.dataset, args.data_dir, args.idx_dir, part=process_part())
    if not args.resume or not out:
        config = _adapt_to_data(config, splits.name, splits.class_names)
        config = dataclasses.replace(config, class_hashes=splits.class_hashes)
        out = out or _default_folder(config)  # it depends on the data found
        config = _resume_config(args, out) if args.resume else config
    if args.resume:
        require_same_data(config, splits)
    with devices.first_process_first("extra data"):
        extra, held_out = load_extra(config.extra_datasets, args.data_dir, args.extra_dir, fold=config.seed % FOLDS)
    return config, splits._replace(extra=extra, held_out=held_out), out


def _adapt_to_data(config: TrainConfig, found: str, class_names: tuple[str, ...]) -> TrainConfig:
    """Returns the config with the data set that was found, if it was `auto`; only digits get drawn images."""
    dataset = found if config.dataset == "auto" else config.dataset
    config = dataclasses.replace(config, dataset=dataset, class_names=class_names)
    if class_names == DIGITS:
        return config
    if config.extra_datasets:
        raise DigitjaxError(
            f"--extra-datasets need the ten digits as classes, but {dataset} holds {', '.join(class_names[:3])} ..."
        )
    return dataclasses.replace(config, negative_share=0, style_share=0, redrawn_share=0)


def _default_folder(config: TrainConfig) -> Path:
    if config.dataset.startswith(FOLDER_PREFIX):
        names = ["folder", Path(config.dataset.removeprefix(FOLDER_PREFIX)).resolve().name, config.model]
    else:
        names = [config.dataset.replace("/", "-"), config.model]
    return Path("checkpoints") / "-".join(name for name in names if name)  # the root folder has no name


def _require_use(config: TrainConfig) -> None:
    """Rejects options that would change nothing."""
    if config.extra_datasets and not config.negative_share + config.redrawn_share:
        raise DigitjaxError("--extra-datasets change nothing if --negative-share and --redrawn-share are 0")
    if config.dropout_rate != TrainConfig.dropout_rate and not hasattr(create_model(config), "dropout_rate"):
        raise DigitjaxError(
            f"--dropout-rate {config.dropout_rate} changes nothing: {config.model} has no dropout layers"
        )


def _list_asked(args: TrainArguments) -> frozenset[str]:
    """Returns the names of the options that were given, see `TrainArguments.asked`."""
    if args.asked is not None:
        return args.asked
    if args.config is not None:
        return frozenset(args.config.list_options())
    return frozenset({"preset"} if args.preset != TrainArguments.preset else ())


def _resume_config(args: TrainArguments, out: Path) -> TrainConfig:
    """Returns the config that the run in `out` was started with; rejects options that disagree with it."""
    started, asked = weights.load_config(out), _list_asked(args)
    config = _adapt_to_data(args.recipe, started.dataset, started.class_names)
    names = (config.dataset, started.dataset)
    if "dataset" in asked and all(name.startswith(FOLDER_PREFIX) for name in names):
        # The folder may have moved: the hashes of its pictures will tell.
        started = dataclasses.replace(started, dataset=config.dataset)
    options = config.list_options()
    for name, found in started.list_options().items():
        value = options[name]
        if found == value or name in ("class_names", "class_hashes"):
            continue
        if name in asked:
            raise DigitjaxError(
                f"{out} was started with {name}={found!r}, not {value!r}: leave the option out, or change --out"
            )
        if "preset" in asked and name != "dataset":  # presets set no data set
            raise DigitjaxError(
                f"{out} was started with {name}={found!r}, and --preset {args.preset} says {value!r}: "
                "leave the option out, or change --out"
            )
    return started


# ---------------------------------------------------------------- the command


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `python -m digitjax.train`."""
    ignore_late_writes()
    status = cli.EXIT_BUG
    try:
        status = cli.run(
            train,
            TrainArguments,
            argv,
            program="-m digitjax.train",
            about="Trains a digit classifier, evaluates it and saves it.",
            default=TrainArguments(config=PRESETS[_find_preset(argv)], asked=_find_options(argv)),
        )
    except Exception:
        if not jax.distributed.is_initialized():
            raise
        traceback.print_exc()
    if status != cli.EXIT_OK and jax.distributed.is_initialized():
        os._exit(status)  # a normal exit would wait for the others, which wait for this one
    return status


def _find_preset(argv: Sequence[str] | None) -> PresetName:
    """Returns the preset that the command line names: the defaults of all other options depend on it."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--preset", choices=PRESETS, default="default")
    try:
        return cast("PresetName", parser.parse_known_args(argv)[0].preset)
    except argparse.ArgumentError:  # the command's own parser tells the user, along with its help
        return "default"


def _find_options(argv: Sequence[str] | None) -> frozenset[str]:
    """Returns the options that the command line names, which parsed values can't tell apart from defaults."""
    words = sys.argv[1:] if argv is None else argv
    return frozenset(word[2:].split("=")[0].replace("-", "_") for word in words if word.startswith("--"))


if __name__ == "__main__":
    cli.leave(main())
