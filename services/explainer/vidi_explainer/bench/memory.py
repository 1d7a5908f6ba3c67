"""Peak memory of contenders, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from vidi.bundle import Bundle
from vidi.errors import InternalError, PreconditionFailed

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Usage:
    """Peaks above what the process held once the network was loaded, in bytes.

    Attributes
    ----------
    anonymous
        Memory of the process's own (RssAnon): what counts against it.
    mapped
        Pages of files mapped into memory (RssFile) and of shared memory (RssShmem).
    """

    anonymous: int
    mapped: int


def require_linux() -> None:
    """Raise PreconditionFailed where the system does not tell a process's anonymous memory."""
    if not STATUS.is_file():
        raise PreconditionFailed(f"this benchmark reads {STATUS}: it runs on Linux only")


def measure(contender: str, bundle: Bundle, cache: Path, *, films: int = 1) -> Usage:
    """Open a contender in a new process, let it explain films, and return its peaks.

    Parameters
    ----------
    contender
        As `open_contender` takes it.
    bundle
        The network and the references.
    cache
        Where engines may keep files.
    films
        Films explained one after the other.

    Raises
    ------
    InternalError
        When the process fails; what it says goes to standard error.
    """
    module = "vidi_explainer.bench.memory_worker"
    command = [sys.executable, "-m", module, contender, str(bundle.path), str(cache), "--films", str(films)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own module
    if done.returncode:
        raise InternalError(f"measuring the memory of {contender} failed")
    return Usage(**json.loads(done.stdout.splitlines()[-1]))
