"""A whole training: epoch after epoch, with validation, checkpoints, and an end that loses nothing."""

import contextlib
import itertools
import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from digitjax.config import DigitjaxError, TrainConfig
from digitjax.data.arrays import Splits
from digitjax.nn import devices
from digitjax.nn.networks import Variables
from digitjax.runs.history import HistoryWriter, Record
from digitjax.runs.progress import Progress
from digitjax.runs.states import RunCheckpoints, Saved
from digitjax.train.batches import ImageFeed
from digitjax.train.composer import PageFeed
from digitjax.train.schedule import create_schedule, scale_on_plateau, should_stop_early
from digitjax.train.state import Metrics, create_state, zero_metrics
from digitjax.train.step import compile_step, train_step


class TrainingError(DigitjaxError):
    """A run that can't go on."""


class Fit(NamedTuple):
    """How a run ended."""

    variables: Variables  # averaged, of the last epoch or, with early stopping, of the best
    history: list[Record]
    interrupted: bool


def fit(
    config: TrainConfig, splits: Splits, out: Path, *, show_progress: bool = True, tensorboard: bool = False
) -> Fit:
    """Trains, going on from the newest state in `out` where there is one.

    Every epoch ends with a validation and a checkpoint. SIGINT (Ctrl-C) and SIGTERM end the run after the current step,
    with a checkpoint; going on from it gives the same weights as if nothing had happened.

    Args:
      config: The run.
      splits: The data; its test part isn't looked at.
      out: The run's folder; gets `metrics.jsonl` and `state/`.
      show_progress: Whether to draw a bar and a line an epoch on standard error.
      tensorboard: Whether to write `tensorboard/`, too.

    Raises:
      TrainingError: The loss is NaN or infinite; the states before it are kept.
      CheckpointError: A state can't be written, or none of those in `out` can be restored.
    """
    feed = PageFeed(config, splits) if config.model == "reader" else ImageFeed(config, splits)
    steps_per_epoch = feed.steps_per_epoch
    num_steps = config.epochs * steps_per_epoch
    schedule = create_schedule(config, num_steps)
    with (
        feed,
        HistoryWriter(out, tensorboard=tensorboard and devices.is_first_process()) as writer,
        RunCheckpoints(out) as checkpoints,
        _catch_signals() as stop,
        Progress(num_steps, config, show_progress) as progress,
    ):
        state, history, seconds = _begin(config, num_steps, checkpoints)
        if devices.is_first_process():
            writer.write(history)  # a kill may have come between the state and its line
        step = progress.start(int(state.step))
        compiled = None
        while step < num_steps and not should_stop_early(_losses(history), config.early_stopping_epochs):
            last_step = (step // steps_per_epoch + 1) * steps_per_epoch
            epoch_config, batches = feed.start_epoch(step // steps_per_epoch, step)
            rate_scale = scale_on_plateau(_losses(history), config.plateau_epochs)
            if epoch_config != compiled:  # or the first step's compiling would count as the epoch's time
                batch = next(batches)
                compile_step(state, batch, config=epoch_config, num_steps=num_steps)
                batches = itertools.chain([batch], batches)
                compiled = epoch_config
            begin = time.perf_counter()
            while step < last_step and not _is_stopping(stop, step):
                state = train_step(state, next(batches), rate_scale, config=epoch_config, num_steps=num_steps)
                step += 1
                progress.show(step, state.metrics.loss, state.metrics.num_correct, state.metrics.num_examples)
            if step < last_step:
                _require_finite(state.metrics.loss, state.metrics, checkpoints)
                if step != checkpoints.latest_step():  # else no step was taken since
                    checkpoints.save(step, state, history, seconds=seconds + time.perf_counter() - begin)
                return Fit(state.average, history, interrupted=True)

            metrics = jax.device_get(state.metrics)  # waits for the epoch's last step, and so comes before the clock
            seconds += time.perf_counter() - begin  # and what came before an interruption
            loss, accuracy = feed.validate(state.average)
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
    """Returns what to go on from, the state on all devices."""
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
            + ". Begin anew with a lower --learning-rate"
        )


def _is_stopping(stop: threading.Event, step: int = 0) -> bool:
    """Whether a signal came to any process; all stop together, or some would wait for the others for ever.

    To ask the others costs a moment, so it is done at every twentieth step.
    """
    if jax.process_count() > 1 and step % 20:
        return False
    return bool(devices.gather(int(stop.is_set())).any())


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
