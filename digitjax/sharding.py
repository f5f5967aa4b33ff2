"""How work is divided among devices: one mesh, the batch along its only axis, everything else on each device.

Arrays are placed here and jitted functions follow (https://docs.jax.dev/en/latest/sharded-computation.html), so the
same code runs on one device, where nothing here has an effect, and on many.
"""

import functools
from typing import TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Shaped

_AXIS = "batch"
_Tree = TypeVar("_Tree")


@functools.cache
def get_mesh() -> Mesh:
    """Returns all devices, along the axis `batch`."""
    return Mesh(np.array(jax.devices()), (_AXIS,))


def round_up(n: int) -> int:
    """Returns the smallest multiple of the number of devices that is at least `n`."""
    return -(-n // get_mesh().size) * get_mesh().size


def replicate(tree: _Tree) -> _Tree:
    """Puts a copy of each array on every device."""
    return jax.device_put(tree, NamedSharding(get_mesh(), PartitionSpec()))


def split_rows(array: Shaped[np.ndarray, "n ..."]) -> Shaped[Array, "n_padded ..."]:
    """Divides an array among the devices along its first axis, filled up with zeros to a multiple of their number."""
    rest = round_up(len(array)) - len(array)
    padded = np.pad(array, ((0, rest), *((0, 0),) * (array.ndim - 1)))
    return jax.device_put(padded, NamedSharding(get_mesh(), PartitionSpec(_AXIS)))


def divide(array: Shaped[Array, "..."], axis: int = 0) -> Shaped[Array, "..."]:
    """Inside a jitted function: says that from here on each device has its part of an array, along one axis.

    Where the devices don't divide the axis, XLA pads it and leaves the padding out of every sum.
    """
    if get_mesh().size == 1:
        return array
    sharding = NamedSharding(get_mesh(), PartitionSpec(*[None] * axis, _AXIS))
    return jax.lax.with_sharding_constraint(array, sharding)
