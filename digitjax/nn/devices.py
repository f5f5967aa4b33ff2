"""Divides work among devices and processes: one mesh, the batch along its only axis, all else on every device.

Arrays are placed here, and jitted functions follow (https://docs.jax.dev/en/latest/sharded-computation.html). So the
same code runs on one device, where nothing here has an effect, on many devices, and in many processes.
"""

import contextlib
import functools
import os
import re
from collections.abc import Iterator
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float64, Int, Shaped

from digitjax.config import DigitjaxError

_AXIS = "batch"
_Tree = TypeVar("_Tree")


@functools.cache
def global_mesh() -> Mesh:
    """Returns the devices of all processes, along the axis `batch`, for training."""
    return Mesh(np.array(jax.devices()), (_AXIS,))


@functools.cache
def local_mesh() -> Mesh:
    """Returns this process's devices, along the axis `batch`, for prediction."""
    return Mesh(np.array(jax.local_devices()), (_AXIS,))


def round_up(n: int, mesh: Mesh) -> int:
    """Returns the smallest multiple of the number of devices that is at least `n`."""
    return -(-n // mesh.size) * mesh.size


def replicate(tree: _Tree, mesh: Mesh) -> _Tree:
    """Puts a copy of each array on every device; all processes must pass the same arrays."""
    return jax.device_put(jax.device_get(tree), NamedSharding(mesh, PartitionSpec()))


def split_rows(array: Shaped[np.ndarray, "n ..."], mesh: Mesh) -> Shaped[Array, "n_padded ..."]:
    """Splits an array's rows among this process's devices, padded with zeros to a multiple of their number."""
    return jax.device_put(_pad_rows(array, round_up(len(array), mesh)), NamedSharding(mesh, PartitionSpec(_AXIS)))


def divide(array: Shaped[Array, "..."], axis: int = 0) -> Shaped[Array, "..."]:
    """Inside a jitted function, divides an array along one axis: from here on each device has its part.

    If the axis isn't a multiple of the number of devices, XLA pads it and leaves the padding out of every sum.
    """
    if global_mesh().size == 1:
        return array
    sharding = NamedSharding(global_mesh(), PartitionSpec(*[None] * axis, _AXIS))
    return jax.lax.with_sharding_constraint(array, sharding)


def _pad_rows(array: Shaped[np.ndarray, "n ..."], n: int) -> Shaped[np.ndarray, "n_padded ..."]:
    return np.pad(array, ((0, n - len(array)), *((0, 0),) * (array.ndim - 1)))


# ---------------------------------------------------------------- processes


def join_processes(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    """Joins this process with others; must be called before JAX computes anything.

    Args:
      coordinator: Host and port of process 0. Arguments left None are detected on Slurm, Kubernetes and Cloud TPU.
      num_processes: How many there are.
      process_id: Which one this is, from 0.

    Raises:
      DigitjaxError: Nothing was detected, or the others can't be reached.
    """
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id)
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise DigitjaxError(
            f"--distributed: {reason}. On Slurm, Kubernetes and Cloud TPU the other processes are found; "
            "elsewhere give --coordinator HOST:PORT --num-processes N --process-id I"
        ) from error


# Words in JAX's errors when the link to another process is broken: the transport, or the coordinator's status.
_LOSS = re.compile("gloo|nccl|unavailable|deadline_exceeded|heartbeat", re.IGNORECASE)


def is_loss_of_another(error: Exception) -> bool:
    """Whether an error, or one of its causes, says that another process is gone.

    If not, this process ran out of memory, say, or has a bug.
    """
    if jax.process_count() == 1:
        return False
    causes: list[BaseException] = [error]
    while cause := causes[-1].__cause__:
        causes.append(cause)
    return any(isinstance(cause, (RuntimeError, ValueError)) and _LOSS.search(str(cause)) for cause in causes)


@functools.cache
def _first_process_id() -> int:
    return os.getpid()


def refuse_fork() -> None:
    """Refuses to compute in a fork of a process that has computed: JAX would wait forever for threads a fork lacks.

    Raises:
      DigitjaxError: This is such a process.
    """
    if os.getpid() != _first_process_id():  # a fork inherits the cache
        raise DigitjaxError(
            "this process was forked from one that had used a model, and lacks the threads that JAX started there: "
            "start it with multiprocessing.get_context('spawn'), or use models in the forked processes alone"
        )


def is_first_process() -> bool:
    """Whether this is the process that prints, and writes all files but Orbax's."""
    return jax.process_index() == 0


def gather(n: int) -> Int[np.ndarray, "processes"]:
    """Returns each process's `n`."""
    if jax.process_count() == 1:
        return np.array([n], np.int32)
    return np.asarray(multihost_utils.process_allgather(np.int32(n)), np.int32)


def agree(values: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
    """Returns the first process's values: the others' may differ by rounding, and decisions depend on them."""
    if jax.process_count() == 1:
        return values
    halves = multihost_utils.broadcast_one_to_all(values.view(np.uint32))  # JAX would round them to 32 bits
    return np.asarray(halves).view(values.dtype)


def wait_for_all(what: str) -> None:
    """Waits until all processes get here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


@contextlib.contextmanager
def first_process_first(what: str) -> Iterator[None]:
    """Runs the block in the first process, and then in the others."""
    if not is_first_process():
        wait_for_all(what)
    try:
        yield
    finally:
        if is_first_process():
            wait_for_all(what)


def join_rows(array: Shaped[np.ndarray, "n ..."], counts: Int[np.ndarray, "processes"]) -> Shaped[Array, "n_all ..."]:
    """Makes one array, divided among all devices, from the rows of each process; see `locate_rows`."""
    rows = _pad_rows(array, _rows_per_process(counts))
    return jax.make_array_from_process_local_data(NamedSharding(global_mesh(), PartitionSpec(_AXIS)), rows)


def locate_rows(indices: Int[np.ndarray, "..."], counts: Int[np.ndarray, "processes"]) -> Int[np.ndarray, "..."]:
    """Returns where `join_rows` put rows that are numbered from 0 across all processes.

    Each process's rows are padded to the same number, so those of later processes lie further back.
    """
    starts = np.cumsum(counts) - counts
    process = np.searchsorted(starts, indices, side="right") - 1
    return (indices + process * _rows_per_process(counts) - starts[process]).astype(np.int32)


def _rows_per_process(counts: Int[np.ndarray, "processes"]) -> int:
    return round_up(int(counts.max()), local_mesh())
