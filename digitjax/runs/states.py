"""Saves the states of a training run with Orbax, so that a stopped run resumes bit for bit.

They are in `state/` in the run's folder, each with hashes of its files, so damaged files are named and not loaded.
Arrays are saved from the host, so that any number of devices can restore them.
"""

import functools
import logging
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from digitjax.nn import devices
from digitjax.runs import hashes
from digitjax.runs.files import CheckpointError, RunFile
from digitjax.runs.history import Record
from digitjax.runs.weights import find_misfit

logger = logging.getLogger("digitjax.runs")  # users see it


class Saved(NamedTuple):
    """What a run resumes from."""

    state: Any  # the `TrainState`
    history: list[Record]  # a record for each earlier epoch
    seconds: float  # spent on the steps of the unfinished epoch


class RunCheckpoints:
    """The training states of one run, by step: the last two, and the one with the best validation loss.

    Use it as a context manager.
    """

    def __init__(self, folder: Path) -> None:
        """Opens the states in a run's folder; deletes the newest if its writing was cut off, for example by a kill."""
        policies = ocp.checkpoint_managers
        self._folder = folder.absolute() / RunFile.STATE
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
        newest = self.latest_step()
        is_cut_off = newest is not None and not (self._folder / str(newest) / RunFile.SUMS).exists()
        if newest is not None and devices.gather(int(is_cut_off))[0]:
            logger.warning("%s was not finished, and is left out", self._folder / str(newest))
            self._manager.delete(newest)

    def __enter__(self) -> "RunCheckpoints":
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes Orbax's manager."""
        self._manager.close()

    def latest_step(self) -> int | None:
        """Returns the step of the newest state; None if there is none."""
        return self._manager.latest_step()

    def save(
        self,
        step: int,
        state: Any,
        history: list[Record],
        *,
        validation_loss: float | None = None,
        seconds: float = 0.0,
    ) -> None:
        """Saves a state with the records of the epochs before it.

        Args:
          step: Optimiser steps done.
          state: The `TrainState`.
          history: One record per epoch.
          validation_loss: The loss of this state, if it was measured.
          seconds: The time spent on the steps of the unfinished epoch.

        Raises:
          CheckpointError: It can't be written, for example on a full disk; earlier states are still there.
        """
        try:
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(jax.device_get(state) if jax.process_count() == 1 else state),
                    history=ocp.args.JsonSave({"epochs": history, "seconds": seconds}),
                ),
                metrics=None if validation_loss is None else {"validation_loss": validation_loss},
                force=True,
            )
            self._manager.wait_until_finished()
            if devices.is_first_process():
                hashes.write_sums(self._folder / str(step))
            devices.wait_for_all(f"saved {step}")
        except Exception as error:
            raise CheckpointError(f"{self._folder / str(step)}: can't be written: {_explain(error)}") from error

    def restore(self, template: Any, step: int | None = None) -> Saved:
        """Returns what was saved at `step`, with the state in `template`'s structure, as NumPy arrays.

        None means the newest intact state; newer ones, which are damaged, are deleted with a warning.

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
            raise CheckpointError(
                f"{self._folder / str(step)}: can't be restored: {_explain(error)}; "
                "another version of digitjax may have written it"
            ) from error
        if misfit := find_misfit(template, restored["state"]):
            raise CheckpointError(f"{self._folder / str(step)}: doesn't fit this run: {misfit}")
        return Saved(restored["state"], restored["history"]["epochs"], restored["history"]["seconds"])

    def _find_whole_step(self) -> int:
        """Returns the newest step whose files are intact, and deletes the newer ones."""
        steps = sorted(self._manager.all_steps(), reverse=True)
        if not steps:
            raise CheckpointError(f"{self._folder}: holds no state to resume from")
        damages, whole = dict[int, str](), -1
        for step in steps:
            if not (damage := hashes.find_damage(self._folder / str(step))):
                whole = step
                break
            damages[step] = damage
        whole = int(devices.gather(whole)[0])  # all processes delete the same steps
        if whole < 0:
            raise CheckpointError(f"{damages[steps[0]]}; no earlier state is intact, so start anew (--overwrite)")
        for step in steps[: steps.index(whole)]:
            logger.warning("%s; going on from step %d", damages.get(step, f"state of step {step}: is damaged"), whole)
            self._manager.delete(step)
        return whole


@functools.cache  # once per process
def ignore_late_writes() -> None:
    """Silences the errors of a state's writes that end after another write has failed.

    Orbax's threads raise them against an event loop that it has already closed, perhaps after the command has reported
    its error. The first error, which `RunCheckpoints.save` raises, says all that matters. This changes
    `sys.unraisablehook` and asyncio's logger, which a command may do, but not a library.
    """
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    report = sys.unraisablehook

    def report_others(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            report(unraisable)

    sys.unraisablehook = report_others


def _explain(error: Exception) -> str:
    """Returns the first line of an error from Orbax, which adds a page about its internals."""
    return str(error).strip().split("\n", maxsplit=1)[0] or type(error).__name__
