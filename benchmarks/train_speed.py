"""Training throughput on the CPU: digitjax, PyTorch, Keras and typical Flax code, on the same work.

    pip install -e '.[bench]'
    python benchmarks/train_speed.py --idx-dir FOLDER --out benchmarks/train_speed.json

The work is one epoch of cnn-32-64-64 (93,322 parameters), batch 128, Adam, over the training images: `trainers.py`.
Each framework waits in its own process, with its network compiled. They take turns, so that all get the same
conditions. It prints images per second, median and range over the turns, and the ratios of medians.
"""

import argparse
import json
import statistics
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import trainers
from machine import describe_machine, take_turns

from digitjax.data.splits import load_splits

# By name: the class in `trainers.py`, and the packages whose versions matter.
PEERS: dict[str, tuple[type[trainers.Trainer], tuple[str, ...]]] = {
    "digitjax": (trainers.DigitjaxTrainer, ("digitjax", "jax")),
    "PyTorch": (trainers.TorchTrainer, ("torch",)),
    "Keras": (trainers.KerasTrainer, ("keras", "tensorflow", "tensorflow-cpu")),
    "stock Flax": (trainers.FlaxTrainer, ("flax", "jax")),
}


def work(name: str, images: np.ndarray, labels: np.ndarray, connection: Connection) -> None:
    """Trains an epoch on request, in its own process, and answers with the seconds."""
    trainer = PEERS[name][0](images, labels)
    while connection.recv():
        begin = time.perf_counter()
        trainer.train_epoch()
        connection.send(time.perf_counter() - begin)


def measure(images: np.ndarray, labels: np.ndarray, num_turns: int) -> dict[str, list[float]]:
    """Returns the images per second of each turn, for each framework."""
    speeds: dict[str, list[float]] = {name: [] for name in PEERS}
    for name, seconds in take_turns(work, list(PEERS), (images, labels), num_turns):
        speeds[name].append(len(labels) / seconds)
        print(f"{name}: {speeds[name][-1]:,.0f} images/s", flush=True)
    return speeds


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idx-dir", type=Path, help="a folder with MNIST's four files (default: ask TFDS)")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--images", type=int, help="use only this many training images, for a quick look")
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    args = parser.parse_args()
    train = load_splits("mnist", None, args.idx_dir).train
    machine = describe_machine({package for _, packages in PEERS.values() for package in packages})
    print(json.dumps(machine))
    speeds = measure(train.images[: args.images], train.labels[: args.images], args.turns)
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    print(f"{'':<12}{'images/s':>10}{'lowest':>10}{'highest':>10}{'digitjax is':>14}")
    for name, values in speeds.items():
        ratio = medians["digitjax"] / medians[name]
        print(f"{name:<12}{medians[name]:>10,.0f}{min(values):>10,.0f}{max(values):>10,.0f}{ratio:>13.2f}x")
    if args.out:
        args.out.write_text(json.dumps({"machine": machine, "images_per_second": speeds}, indent=2) + "\n")


if __name__ == "__main__":
    main()
