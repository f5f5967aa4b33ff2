import platform
import subprocess
import sys

import pytest

# Allocates and frees eight arrays together, ten times over; prints how often the kernel had to find that much memory.
COUNT_FAULTS = """
import ctypes
import resource
import sys
from digitjax import memory
size, kept = map(int, sys.argv[1:])
if kept:
    memory.keep_freed_memory(kept)
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    places = [libc.malloc(size // 8) for _ in range(8)]
    for place in places:
        ctypes.memset(place, 1, size // 8)
    for place in places:
        libc.free(place)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize() / size)
"""


def count_faults(size, kept):
    command = [sys.executable, "-c", COUNT_FAULTS, str(size), str(kept)]
    return float(subprocess.run(command, capture_output=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries do as they do")
@pytest.mark.parametrize(("size", "kept"), [(20 << 20, 64 << 20), (400 << 20, 1 << 31)])
def test_freed_memory_is_kept(size, kept):
    assert count_faults(size, kept) < count_faults(size, 0) / 4


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries do as they do")
def test_no_more_is_kept_than_was_said():
    assert count_faults(80 << 20, 64 << 20) > count_faults(80 << 20, 0) / 2
