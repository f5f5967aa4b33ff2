import os
import platform
import subprocess
import sys

import pytest
from PIL import Image

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
from digitjax.predict import Recognizer, process
if sys.argv[1] == "set up":
    process.set_up()
Recognizer.load()
square = jax.jit(lambda x: x @ x)
matrix = jnp.ones((1500, 1500))
square(matrix).block_until_ready()
print(square(matrix).is_ready())
"""


@pytest.mark.parametrize(("how", "is_there"), [("set up", "True"), ("a library", "False")])
def test_an_answer_is_computed_in_the_thread_that_asks_where_the_process_is_set_up(how, is_there):
    command = [sys.executable, "-c", COMPUTE, how]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    result = subprocess.run(command, capture_output=True, check=True, text=True, env=environment)
    assert result.stdout.split() == [is_there]


# Uses the library as a program would, and prints what of the process has changed.
USE = """
import ctypes, sys
import jax
libc = ctypes.CDLL(None)
settings = lambda: (jax.config.values.copy(), sys.unraisablehook, sys.excepthook)
before, calls = settings(), []
real = ctypes.CDLL
ctypes.CDLL = lambda *args, **options: calls.append(args) or real(*args, **options)
import digitjax
from digitjax.config import TrainConfig
from digitjax.data.splits import load_splits
from digitjax.train.loop import fit
from pathlib import Path
digitjax.Recognizer.load().predict_digit(sys.argv[1])
digits = load_splits("digits")
fit(TrainConfig(dataset="digits", model="mlp", epochs=1), digits, Path(sys.argv[2]), show_progress=False)
after = settings()
changed = [name for name in before[0] if before[0][name] != after[0][name]]
print(changed, before[1:] == after[1:], [args for args in calls if args == (None,)])
"""


def test_the_library_changes_nothing_of_the_process(python, tmp_path, seven):
    Image.fromarray(seven).save(tmp_path / "seven.png")
    result = python("-c", USE, str(tmp_path / "seven.png"), str(tmp_path / "run"))
    assert result.stdout.decode().strip() == "[] True []", result.stderr.decode()
