"""What durability costs on this disk: the steps that a film takes, one after the other, and nothing around them."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

BYTES = 4 << 20
_PAGE = 16 << 10


def probe(directory: Path, rounds: int = 15) -> dict[str, float]:
    """Return medians in milliseconds: writing and syncing a film of 4 MiB, its directory, and 16 KiB of a log.

    Parameters
    ----------
    directory
        On the disk in question; files that are made there are removed.
    rounds
        Repetitions.
    """
    directory.mkdir(parents=True, exist_ok=True)
    data = os.urandom(BYTES)
    seen: dict[str, list[float]] = {}

    def timed(name: str, call: Callable[[], object]) -> None:
        started = time.perf_counter()
        call()
        seen.setdefault(name, []).append(1e3 * (time.perf_counter() - started))

    log, names = directory / "log", [directory / f"film{i}" for i in range(rounds)]
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with log.open("wb", buffering=0) as file:
            for name in names:
                with name.open("xb", buffering=0) as film:
                    timed("write_4mib_ms", lambda film=film: film.write(data))  # type: ignore[misc]
                    timed("fsync_4mib_ms", lambda film=film: os.fsync(film.fileno()))  # type: ignore[misc]
                timed("fsync_directory_ms", lambda: os.fsync(folder))
                file.write(data[:_PAGE])
                timed("fdatasync_16kib_ms", lambda: os.fdatasync(file.fileno()))
    finally:
        os.close(folder)
        for name in [log, *names]:
            name.unlink(missing_ok=True)
    return {name: round(statistics.median(values), 3) for name, values in seen.items()}
