"""What all benchmarks share: the machine, the versions of what is measured, and the one object that each prints."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "shap", "captum", "numba", "faiss-cpu", "scikit-learn", "grpcio", "numpy")


def outcome(name: str, measured: dict[str, Any]) -> dict[str, Any]:
    """Return the object that `vidi bench NAME --json` prints: what was measured, and on what."""
    return {"name": name, "machine": machine(), "versions": versions(), **measured}


def machine() -> dict[str, Any]:
    """Return what kind of machine this is."""
    cpu = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    return {"cpu": cpu, "cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}


def versions() -> dict[str, str]:
    """Return the versions of what is measured."""
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found
