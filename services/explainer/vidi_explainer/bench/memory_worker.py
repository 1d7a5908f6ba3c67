"""Measure one contender's peak memory: `python -m vidi_explainer.bench.memory_worker CONTENDER BUNDLE CACHE`.

The baseline is what the process holds with all libraries imported and the network loaded once. The contender loads the
network again in its place, so that its references, rearranged weights and working memory are what is counted.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import sys
import threading
from importlib import import_module
from pathlib import Path

from vidi.bundle import load
from vidi_explainer.bench import films as phantoms
from vidi_explainer.bench.contenders import open_contender
from vidi_explainer.bench.memory import STATUS, Usage
from vidi_explainer.engine import ENGINES

PERIOD_SECONDS = 0.005


class Sampler:
    """Keeps the largest figures that it sees, from the start of a `with` block to its end."""

    def __init__(self) -> None:
        self.peak = Usage(0, 0)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(PERIOD_SECONDS):
            now = usage()
            self.peak = Usage(max(self.peak.anonymous, now.anonymous), max(self.peak.mapped, now.mapped))


def usage() -> Usage:
    """Return what this process holds now."""
    held = {}
    for line in STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.startswith("Rss"):
            held[name] = int(value.split()[0]) * 1024
    return Usage(held["RssAnon"], held["RssFile"] + held["RssShmem"])


def measure(contender: str, bundle_path: Path, cache: Path, count: int) -> Usage:
    """Return a contender's peaks above the baseline."""
    from vidi.models import load_network

    bundle = load(bundle_path)
    grids = phantoms.measured(count, bundle.preprocessing)
    import_module(ENGINES[contender].partition(":")[0] if contender in ENGINES else "vidi_explainer.bench.rivals")
    network = load_network(bundle)
    _give_back()
    baseline = usage()
    del network
    _give_back()
    with Sampler() as sampler:
        opened = open_contender(contender, bundle, cache)
        for grid in grids:
            opened.run(grid)
    return Usage(sampler.peak.anonymous - baseline.anonymous, sampler.peak.mapped - baseline.mapped)


def _give_back() -> None:
    """Return freed memory to the system: what the allocator kept would be counted as the contender's, or hide it."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contender")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--films", type=int, default=1)
    given = parser.parse_args()
    found = measure(given.contender, given.bundle, given.cache, given.films)
    sys.stdout.write(json.dumps({"anonymous": found.anonymous, "mapped": found.mapped}) + "\n")


if __name__ == "__main__":
    main()
