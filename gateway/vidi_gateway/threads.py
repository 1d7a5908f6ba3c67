"""Work beside the event loop, in threads of our own: its default pool is the workflow engine's. And waiting in it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


async def in_daemon(fn: Callable[..., T], /, *args: Any) -> T:
    """Call `fn` in a thread of its own that does not keep the process alive: for work that a peer may hold up.

    A cancelled caller leaves the thread to itself; what it returns is then dropped.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if not future.done():
            if error:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

    def call() -> None:
        result, error = None, None
        try:
            result = fn(*args)
        except Exception as e:  # noqa: BLE001 - raised again in the caller
            error = e
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=call, name="vidi-daemon", daemon=True).start()
    return await future


async def heard(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, at most so long; returns whether it came.

    Not by `asyncio.wait_for`: until Python 3.12 it swallows a cancellation that comes in the moment of the event, and
    a loop that is to end goes on for ever.
    """
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def ended(*tasks: asyncio.Task[Any], patience: float = 0.0) -> None:
    """End tasks: they may finish for `patience` seconds, then they are cancelled; what they raise is dropped."""
    if tasks and patience:
        await asyncio.wait(tasks, timeout=patience)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Threads:
    """A pool of `size` threads named `name`."""

    def __init__(self, name: str, size: int) -> None:
        self._pool = ThreadPoolExecutor(size, thread_name_prefix=f"vidi-{name}")

    async def run(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """Call `fn` in a thread and return what it returns. A cancelled caller does not stop what has started."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, functools.partial(fn, *args, **kwargs))

    def close(self) -> None:
        """End the threads after what they are doing."""
        self._pool.shutdown(wait=True, cancel_futures=True)
