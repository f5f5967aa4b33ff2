"""What several test modules need: real digits, a run trained on them, and a way to run commands as a user does."""

import contextlib
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import numpy as np
import pytest

from digitjax.data.arrays import Splits
from digitjax.data.splits import IDX_DIR_VARIABLE, load_splits
from digitjax.train import __main__ as command

REPOSITORY = Path(__file__).parent.parent

# The run behind the `run` fixture: a small network on scikit-learn's bundled digits, some seconds of training.
TINY_RUN = ["--dataset", "digits", "--model", "mlp", "--epochs", "6", "--batch-size", "32"]


@pytest.fixture(scope="session")
def digits() -> Splits:
    """Scikit-learn's bundled digits: real handwriting that needs neither files nor network."""
    return load_splits("digits")


@pytest.fixture(scope="session")
def mnist(tmp_path_factory) -> Splits:
    """MNIST from the IDX files that DIGITJAX_IDX_DIR names."""
    if not os.environ.get(IDX_DIR_VARIABLE):
        pytest.skip(f"MNIST isn't here: {IDX_DIR_VARIABLE} names no folder with its IDX files")
    return load_splits("mnist", tmp_path_factory.mktemp("tfds"))


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """The folder of a finished run."""
    out = tmp_path_factory.mktemp("runs") / "digits-mlp"
    assert command.main([*TINY_RUN, "--out", str(out)]) == 0
    return out


@pytest.fixture
def no_type_checks(monkeypatch):
    """Lets values of the wrong type through to the library's own errors."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
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
def start_demo(*arguments: str, python: str = sys.executable) -> Iterator[tuple[str, subprocess.Popen]]:
    """Runs an app of Gradio's in a process of its own, and gives its address and the process once it listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [python, "-u", *arguments, "--port", str(port)]  # unbuffered: the line must come when it is printed
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
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
def demo() -> Iterator[str]:
    """The address of the running demo."""
    with start_demo(str(REPOSITORY / "demo" / "app.py")) as (address, _):
        yield address


@pytest.fixture
def seven() -> np.ndarray:
    """A 7 drawn with straight strokes: dark ink on white paper, uint8 [120, 100]."""
    from PIL import Image, ImageDraw

    paper = Image.new("L", (100, 120), 255)
    ImageDraw.Draw(paper).line([(25, 25), (75, 25), (42, 100)], fill=0, width=9, joint="curve")
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
