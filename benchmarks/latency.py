"""How long reading takes: one picture when warm, ten thousand digits, and a whole process for one picture.

    pip install -e '.[bench]'
    python benchmarks/latency.py --out benchmarks/latency.json

digitjax, PyTorch, Keras and ONNX Runtime take turns at running the shipped network with its weights (`vgg_peers.py`).
digitjax also finds the ink, repairs it and checks whether there is a digit at all; the others do what tutorials do:
convert to grey, invert, reduce to 28x28. It prints medians over the turns, and each process's peak memory.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import vgg_peers
from machine import describe_machine, take_turns

OURS = "digitjax"
NAMES = (OURS, *vgg_peers.LOADERS)

# A drawing as large as a small upload.
SKETCH, SKETCH_SIZE = "sketch.png", 280
NUM_DIGITS = 10_000
WARM_READINGS = 200

# The largest difference between two frameworks' logits that float32 rounding explains.
MAX_DIFFERENCE = 1e-3


def prepare(folder: Path) -> None:
    """Writes the peers' models and a sketch, in its own process: its memory would count towards its children's."""
    from read_speed import draw_sketch, encode

    from digitjax.runs.weights import default_checkpoint, load_model

    (folder / SKETCH).write_bytes(encode(draw_sketch(SKETCH_SIZE), "PNG"))
    vgg_peers.export(load_model(default_checkpoint()).variables, folder)


def load(name: str, folder: Path) -> tuple[Callable[[bytes], int | None], vgg_peers.Predict]:
    """Returns a function that reads one picture, and one that computes logits."""
    if name != OURS:
        predict = vgg_peers.LOADERS[name](folder)
        return lambda picture: int(predict(vgg_peers.prepare(picture)).argmax()), predict
    from digitjax.nn.inference import compute_logits
    from digitjax.predict import Recognizer, process

    process.set_up()
    recognizer = Recognizer.load()
    trained = recognizer.trained
    return (
        lambda picture: recognizer.predict_digit(picture).digit,
        lambda images: compute_logits(trained.apply, images),
    )


def work(name: str, folder: Path, picture: bytes, images: np.ndarray, connection: Connection) -> None:
    """Measures on request, in its own process; sends seconds, digits per second, logits and memory."""
    read, predict = load(name, folder)
    while connection.recv():
        seconds = []
        for _ in range(WARM_READINGS):
            begin = time.perf_counter()
            read(picture)
            seconds.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        logits = predict(images)
        speed = len(images) / (time.perf_counter() - begin)
        connection.send((seconds, speed, logits[:100], 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


def measure_warm(folder: Path, num_turns: int) -> dict[str, dict[str, Any]]:
    """Returns for each framework the seconds of all readings, the digits per second of each turn, and the memory."""
    picture = (folder / SKETCH).read_bytes()
    images = np.random.default_rng(0).integers(0, 256, (NUM_DIGITS, 28, 28, 1)).astype(np.uint8)
    figures: dict[str, dict[str, Any]] = {name: {"seconds": [], "digits_per_second": []} for name in NAMES}
    logits = {}
    for name, (seconds, speed, logits[name], memory) in take_turns(work, NAMES, (folder, picture, images), num_turns):
        figures[name]["seconds"] += seconds
        figures[name]["digits_per_second"].append(speed)
        figures[name]["memory"] = memory
    for name in NAMES:
        difference = float(np.abs(logits[name] - logits[OURS]).max())
        if difference > MAX_DIFFERENCE:
            raise SystemExit(f"{name} is another network: its logits differ by {difference:g}")
    return figures


def measure_process(command: list[str]) -> tuple[float, int]:
    """Returns the seconds and the peak memory of a whole process."""
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # noqa: S603
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {process.returncode}")
    return seconds, 1024 * usage.ru_maxrss


def measure_cold(folder: Path, num_turns: int) -> dict[str, list[tuple[float, int]]]:
    """Returns seconds and memory of whole processes that read one picture; the first turn warms the disk cache."""
    peers, path = vgg_peers.__file__, folder / SKETCH
    commands = {name: [sys.executable, peers, name, str(folder), str(path)] for name in vgg_peers.LOADERS}
    commands = {OURS: [sys.executable, "-m", "digitjax.predict", str(path)], **commands}
    figures: dict[str, list[tuple[float, int]]] = {name: [] for name in NAMES}
    for turn in range(num_turns + 1):
        for name, command in commands.items():
            figure = measure_process(command)
            if turn:
                figures[name].append(figure)
    return figures


def summarize(warm: dict[str, Any], cold: list[tuple[float, int]]) -> dict[str, float]:
    """Returns one framework's figures."""
    return {
        "warm_p50_ms": round(1000 * float(np.percentile(warm["seconds"], 50)), 2),
        "warm_p99_ms": round(1000 * float(np.percentile(warm["seconds"], 99)), 2),
        "digits_per_second": round(statistics.median(warm["digits_per_second"])),
        "warm_memory_mb": round(warm["memory"] / 1e6),
        "cold_seconds": round(statistics.median(seconds for seconds, _ in cold), 2),
        "cold_memory_mb": round(statistics.median(memory for _, memory in cold) / 1e6),
    }


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    args = parser.parse_args()
    machine = describe_machine({"digitjax", "jax", "torch", "keras", "tensorflow", "tensorflow-cpu", "onnxruntime"})
    print(json.dumps(machine))
    with tempfile.TemporaryDirectory() as temp:
        folder = Path(temp)
        process = multiprocessing.get_context("spawn").Process(target=prepare, args=(folder,))
        process.start()
        process.join()
        cold, warm = measure_cold(folder, args.turns), measure_warm(folder, args.turns)
    figures = {name: summarize(warm[name], cold[name]) for name in NAMES}
    columns = list(figures[OURS])
    print(f"{'':<14}" + "".join(f"{column:>19}" for column in columns))
    for name, row in figures.items():
        print(f"{name:<14}" + "".join(f"{row[column]:>19,}" for column in columns))
    if args.out:
        args.out.write_text(json.dumps({"machine": machine, "figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
