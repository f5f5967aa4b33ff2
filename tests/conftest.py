"""What several test modules need: real digits, a run trained on them, and a way to run commands as a user does."""

import contextlib
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

# Most of the suite's time would go into making programs fast that run once, so XLA and LLVM leave out what takes them
# long, here and in the processes that tests start. `.ci/run` says 0, and so runs the programs that users run.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import jax
import jaxtyping
import numpy as np
import pytest
from filelock import FileLock
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

from digitjax import evaluate
from digitjax.config import DIGITS
from digitjax.data.arrays import Splits
from digitjax.data.idx import find_idx_files
from digitjax.data.published import IDX_DIR_VARIABLE, Mnist
from digitjax.data.splits import load_splits
from digitjax.predict import Recognizer
from digitjax.runs.files import RunFile
from digitjax.train import __main__ as command

REPOSITORY = Path(__file__).parent.parent

# The run behind the `run` fixture: a small network on scikit-learn's bundled digits, some seconds of training.
TINY_RUN = ["--dataset", "digits", "--model", "mlp", "--epochs", "6", "--batch-size", "32"]


def assert_same_trees(a, b):
    """Two trees of arrays are alike, bit for bit."""
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))


# ---------------------------------------------------------------- one suite, two workers

# Names the folder in which the processes of one test run keep what JAX has compiled.
COMPILED = "DIGITJAX_TESTS_COMPILED"

# What is compiled faster isn't worth a file.
MIN_COMPILE_SECONDS = 0.1


def pytest_configure(config):
    """Gives all workers one folder for what JAX compiles; it goes when the run ends."""
    if COMPILED not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="digitjax-compiled-")
        os.environ[COMPILED] = folder.name
        config.add_cleanup(folder.cleanup)
    jax.config.update("jax_compilation_cache_dir", os.environ[COMPILED])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_COMPILE_SECONDS)


@pytest.fixture(scope="session")
def compiled() -> dict[str, str]:
    """The environment by which a process that trains shares what this one has compiled."""
    return {
        "JAX_COMPILATION_CACHE_DIR": os.environ[COMPILED],
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": str(MIN_COMPILE_SECONDS),
    }


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Path:
    """A folder that all workers see; who makes something there holds its lock."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


# ---------------------------------------------------------------- data, models, runs


@pytest.fixture(scope="session")
def digits() -> Splits:
    """Scikit-learn's bundled digits: real handwriting that needs neither files nor network."""
    return load_splits("digits")


@pytest.fixture(scope="session")
def mnist_files() -> Path:
    """The folder with MNIST's IDX files that DIGITJAX_IDX_DIR names."""
    if not os.environ.get(IDX_DIR_VARIABLE):
        pytest.skip(f"MNIST isn't here: {IDX_DIR_VARIABLE} names no folder with its IDX files")
    return Path(os.environ[IDX_DIR_VARIABLE])


@pytest.fixture(scope="session")
def mnist(mnist_files) -> Splits:
    """MNIST from its files, without TFDS, which prepares it for ten seconds; validated on its first 5,000 digits."""
    paths = find_idx_files(mnist_files, list(Mnist.download_urls()))
    train, test = (files.read(paths, len(DIGITS)) for files in (Mnist.TRAIN, Mnist.TEST))
    validation, train = train.take(np.arange(5_000)), train.take(np.arange(5_000, len(train.labels)))
    return Splits("mnist", DIGITS, train, validation, test)


def write_semeion(folder: Path) -> list[int]:
    """Writes 1,000 of scikit-learn's digits in Semeion's format, and returns their labels."""
    bunch = load_digits()
    bitmaps, labels = (bunch.images[:1000] > 7).repeat(2, axis=1).repeat(2, axis=2), bunch.target[:1000]
    rows = [[*bitmap.ravel(), *(np.arange(10) == label)] for bitmap, label in zip(bitmaps, labels, strict=True)]
    (folder / "semeion.data").write_text("".join(" ".join(f"{x:.4f}" for x in row) + " \n" for row in rows))
    return labels.tolist()


@pytest.fixture(scope="session")
def recognizer() -> Recognizer:
    """The weights that ship."""
    return Recognizer.load()


@pytest.fixture(scope="session", autouse=True)
def few_negatives():
    """A tenth of the drawings by which an evaluation measures refusing: they are half of its time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "NUM_NEGATIVES", 100)
        yield


@pytest.fixture(scope="session")
def run(shared) -> Path:
    """The folder of a finished run, which no test changes."""
    out = shared / "runs" / "digits-mlp"
    with FileLock(shared / "run.lock"):
        if not (out / "report.html").exists():
            assert command.main([*TINY_RUN, "--out", str(out)]) == 0
    return out


def read_events(folder):
    """The scalars of all event files, as TensorBoard itself reads them: {tag: [(step, value)]}."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / RunFile.TENSORBOARD))
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.fixture
def no_type_checks(monkeypatch):
    """Lets values of the wrong type through to the library's own errors."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session")
def python():
    """Runs Python in a process of its own, as a user would: `python("-m", "digitjax.predict", "x.png")`."""

    def run_python(*arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=300,
            env={**os.environ, **environment},
        )

    return run_python


@contextlib.contextmanager
def start_demo(app: Path, temporary: Path, python: str = sys.executable) -> Iterator[tuple[str, subprocess.Popen]]:
    """Runs an app of Gradio's in a process with its own temporary folder; gives its address, once it listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [python, "-u", app, "--port", str(port)]  # unbuffered: the line must come when it is printed
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, **pipes, env={**os.environ, "TMPDIR": str(temporary)}) as process:
        printed = []
        for line in process.stdout:  # it ends where the process does
            printed.append(line)
            if "Running on local URL" in line:
                break
        else:
            raise RuntimeError("".join(printed))
        # Somebody must go on reading, or the process would stop at a full pipe.
        reader = threading.Thread(target=process.stdout.read)
        reader.start()
        try:
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.terminate()
            reader.join()


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory) -> Path:
    """The temporary folder of the running demo."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="session")
def demo(demo_folder) -> Iterator[str]:
    """The address of the running demo."""
    with start_demo(REPOSITORY / "demo" / "app.py", demo_folder) as (address, _):
        yield address


@pytest.fixture
def seven() -> np.ndarray:
    """A 7 drawn with straight strokes: dark ink on white paper, uint8 [120, 100]."""
    paper = Image.new("L", (100, 120), 255)
    ImageDraw.Draw(paper).line([(25, 25), (75, 25), (42, 100)], fill=0, width=9, joint="curve")
    return np.asarray(paper)


def draw_scribble():
    """A zigzag that no digit has: dark ink on white paper."""
    paper = Image.new("L", (200, 160), 255)
    points = [(20 + 16 * i, 30 if i % 2 else 130) for i in range(11)]
    ImageDraw.Draw(paper).line(points, fill=0, width=6, joint="curve")
    return np.asarray(paper)


@pytest.fixture
def full_disk():
    """A context in which no file may grow beyond 10,000 bytes."""

    @contextlib.contextmanager
    def limit():
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit
