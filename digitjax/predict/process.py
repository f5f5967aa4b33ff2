"""Process settings that make reading pictures faster, or save memory.

The commands and the demo apply them. The library doesn't, since the process isn't its own: a program that reads many
small pictures should call `set_up` before it uses JAX.
"""

import ctypes
import platform

import jax

# Enough for the arrays of one picture; the memory of the largest pictures is given back to the system.
KEPT_BYTES = 64 << 20

# mallopt(3)'s parameters.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8


def set_up() -> None:
    """Makes reading pictures one by one as fast as possible, see `keep_freed_memory` and `compute_in_place`."""
    keep_freed_memory()
    compute_in_place()


def keep_freed_memory() -> None:
    """Makes the GNU C library keep freed memory, as it does by itself once a program has freed an array of 32 MiB.

    Memory given back to the system returns as new pages to be zeroed, which takes a quarter of a picture's time.
    """
    _set_malloc(M_TRIM_THRESHOLD, KEPT_BYTES)  # more free memory than this is given back
    _set_malloc(M_MMAP_THRESHOLD, KEPT_BYTES // 2)  # larger arrays are never kept


def share_heaps(num_heaps: int = 4) -> None:
    """Makes all threads share a few heaps, for servers with many threads.

    The GNU C library would give each of forty threads its own heap, and no thread could use what another had freed:
    under load, a server's memory grew by about 100 MB more (`benchmarks/siege.py`).
    """
    _set_malloc(M_ARENA_MAX, num_heaps)


def _set_malloc(parameter: int, value: int) -> None:
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(parameter, value)


def compute_in_place() -> None:
    """Makes JAX compute on the CPU in the calling thread, which waits for the answer anyway.

    Waking another thread and being woken by it takes up to a third of a small picture's time. JAX reads this setting
    when it creates its CPU client; if there already is one, nothing changes.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)
