"""Trains a digit classifier, evaluates it and keeps it.

    python -m digitjax.train                              # MNIST, the default recipe
    python -m digitjax.train --model mlp --epochs 5
    python -m digitjax.train --resume --out checkpoints/mnist-default

Read it from top to bottom: the state, one step, the loop, the command.
"""

import argparse
import contextlib
import dataclasses
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from jaxtyping import Array, Bool, Float, Int32, Key, UInt8

from digitjax import augment, checkpoint, cli, data, drawn, layers, model, runs, sharding
from digitjax.config import DIGITS, FOLDER_PREFIX, PRESETS, AugmentConfig, DigitjaxError, PresetName, TrainConfig
from digitjax.history import HistoryWriter, Record, import_summary_writer
from digitjax.idx import Dataset
from digitjax.model import AnyArray, Variables
from digitjax.progress import Progress
from digitjax.runs import RunCheckpoints

# ---------------------------------------------------------------- state


class Metrics(NamedTuple):
    """Sums over the steps of the current epoch."""

    loss: Float[Array, ""]  # the sum of the batches' mean losses
    num_correct: Int32[Array, ""]
    num_examples: Int32[Array, ""]
    lost_step: Int32[Array, ""]  # the first whose loss was no finite number; 0: none


class TrainState(NamedTuple):
    """Everything that changes from step to step, arrays alone; saved whole, so that a run goes on bit for bit."""

    step: Int32[Array, ""]
    params: Any
    stats: Variables  # what the forward pass itself updates: {} or {"batch_stats": ...}
    average: Variables  # moving average of params and stats: what is evaluated and kept
    opt_state: optax.OptState
    plateau: optax.contrib.ReduceLROnPlateauState  # its `scale` multiplies the updates
    metrics: Metrics


class DeviceData(NamedTuple):
    """The training images on the device, and the order in which this epoch takes them."""

    images: UInt8[Array, "n 28 28 1"]
    labels: Int32[Array, "n"]
    order: Int32[Array, "steps batch"]


@partial(jax.jit, static_argnames=("config", "num_steps"))  # in one piece, compiling takes a third of the time
def create_state(config: TrainConfig, num_steps: int) -> TrainState:
    """Returns the state before the first step of a run of `num_steps`."""
    variables = model.init_variables(model.create_model(config), _derive_keys(config.seed).init)
    params = variables["params"]
    return TrainState(
        step=jnp.int32(0),
        params=params,
        stats={name: tree for name, tree in variables.items() if name != "params"},
        average=jax.tree.map(jnp.copy, variables),
        opt_state=create_optimizer(config, num_steps).init(params),
        plateau=_create_plateau(config).init(params),
        metrics=_zero_metrics(),
    )


def create_schedule(config: TrainConfig, num_steps: int) -> optax.Schedule:
    """Returns the learning rate as a function of the step."""
    match config.schedule:
        case "constant":
            return optax.constant_schedule(config.learning_rate)
        case "cosine":
            return optax.cosine_decay_schedule(config.learning_rate, num_steps)
        case "onecycle":  # Smith and Topin 2018, https://arxiv.org/abs/1708.07120
            return optax.cosine_onecycle_schedule(num_steps, config.learning_rate, pct_start=0.25)


def create_optimizer(config: TrainConfig, num_steps: int) -> optax.GradientTransformation:
    """Returns the config's optimiser on its schedule.

    AdamW: Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101. Muon: Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon/, for the convolutions, each kernel as a matrix from all that a pixel sees
    to the features; AdamW for the rest.
    """
    schedule = create_schedule(config, num_steps)
    match config.optimizer:
        case "adamw":
            return optax.adamw(
                schedule,
                weight_decay=config.weight_decay,
                mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params),  # kernels, not biases
            )
        case "muon":
            matrix = optax.contrib.MuonDimensionNumbers(reduction_axis=(0, 1, 2), output_axis=(3,))
            return optax.contrib.muon(
                schedule,
                weight_decay=config.weight_decay,
                muon_weight_dimension_numbers=lambda params: jax.tree.map(
                    lambda leaf: matrix if leaf.ndim == 4 else None, params
                ),
                # A number's step, root mean square, in learning rates; AdamW's is some 0.2 (Liu et al. 2025,
                # https://arxiv.org/abs/2502.16982). Twice as much did as well.
                consistent_rms=0.5,
            )


class _Keys(NamedTuple):
    init: Key[Array, ""]
    order: Key[Array, ""]
    step: Key[Array, ""]


def _derive_keys(seed: int) -> _Keys:
    """Splits the seed by purpose, so that no two draws of a run share a key."""
    return _Keys(*jax.random.split(jax.random.key(seed), 3))


def _create_plateau(config: TrainConfig) -> optax.GradientTransformationExtraArgs:
    return optax.contrib.reduce_on_plateau(factor=0.5, patience=max(config.plateau_epochs, 1))


def _zero_metrics() -> Metrics:
    return Metrics(jnp.float32(0), jnp.int32(0), jnp.int32(0), jnp.int32(0))


# ---------------------------------------------------------------- step


def compute_loss(
    logits: Float[AnyArray, "n classes"], labels: Int32[AnyArray, "n"], config: TrainConfig
) -> Float[Array, "n"]:
    """Returns each example's loss.

    With smoothing e over k classes the target is (1 - e) * one_hot(label) + e / k (Szegedy et al. 2016,
    https://arxiv.org/abs/1512.00567). `softmax` is the cross-entropy with it; `sigmoid` sums the binary cross-entropies
    of the classes, each a question of its own.
    """
    smoothing, num_classes = config.label_smoothing, logits.shape[-1]
    if config.loss == "sigmoid":
        targets = optax.smooth_labels(jax.nn.one_hot(labels, num_classes), smoothing)
        return optax.sigmoid_binary_cross_entropy(logits, targets).sum(-1)
    if config.negative_share:
        logits = _with_none(logits)
    on_label = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    on_all = jax.nn.logsumexp(logits, axis=-1) - logits.mean(-1)
    return (1 - smoothing) * on_label + smoothing * on_all


def _with_none(logits: Any) -> Any:
    return jnp.concatenate([logits, jnp.zeros_like(logits[..., :1])], axis=-1)


# The images that go through the network together. A CPU takes one micro-batch after the other, since the patches of
# more images don't fit its caches and a step would take twice as long; an accelerator takes all at once. The step is
# the same: batch normalisation's statistics, too, are those of a micro-batch (Hoffer et al. 2017,
# https://arxiv.org/abs/1705.08741).
MICRO_BATCH = 32


def _num_micro_batches(batch_size: int) -> int:
    divisors = [size for size in range(MICRO_BATCH // 4, MICRO_BATCH + 1) if batch_size % size == 0]
    return batch_size // max(divisors, default=batch_size)


def _sum_over(loss_fn: Callable[..., Any], params: Any, micro_batches: Any) -> Any:
    """Returns sums over the micro-batches: gradients, losses, and what else `loss_fn` returns."""
    if not layers.on_cpu():

        def total_loss(params: Any) -> Any:
            losses, others = jax.vmap(loss_fn, in_axes=(None, 0, 0, 0))(params, *micro_batches)
            return losses.sum(), jax.tree.map(lambda leaf: leaf.sum(0), others)

        (loss, others), grads = jax.value_and_grad(total_loss, has_aux=True)(params)
        return grads, loss, *others

    def add(sums: Any, micro_batch: Any) -> tuple[Any, None]:
        (loss, others), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, *micro_batch)
        return jax.tree.map(jnp.add, sums, (grads, loss, *others)), None

    (loss, others) = jax.eval_shape(loss_fn, params, *jax.tree.map(lambda leaf: leaf[0], micro_batches))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), (params, loss, *others))
    return jax.lax.scan(add, zeros, micro_batches)[0]


@partial(jax.jit, static_argnames=("config", "num_steps"), donate_argnames="state")
def train_step(state: TrainState, train: DeviceData, *, config: TrainConfig, num_steps: int) -> TrainState:
    """Takes one optimiser step on the next batch.

    Args:
      state: The state before; donated, so it can't be used afterwards.
      train: The data; the step picks its own row of `train.order`.
      config: The run's config.
      num_steps: Steps of the whole run, for the schedule.
    """
    network, tx = model.create_model(config), create_optimizer(config, num_steps)
    steps_per_epoch, batch_size = train.order.shape
    indices = sharding.divide(train.order[state.step % steps_per_epoch])
    augment_key, dropout_key = jax.random.split(jax.random.fold_in(_derive_keys(config.seed).step, state.step))
    images = augment.augment_images(augment_key, train.images[indices], config.augment)  # [batch, 28, 28, 1]
    labels = train.labels[indices]  # [batch]

    def loss_fn(params: Any, images: Any, labels: Any, key: Key[Array, ""]) -> tuple[Any, Any]:
        """Returns a micro-batch's mean loss, its number of right answers, and the statistics after it."""
        logits, stats = network.apply(
            {"params": params, **state.stats}, images, train=True, rngs={"dropout": key}, mutable=list(state.stats)
        )
        answers = _with_none(logits) if config.negative_share else logits
        return compute_loss(logits, labels, config).mean(), ((answers.argmax(-1) == labels).sum(), stats)

    k = _num_micro_batches(batch_size)
    # Each device takes a part of every micro-batch.
    images, labels = sharding.divide(images.reshape(k, -1, 28, 28, 1), 1), sharding.divide(labels.reshape(k, -1), 1)
    micro_batches = (images, labels, jax.random.split(dropout_key, k))
    grads, loss, num_correct, stats = _sum_over(loss_fn, state.params, micro_batches)
    grads, loss, stats = jax.tree.map(lambda total: total / k, (grads, loss, stats))

    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    updates = jax.tree.map(lambda update: update * state.plateau.scale, updates)
    params = optax.apply_updates(state.params, updates)
    # A short average at first, or the initial weights would weigh on the first epochs.
    decay = jnp.minimum(config.average_decay, (1 + state.step) / (10 + state.step))
    return state._replace(
        step=state.step + 1,
        params=params,
        stats=stats,
        average=optax.incremental_update({"params": params, **stats}, state.average, 1 - decay),
        opt_state=opt_state,
        metrics=Metrics(
            state.metrics.loss + loss,
            state.metrics.num_correct + num_correct,
            state.metrics.num_examples + batch_size,
            jnp.where((state.metrics.lost_step == 0) & ~jnp.isfinite(loss), state.step + 1, state.metrics.lost_step),
        ),
    )


@partial(jax.jit, static_argnames=("seed", "n", "steps", "batch_size"))
def draw_order(
    seed: int, epoch: int | Int32[Array, ""], *, n: int, steps: int, batch_size: int
) -> Int32[Array, "steps batch"]:
    """Shuffles an epoch's images into batches; the last is filled up from the front, so none is left out."""
    key = jax.random.fold_in(_derive_keys(seed).order, epoch)
    return jnp.resize(jax.random.permutation(key, n), (steps, batch_size)).astype(jnp.int32)


# How much of all that varies and adds to the images is left in the epochs that settle.
SETTLED = 0.25


def plan_epoch(
    is_drawn: Bool[np.ndarray, "n"], config: TrainConfig, epoch: int
) -> tuple[Int32[np.ndarray, "shown"], AugmentConfig]:
    """Returns which images an epoch (from 0) shows, and how far they are varied.

    An epoch that settles shows all of the data's own images and a share of the drawn ones. Towards the end, less
    distortion brings training closer to what is tested (Touvron et al. 2019, https://arxiv.org/abs/1906.06423). And
    drawn digits aren't by MNIST's writers: for them an upstroke makes a 7.
    """
    if epoch < config.epochs - config.settle_epochs:
        return np.arange(len(is_drawn), dtype=np.int32), config.augment
    own, drawn_ones = np.flatnonzero(~is_drawn), np.flatnonzero(is_drawn)
    rng = np.random.default_rng((config.seed, epoch))
    some = rng.choice(drawn_ones, round(SETTLED * len(drawn_ones)), replace=False)
    return np.concatenate([own, some]).astype(np.int32), config.augment.scaled(SETTLED)


# ---------------------------------------------------------------- fit


class TrainingError(DigitjaxError):
    """A run that can't go on."""


class Fit(NamedTuple):
    """How a run ended."""

    variables: Variables  # averaged, of the last epoch or, with early stopping, of the best
    history: list[Record]
    interrupted: bool


def fit(
    config: TrainConfig, splits: data.Splits, out: Path, *, show_progress: bool = True, tensorboard: bool = False
) -> Fit:
    """Trains until the last epoch, from the newest state in `out` where there is one.

    Every epoch ends with a validation and a checkpoint. SIGINT (Ctrl-C) and SIGTERM end the run after the current step,
    with a checkpoint; going on from it gives the same weights as if nothing had happened.

    Args:
      config: The run.
      splits: The data; its test part isn't looked at.
      out: The run's folder; gets `metrics.jsonl` and `state/`.
      show_progress: Whether to draw a bar and a line an epoch on standard error.
      tensorboard: Whether to write `tensorboard/`, too.

    Raises:
      TrainingError: The loss is no finite number any more; the states before it are kept.
      CheckpointError: A state can't be written, or none of those in `out` can be restored.
    """
    # In many processes each has read a part of the images, and draws its part of those that are drawn.
    num_digits = int(sharding.gather_counts(len(splits.train.labels)).sum())
    train = drawn.add_drawn(splits.train, config, sharding.process_part(), num_digits)
    counts = sharding.gather_counts(len(train.labels))
    is_drawn = drawn.find_drawn(config, num_digits)
    steps_per_epoch = math.ceil(len(is_drawn) / config.batch_size)
    num_steps = config.epochs * steps_per_epoch
    steps_between_stops = 1 if jax.process_count() == 1 else 20  # to ask the others costs a moment
    images, labels = sharding.join_rows(train.images, counts), sharding.join_rows(train.labels, counts)
    state, history = _replicate(create_state(config, num_steps)), list[Record]()
    with (
        HistoryWriter(out, tensorboard=tensorboard and sharding.is_first_process()) as writer,
        RunCheckpoints(out) as checkpoints,
        _catch_signals() as stop,
        Progress(num_steps, config, show_progress) as progress,
    ):
        if checkpoints.latest_step() is not None:
            restored, history = checkpoints.restore(state)
            state = _replicate(restored)
        step = progress.start(int(state.step))
        while step < num_steps and not _should_stop_early(config, history):
            epoch, begin, first_step = step // steps_per_epoch, time.perf_counter(), step
            rows, limits = plan_epoch(is_drawn, config, epoch)
            order = draw_order(config.seed, epoch, n=len(rows), steps=steps_per_epoch, batch_size=config.batch_size)
            order = _replicate(sharding.locate_rows(rows[np.asarray(order)], counts))
            epoch_config = dataclasses.replace(config, augment=limits)
            last_step = (epoch + 1) * steps_per_epoch
            while step < last_step and not (step % steps_between_stops == 0 and _is_stopping(stop)):
                state = train_step(state, DeviceData(images, labels, order), config=epoch_config, num_steps=num_steps)
                step += 1
                progress.show(step, state.metrics.loss, state.metrics.num_correct, state.metrics.num_examples)
            if step < last_step:
                _require_finite(state.metrics.loss, state.metrics, checkpoints)
                checkpoints.save(step, state, history)
                return Fit(state.average, history, interrupted=True)

            metrics = jax.device_get(state.metrics)  # waits for the epoch's last step, and so comes before the clock
            seconds = time.perf_counter() - begin
            loss, accuracy = _validate(config, state.average, splits.validation)
            record = {
                "epoch": epoch + 1,
                "step": step,
                "loss": float(metrics.loss) / steps_per_epoch,
                "accuracy": float(metrics.num_correct / metrics.num_examples),
                "validation_loss": loss,
                "validation_accuracy": accuracy,
                "learning_rate": float(create_schedule(config, num_steps)(step - 1)) * float(state.plateau.scale),
                "seconds": round(seconds, 3),
                "images_per_second": round((step - first_step) * config.batch_size / seconds, 1),
            }
            _require_finite(record["loss"] + record["validation_loss"], metrics, checkpoints)
            history.append(record)
            state = state._replace(metrics=_replicate(_zero_metrics()))
            if config.plateau_epochs:
                _, plateau = _create_plateau(config).update(
                    state.params, state.plateau, value=record["validation_loss"]
                )
                state = state._replace(plateau=_replicate(plateau))
            checkpoints.save(step, state, history, validation_loss=record["validation_loss"])
            if sharding.is_first_process():
                writer.write(history)
            progress.report(record)
            if _is_stopping(stop) and step < num_steps:
                return Fit(state.average, history, interrupted=True)
        if config.early_stopping_epochs:
            best = min(history, key=lambda record: record["validation_loss"])
            state, _ = checkpoints.restore(state, best["step"])
        return Fit(state.average, history, interrupted=False)


def _require_finite(loss: float | Float[Array, ""], metrics: Metrics, checkpoints: RunCheckpoints) -> None:
    if not math.isfinite(loss):
        kept = checkpoints.latest_step()
        raise TrainingError(
            f"the loss is no finite number any more, since step {int(metrics.lost_step) or 'the last'}; "
            + ("no state was saved before it" if kept is None else f"the state of step {kept} is kept")
            + ". Begin anew with a lower --learning-rate"
        )


def _replicate(tree: Any) -> Any:
    """Puts a copy of what this process computed, as all others did, on every device."""
    return sharding.replicate(jax.device_get(tree), sharding.global_mesh())


def _is_stopping(stop: threading.Event) -> bool:
    """Whether a signal came to any process; all stop together, or some would wait for the others for ever."""
    return bool(sharding.gather_counts(int(stop.is_set())).any())


def _validate(config: TrainConfig, variables: Variables, validation: Dataset) -> tuple[float, float]:
    """Returns loss (without smoothing) and accuracy over all validation images, the same in all processes."""
    variables = sharding.replicate(jax.device_get(variables), sharding.local_mesh())
    logits = model.compute_logits(partial(model.apply_model, model.create_model(config), variables), validation.images)
    losses = compute_loss(logits, validation.labels, dataclasses.replace(config, label_smoothing=0))
    accuracy = np.mean(logits.argmax(-1) == validation.labels)
    loss, accuracy = sharding.agree(np.array([losses.mean(), accuracy], np.float64)).tolist()
    return loss, accuracy


def _should_stop_early(config: TrainConfig, history: list[Record]) -> bool:
    if not config.early_stopping_epochs or not history:
        return False
    losses = [record["validation_loss"] for record in history]
    return len(losses) - 1 - int(np.argmin(losses)) >= config.early_stopping_epochs


@contextlib.contextmanager
def _catch_signals() -> Iterator[threading.Event]:
    """Turns the first SIGINT or SIGTERM into an event, so that it can't strike between two halves of a step.

    The next one acts as usual. Only the main thread may do so; elsewhere the event just stays unset.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def handle(_number: int, _frame: Any) -> None:
        stop.set()
        restore()

    for number in previous:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        restore()


# ---------------------------------------------------------------- command


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainArguments(data.SourceArguments):
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
    if args.tensorboard:
        import_summary_writer()  # whether it is there is better known before anything is written
    if args.distributed:
        sharding.join_processes(args.coordinator, args.num_processes, args.process_id)
    config, splits, out = _choose_run(args)
    lock = runs.lock_run(out) if sharding.is_first_process() else contextlib.nullcontext()
    with lock:
        try:
            return _train(args, config, splits, out)
        except (RuntimeError, ValueError) as error:  # JAX's, where another process is gone
            if jax.process_count() == 1:
                raise
            raise TrainingError(
                f"another process was lost ({error}); what was saved is kept: start all of them again, with --resume"
            ) from error


def _train(args: TrainArguments, config: TrainConfig, splits: data.Splits, out: Path) -> int:
    if args.resume and (out / "report.json").exists():
        if sharding.is_first_process():
            print(f"{out} is complete; its report.json and plots say how it ended")
        return cli.EXIT_OK
    if sharding.is_first_process():
        _prepare_folder(args, config, out)
    sharding.wait_for_all("folder prepared")
    result = fit(config, splits, out, tensorboard=args.tensorboard, show_progress=sharding.is_first_process())
    if not sharding.is_first_process():
        return cli.EXIT_INTERRUPTED if result.interrupted else cli.EXIT_OK
    checkpoint.save_weights(out, result.variables)
    if result.interrupted:
        print(f"\nStopped, nothing lost. Go on with: python -m digitjax.train --resume --out {out}", file=sys.stderr)
        return cli.EXIT_INTERRUPTED

    from digitjax import calibrate, evaluate, plots, report  # SciPy, scikit-learn and matplotlib: only now needed

    trained = checkpoint.load_model(out)
    trained = trained._replace(calibration=calibrate.calibrate(trained, splits.validation))
    checkpoint.save_calibration(out, trained.calibration)
    plots.save_history(out / "history.png", result.history, f"{config.model} on {config.dataset}")
    evaluation = evaluate.evaluate_dataset(trained, splits.test, splits.class_names)
    evaluate.write_evaluation(out, evaluation)
    page = report.write_report(out)
    print(evaluation.report)
    print(f"\n{out} holds the weights, report.json and the plots; {page} shows all of it")
    return cli.EXIT_OK


def _prepare_folder(args: TrainArguments, config: TrainConfig, out: Path) -> None:
    if runs.holds_run(out) and not args.resume:
        if not args.overwrite:
            raise DigitjaxError(
                f"{out} holds a run already: go on with it (--resume), replace it (--overwrite) or choose another --out"
            )
        runs.delete_run(out)
    checkpoint.save_config(out, config)


def _choose_run(args: TrainArguments) -> tuple[TrainConfig, data.Splits, Path]:
    """Decides config, data and folder."""
    config = args.config
    if args.resume and args.out:
        config = _resumed_config(args.out, config)
    with sharding.first_process_first("data"):  # which may have to be prepared
        splits = data.load_splits(config.dataset, args.data_dir, args.idx_dir, part=sharding.process_part())
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
    saved = checkpoint.load_config(out)
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
