"""What a benchmark ran on."""

import contextlib
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any


def describe_machine(packages: set[str]) -> dict[str, Any]:
    """Returns processor, number of processors that may be used, and the versions of those packages that are there."""
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
