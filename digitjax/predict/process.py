"""Settings of the process that reads pictures, which make it faster or smaller.

The commands and the demo make them. The library doesn't by itself, since the process isn't its own: a program that
reads many small pictures calls `set_up` before it uses JAX.
"""

import ctypes
import platform

import jax

# What the arrays of one picture come to; those of the largest pictures are handed back.
KEPT_BYTES = 64 << 20

# mallopt(3)'s parameters.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8


def set_up() -> None:
    """Makes reading pictures one by one as fast as it can be, see `keep_freed_memory` and `compute_in_place`."""
    keep_freed_memory()
    compute_in_place()


def keep_freed_memory() -> None:
    """Has the GNU C library keep freed memory, as it does by itself once a program has freed an array of 32 MiB.

    Handed back, it comes again as new pages, each to be filled with zeros: a quarter of the time that a picture takes.
    """
    _set_malloc(M_TRIM_THRESHOLD, KEPT_BYTES)  # from how many free bytes on they are handed back
    _set_malloc(M_MMAP_THRESHOLD, KEPT_BYTES // 2)  # how large arrays may be to be kept at all


def share_heaps(num_heaps: int = 4) -> None:
    """Has all threads share a few heaps, for servers with many threads.

    The GNU C library would give each of forty threads its own, and what one of them gave back, no other could use: the
    memory of a server under load grew by some 100 MB more (`benchmarks/siege.py`).
    """
    _set_malloc(M_ARENA_MAX, num_heaps)


def _set_malloc(parameter: int, value: int) -> None:
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(parameter, value)


def compute_in_place() -> None:
    """Has JAX compute on the CPU in the thread that asks, as one picture's answer is waited for at once.

    To wake another thread and be woken by it takes up to a third of the time that a small picture takes. JAX reads this
    when it makes its CPU client; where there is one already, nothing changes.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)
