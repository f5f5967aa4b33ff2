"""Describes the machine of a benchmark, and lets contenders take turns on it."""

import contextlib
import importlib.metadata
import multiprocessing
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any


def describe_machine(packages: set[str]) -> dict[str, Any]:
    """Returns processor, number of usable processors, and the versions of those packages that are installed."""
    versions = {}
    for package in sorted(packages):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
    }


def take_turns(
    work: Callable[..., None], names: Sequence[str], arguments: tuple[Any, ...], num_turns: int
) -> Iterator[tuple[str, Any]]:
    """Lets contenders measure in turn, so that all get the same conditions; yields names and results.

    Each waits in its own process. Its first turn, in which it compiles and warms up, isn't yielded.

    Args:
      work: Called as `work(name, *arguments, connection)` in each process: for every True that it receives, it
        measures and sends the result; at the first False it returns.
      names: The contenders.
      arguments: The arguments that all get.
      num_turns: How often each measures.
    """
    context = multiprocessing.get_context("spawn")  # no framework survives a fork
    workers = {}
    for name in names:
        ours, theirs = context.Pipe()
        workers[name] = (context.Process(target=work, args=(name, *arguments, theirs), daemon=True), ours)
        workers[name][0].start()
    for turn in range(num_turns + 1):
        for name, (_, connection) in workers.items():
            connection.send(True)
            found = connection.recv()
            if turn:
                yield name, found
    for process, connection in workers.values():
        connection.send(False)
        process.join()
