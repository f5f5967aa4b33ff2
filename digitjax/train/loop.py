"""A complete training run: epoch after epoch, with validation and checkpoints; stopping it loses nothing."""

import contextlib
import dataclasses
import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from digitjax.config import DigitjaxError, TrainConfig
from digitjax.data.arrays import Dataset, Splits
from digitjax.nn import devices
from digitjax.nn.inference import apply_model, compute_logits
from digitjax.nn.networks import Variables, create_model
from digitjax.runs.history import HistoryWriter, Record
from digitjax.runs.progress import Progress
from digitjax.runs.states import RunCheckpoints, Saved
from digitjax.train.batches import count_steps, order_epoch, place_images
from digitjax.train.loss import compute_loss
from digitjax.train.schedule import create_schedule, scale_on_plateau, should_stop_early
from digitjax.train.state import Metrics, create_state, zero_metrics
from digitjax.train.step import compile_step, train_step


class TrainingError(DigitjaxError):
    """A run that can't continue."""


class Fit(NamedTuple):
    """How a run ended."""

    variables: Variables  # averaged, from the last epoch or, with early stopping, the best
    history: list[Record]
    interrupted: bool


def fit(
    config: TrainConfig, splits: Splits, out: Path, *, show_progress: bool = True, tensorboard: bool = False
) -> Fit:
    """Trains, resuming from the newest state in `out` if there is one.

    Every epoch ends with a validation and a checkpoint. SIGINT (Ctrl-C) and SIGTERM end the run after the current step,
    with a checkpoint; resuming from it gives the same weights as an uninterrupted run.

    Args:
      config: The run.
      splits: The data; its test part isn't used.
      out: The run's folder, for `metrics.jsonl` and `state/`.
      show_progress: Whether to show a progress bar, and a line per epoch, on standard error.
      tensorboard: Whether to write `tensorboard/`, too.

    Raises:
      TrainingError: The loss is NaN or infinite; earlier states are kept.
      CheckpointError: A state can't be written, or none of those in `out` can be restored.
    """
    train = place_images(splits.train, config, splits.extra)
    steps_per_epoch = count_steps(train, config)
    num_steps = config.epochs * steps_per_epoch
    schedule = create_schedule(config, num_steps)
    with (
        HistoryWriter(out, tensorboard=tensorboard and devices.is_first_process()) as writer,
        RunCheckpoints(out) as checkpoints,
        _catch_signals() as stop,
        Progress(num_steps, config, show_progress) as progress,
    ):
        state, history, seconds = _begin(config, num_steps, checkpoints)
        if devices.is_first_process():
            writer.write(history)  # a kill may have hit between saving a state and writing its line
        step = progress.start(int(state.step))
        compiled = None
        while step < num_steps and not should_stop_early(_losses(history), config.early_stopping_epochs):
            last_step = (step // steps_per_epoch + 1) * steps_per_epoch
            data, limits = order_epoch(train, config, step // steps_per_epoch)
            rate_scale = scale_on_plateau(_losses(history), config.plateau_epochs)
            epoch_config = dataclasses.replace(config, augment=limits)
            if epoch_config != compiled:  # or compiling the first step would count as the epoch's time
                compile_step(state, data, config=epoch_config, num_steps=num_steps)
                compiled = epoch_config
            begin = time.perf_counter()
            while step < last_step and not _is_stopping(stop, step):
                state = train_step(state, data, rate_scale, config=epoch_config, num_steps=num_steps)
                step += 1
                progress.show(step, state.metrics.loss, state.metrics.num_correct, state.metrics.num_examples)
            if step < last_step:
                _require_finite(state.metrics.loss, state.metrics, checkpoints)
                if step != checkpoints.latest_step():  # otherwise no step was taken since
                    checkpoints.save(step, state, history, seconds=seconds + time.perf_counter() - begin)
                return Fit(state.average, history, interrupted=True)

            metrics = jax.device_get(state.metrics)  # waits for the last step, so it comes before the clock
            seconds += time.perf_counter() - begin  # plus the time before an interruption
            loss, accuracy = _validate(config, state.average, splits.validation)
            _require_finite(float(metrics.loss) + loss, metrics, checkpoints)
            record = {
                "epoch": step // steps_per_epoch,
                "step": step,
                "loss": float(metrics.loss) / steps_per_epoch,
                "accuracy": float(metrics.num_correct / metrics.num_examples),
                "validation_loss": loss,
                "validation_accuracy": accuracy,
                "learning_rate": float(schedule(step - 1)) * rate_scale,
                "seconds": round(seconds, 3),
                "images_per_second": round(steps_per_epoch * config.batch_size / seconds, 1),
            }
            history.append(record)
            seconds = 0.0
            state = state._replace(metrics=devices.replicate(zero_metrics(), devices.global_mesh()))
            checkpoints.save(step, state, history, validation_loss=loss)
            if devices.is_first_process():
                writer.write(history)
            progress.report(record)
            if step < num_steps and _is_stopping(stop):
                return Fit(state.average, history, interrupted=True)
        if config.early_stopping_epochs:
            best = history[int(np.argmin(_losses(history)))]
            state = checkpoints.restore(state, best["step"]).state
        return Fit(state.average, history, interrupted=False)


def _begin(config: TrainConfig, num_steps: int, checkpoints: RunCheckpoints) -> Saved:
    """Returns what to start from, with the state on all devices."""
    saved = Saved(create_state(config, num_steps), [], 0.0)
    if checkpoints.latest_step() is not None:
        saved = checkpoints.restore(saved.state)
    return saved._replace(state=devices.replicate(saved.state, devices.global_mesh()))


def _losses(history: Sequence[Record]) -> list[float]:
    return [record["validation_loss"] for record in history]


def _require_finite(loss: float | Float[Array, ""], metrics: Metrics, checkpoints: RunCheckpoints) -> None:
    if not math.isfinite(loss):
        kept = checkpoints.latest_step()
        where = f"at step {metrics.lost_step}" if metrics.lost_step else "on the validation images"
        raise TrainingError(
            f"the loss became NaN or infinite {where}; "
            + ("no state was saved before it" if kept is None else f"the state of step {kept} is kept")
            + ". Start again with a lower --learning-rate"
        )


def _is_stopping(stop: threading.Event, step: int = 0) -> bool:
    """Whether any process received a signal; all must stop together, or some would wait for the others for ever.

    Asking the others takes a moment, so it is done only at every twentieth step.
    """
    if jax.process_count() > 1 and step % 20:
        return False
    return bool(devices.gather(int(stop.is_set())).any())


def _validate(config: TrainConfig, variables: Variables, validation: Dataset) -> tuple[float, float]:
    """Returns loss (without smoothing) and accuracy over all validation images, the same in all processes."""
    variables = devices.replicate(variables, devices.local_mesh())
    logits = compute_logits(partial(apply_model, create_model(config), variables), validation.images)
    losses = compute_loss(logits, validation.labels, dataclasses.replace(config, label_smoothing=0))
    accuracy = np.mean(logits.argmax(-1) == validation.labels)
    loss, accuracy = devices.agree(np.array([losses.mean(), accuracy], np.float64)).tolist()
    return loss, accuracy


@contextlib.contextmanager
def _catch_signals() -> Iterator[threading.Event]:
    """Turns the first SIGINT or SIGTERM into an event, so that it can't hit in the middle of a step.

    The next one acts as usual. Only the main thread may catch signals; elsewhere the event just stays unset.
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
