"""Wall-clock time from the start of a process to a network with 99.0 % and with 99.5 % on MNIST's test set.

    pip install -e '.[bench]'
    python benchmarks/time_to_accuracy.py FOLDER --out benchmarks/time_to_accuracy.json     # FOLDER: MNIST's four files

Each contender is a whole process: it imports, reads the data, compiles, trains for a number of epochs fixed in advance,
and reads the test set once, at the end. Those of digitjax are `python -m digitjax.train` with a preset, and also write
checkpoints, plots and a report. Those of PyTorch and Keras train cnn-32-64-64 with Adam at 1e-3 and batches of 128 on
all 60,000 images (`trainers.py`), and write nothing. They take turns, each turn with a new seed.
"""

import argparse
import gzip
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import trainers
from machine import describe_machine

PRESETS = ("quick", "default")

# With the smallest number of epochs after which the accuracy on our 5,000 validation images was 99.0 %, for seed 10 and
# without these images in training.
PEERS = {"PyTorch": (trainers.TorchTrainer, 6), "Keras": (trainers.KerasTrainer, 9)}


def read_idx(folder: Path, name: str) -> np.ndarray:
    """Reads one of MNIST's files, without any checks, so that the peers lose no time."""
    data = gzip.decompress((folder / name).read_bytes())
    shape = [int.from_bytes(data[4 * i : 4 * i + 4]) for i in range(1, 1 + data[3])]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def read_dataset(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads the images and labels of MNIST's part `train` or `t10k`."""
    return read_idx(folder, f"{part}-images-idx3-ubyte.gz")[..., None], read_idx(folder, f"{part}-labels-idx1-ubyte.gz")


def run_peer(name: str, folder: Path, seed: int) -> float:
    """Trains and evaluates a peer in this process, and returns its accuracy."""
    kind, epochs = PEERS[name]
    trainer = kind(*read_dataset(folder, "train"), seed)
    for _ in range(epochs):
        trainer.train_epoch()
    images, labels = read_dataset(folder, "t10k")
    return float((trainer.predict(images).argmax(-1) == labels).mean())


def run_process(name: str, folder: Path, seed: int) -> dict[str, float]:
    """Runs one contender as a whole process; returns its seconds and its accuracy."""
    with tempfile.TemporaryDirectory() as temp:
        if name in PEERS:
            command = [sys.executable, __file__, str(folder), "--peer", name, "--seed", str(seed)]
        else:
            command = [sys.executable, "-m", "digitjax.train", "--dataset", "mnist", "--preset", name]
            command += ["--seed", str(seed), "--out", temp, "--idx-dir", str(folder)]
        begin = time.perf_counter()
        output = subprocess.run(command, check=True, text=True, capture_output=True).stdout  # noqa: S603 - our own
        seconds = time.perf_counter() - begin
        report = Path(temp) / "report.json"
        accuracy = json.loads(report.read_text())["accuracy"] if name in PRESETS else float(output.split()[-1])
    return {"seconds": seconds, "accuracy": accuracy}


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder with MNIST's four files")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        print(run_peer(args.peer, args.folder, args.seed))
        return
    machine = describe_machine({"digitjax", "jax", "torch", "keras", "tensorflow", "tensorflow-cpu"})
    print(json.dumps(machine))
    figures: dict[str, list[dict[str, Any]]] = {name: [] for name in (*PRESETS, *PEERS)}
    for seed in range(args.seeds):
        for name, runs in figures.items():
            runs.append(run_process(name, args.folder, seed))
            print(f"{name}, seed {seed}: {runs[-1]['accuracy']:.2%} after {runs[-1]['seconds']:.1f} s", flush=True)
    print(f"{'':<12}{'seconds':>10}{'accuracy, mean':>16}{'lowest':>9}{'highest':>9}")
    for name, runs in figures.items():
        accuracies = [run["accuracy"] for run in runs]
        seconds = statistics.median(run["seconds"] for run in runs)
        mean, lowest, highest = statistics.mean(accuracies), min(accuracies), max(accuracies)
        print(f"{name:<12}{seconds:>10.1f}{mean:>16.2%}{lowest:>9.2%}{highest:>9.2%}")
    if args.out:
        args.out.write_text(json.dumps({"machine": machine, "runs": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
