"""How the GNU C library, Linux's usual one, manages memory."""

import ctypes
import platform

# What mallopt(3) calls M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_MMAP_MAX.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4


def keep_freed_memory(num_bytes: int) -> None:
    """Has the process keep up to `num_bytes` of freed memory, at most 2 GiB, rather than hand it back to the kernel.

    Arrays that are made and freed over and over would be given new pages each time, and the kernel fills each with
    zeros first: an eighth of the time that `vgg` trains, a quarter of the time in which a picture is preprocessed.
    With other C libraries nothing is changed.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc, num_bytes = ctypes.CDLL(None), min(num_bytes, 2**31 - 1)
    libc.mallopt(_TRIM_THRESHOLD, num_bytes)
    # Arrays from this size on are mappings of their own, and never kept; it can be 32 MiB at most, or there are none.
    if not libc.mallopt(_MMAP_THRESHOLD, num_bytes // 2):
        libc.mallopt(_MMAP_MAX, 0)
