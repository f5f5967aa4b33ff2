import os
import platform
import subprocess
import sys

import pytest

# Allocates and frees eight arrays together, ten times over, of each size; prints how often the kernel had to find that
# much memory.
COUNT_FAULTS = """
import ctypes
import resource
import sys
from digitjax.predict import process
if sys.argv[1] == "keep":
    process.keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
for size in map(int, sys.argv[2:]):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        places = [libc.malloc(size // 8) for _ in range(8)]
        for place in places:
            ctypes.memset(place, 1, size // 8)
        for place in places:
            libc.free(place)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize() / size)
"""


def count_faults(how, *sizes):
    command = [sys.executable, "-c", COUNT_FAULTS, how, *map(str, sizes)]
    return map(float, subprocess.run(command, capture_output=True, check=True).stdout.split())


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries do as they do")
def test_freed_memory_is_kept_but_no_more_than_was_said():
    few_kept, many_kept = count_faults("keep", 20 << 20, 80 << 20)
    few, many = count_faults("as usual", 20 << 20, 80 << 20)
    assert few_kept < few / 4
    assert many_kept > many / 2


# Prints whether a product that takes a while is there once the function that starts it has returned.
COMPUTE = """
import sys
import jax
import jax.numpy as jnp
from digitjax.predict import Recognizer
if sys.argv[1] == "load":
    Recognizer.load()
square = jax.jit(lambda x: x @ x)
matrix = jnp.ones((1500, 1500))
square(matrix).block_until_ready()
print(square(matrix).is_ready())
"""


@pytest.mark.parametrize(("how", "is_there"), [("load", "True"), ("as usual", "False")])
def test_an_answer_is_computed_in_the_thread_that_asks(how, is_there):
    command = [sys.executable, "-c", COMPUTE, how]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    result = subprocess.run(command, capture_output=True, check=True, text=True, env=environment)
    assert result.stdout.split() == [is_there]
