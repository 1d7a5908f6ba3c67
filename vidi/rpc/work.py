"""A bounded queue in front of computation threads. Knows no RPC."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from vidi import metrics
from vidi.errors import Exhausted, Expired, Unavailable

T = TypeVar("T")


class WorkQueue:
    """Runs functions on `threads` threads of its own; at most `size` more may wait.

    Cancelled or expired work is dropped before it starts; what has started runs to its end, because a computation in a
    native library cannot be stopped.

    Parameters
    ----------
    name
        For metrics and thread names.
    size
        Requests that may wait; one more gets `Exhausted`.
    threads
        Computation threads. 1 serialises what is not re-entrant.
    """

    def __init__(self, name: str, *, size: int, threads: int = 1) -> None:
        self.name = name
        self._size = size
        self._slots = asyncio.Semaphore(threads)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"vidi-{name}")
        self._waiting = 0
        self._running = 0
        self._mean_seconds = 1.0
        self._threads = threads
        self._closed = False

    @property
    def depth(self) -> int:
        """Requests that wait."""
        return self._waiting

    @property
    def in_flight(self) -> int:
        """Requests that are being computed."""
        return self._running

    async def run(self, fn: Callable[..., T], *args: Any, timeout: float | None = None) -> T:
        """Compute `fn(*args)` on a thread, in the order of arrival.

        Parameters
        ----------
        timeout
            Seconds until the caller's deadline; None: none.

        Raises
        ------
        Exhausted
            When the queue is full; `retry_after` is how long it takes to empty, as far as one can tell.
        Expired
            When the deadline passed before the work started.
        Unavailable
            When the queue was closed before the work started.
        """
        if self._closed:
            raise Unavailable("the server is stopping")
        deadline = None if timeout is None else time.monotonic() + timeout
        if timeout is not None and timeout <= 0:
            self._drop("expired")
            raise Expired("the deadline had passed before the work started")
        if self._waiting >= self._size:
            self._drop("full")
            wait = max(0.1, self._waiting * self._mean_seconds / self._threads)
            raise Exhausted(f"{self._waiting} requests are waiting; the queue is full", retry_after=wait)
        await self._turn(deadline)
        if self._closed:
            self._slots.release()
            self._drop("closed")
            raise Unavailable("the server is stopping")
        work = asyncio.get_running_loop().run_in_executor(self._pool, functools.partial(fn, *args))
        self._running += 1
        metrics.QUEUE_RUNNING.labels(self.name).inc()
        work.add_done_callback(functools.partial(self._done, time.monotonic()))
        return await asyncio.shield(work)

    async def close(self) -> None:
        """Let running work end, then stop the threads; what waits gets `Unavailable`."""
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)

    async def _turn(self, deadline: float | None) -> None:
        """Wait for a free thread."""
        self._waiting += 1
        metrics.QUEUE_WAITING.labels(self.name).inc()
        try:
            async with asyncio.timeout_at(_loop_time(deadline)):
                await self._slots.acquire()
        except TimeoutError:
            self._drop("expired")
            raise Expired("the deadline passed while the request was waiting") from None
        except asyncio.CancelledError:
            self._drop("cancelled")
            raise
        finally:
            self._waiting -= 1
            metrics.QUEUE_WAITING.labels(self.name).dec()

    def _done(self, started: float, work: asyncio.Future[Any]) -> None:
        # The thread is free only now, even when the caller has long gone.
        self._running -= 1
        metrics.QUEUE_RUNNING.labels(self.name).dec()
        self._slots.release()
        self._mean_seconds += 0.2 * (time.monotonic() - started - self._mean_seconds)
        if not work.cancelled():
            work.exception()  # retrieved: a caller that was cancelled no longer asks for it

    def _drop(self, reason: str) -> None:
        metrics.QUEUE_DROPPED.labels(self.name, reason).inc()


def _loop_time(deadline: float | None) -> float | None:
    return None if deadline is None else asyncio.get_running_loop().time() + deadline - time.monotonic()
