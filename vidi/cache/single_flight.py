"""Single flight: of concurrent identical requests one computes and all get its result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass
class _Flight(Generic[T]):
    task: asyncio.Task[T]
    waiting: int = 0


class SingleFlight(Generic[T]):
    """Runs one computation a key at a time, within one event loop.

    A caller only ever fails by its own computation: when the one that it waited for fails (perhaps by the leader's
    shorter deadline), it starts over with its own. A computation goes on while anybody waits for it, whoever started
    it, and is cancelled when nobody does; one that does not obey can still be joined.
    """

    def __init__(self) -> None:
        self._flights: dict[str, _Flight[T]] = {}

    def __len__(self) -> int:
        """Number of computations under way."""
        return len(self._flights)

    async def run(self, key: str, compute: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result for `key`: of the computation under way, else of `compute()`.

        Raises
        ------
        Exception
            Whatever this caller's own `compute()` raised.
        """
        while True:
            flight = self._flights.get(key)
            leads = flight is None
            if flight is None:
                flight = self._start(key, compute)
            flight.waiting += 1
            try:
                # Unlike awaiting the task, this neither raises its error nor cancels it with the caller.
                await asyncio.wait({flight.task})
            finally:
                flight.waiting -= 1
                if flight.waiting == 0:
                    flight.task.cancel()
            if leads or not (flight.task.cancelled() or flight.task.exception()):
                return flight.task.result()

    def _start(self, key: str, compute: Callable[[], Coroutine[Any, Any, T]]) -> _Flight[T]:
        flight = _Flight(asyncio.get_running_loop().create_task(compute()))
        self._flights[key] = flight
        flight.task.add_done_callback(lambda task: self._landed(key, task))
        return flight

    def _landed(self, key: str, task: asyncio.Task[T]) -> None:
        del self._flights[key]
        if not task.cancelled():
            task.exception()  # marks it as seen: when all callers are gone nobody else looks
