"""Threads and memory that calls share: a crew for compiled loops, a pool of buffers for one call."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise

import torch


class Crew:
    """Runs a compiled loop on several threads, the caller's among them.

    A part that no thread has begun when the caller is done with its own is done by the caller: calls that share a busy
    crew never wait for each other's parts.

    Parameters
    ----------
    threads
        Parts that a loop is cut into, at least 1.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads - 1, thread_name_prefix="vidi-deepshap") if threads > 1 else None

    def share(self, ranges: list[tuple[int, int]], work: Callable[[list[tuple[int, int]], int], None]) -> None:
        """Call `work(ranges, part)` for parts of ranges until all of them are done.

        Parameters
        ----------
        ranges
            First and last (exclusive) item of each range; every part gets a piece of each.
        work
            Must release the interpreter lock to gain anything. Parts are numbered from 0; each runs once.
        """
        pieces = [_pieces(first, last, self.threads) for first, last in ranges]
        others = []
        try:
            if self._pool is not None:
                for part in range(1, self.threads):
                    mine = [piece[part] for piece in pieces]
                    others.append((self._pool.submit(work, mine, part), mine, part))
            work([piece[0] for piece in pieces], 0)
            for future, mine, part in others:
                if future.cancel():
                    work(mine, part)
        finally:
            # Whatever happened (Ctrl-C among it): nobody may still write when the caller's buffers are given back.
            wait([future for future, _, _ in others if not future.cancel()])
        for future, _, _ in others:
            if not future.cancelled():
                future.result()


def _pieces(first: int, last: int, parts: int) -> list[tuple[int, int]]:
    edges = [first + (last - first) * i // parts for i in range(parts + 1)]
    return list(pairwise(edges))


class Workspace:
    """Buffers of one call, kept for the next one: a large allocation costs as much as filling it.

    Not thread-safe: one call at a time.
    """

    def __init__(self) -> None:
        self._free: list[torch.Tensor] = []
        self._taken: dict[int, torch.Tensor] = {}

    def take(self, count: int, dtype: torch.dtype) -> torch.Tensor:
        """Return an uninitialised tensor (count,); the caller gives it back."""
        size = count * dtype.itemsize
        fitting = [i for i, buffer in enumerate(self._free) if len(buffer) >= size]
        if fitting:
            buffer = self._free.pop(min(fitting, key=lambda i: len(self._free[i])))
        else:
            if self._free:
                # The largest is the cheapest to replace: sizes settle after one call.
                self._free.pop(max(range(len(self._free)), key=lambda i: len(self._free[i])))
            buffer = torch.empty(size, dtype=torch.uint8)
        self._taken[buffer.data_ptr()] = buffer
        return buffer[:size].view(dtype)

    def give(self, tensor: torch.Tensor) -> None:
        """Take back what `take` returned (any view that starts where it started)."""
        self._free.append(self._taken.pop(tensor.data_ptr()))

    def give_all(self) -> None:
        """Take back everything, after a call that was cut short."""
        self._free.extend(self._taken.values())
        self._taken.clear()
