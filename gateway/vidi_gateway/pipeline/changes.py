"""Telling watchers that films changed: at once inside a process, by polling the journal between processes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from vidi.errors import Unavailable
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.records import Change
from vidi_gateway.threads import Threads, ended, heard

#: Transactions of other processes may commit this much later, in seconds, than the time they carry.
OVERLAP = 5.0
POLL = 1.0
MEMORY = 100_000


class Changes:
    """Broadcasts changes of films to any number of subscribers of one event loop."""

    def __init__(self, journal: Journal, threads: Threads, *, poll: float = POLL) -> None:
        self._journal = journal
        self._threads = threads
        self._poll = poll
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._queues: set[asyncio.Queue[Change]] = set()
        self._told: OrderedDict[str, int] = OrderedDict()
        self._task: asyncio.Task[None] | None = None
        self._listeners: set[asyncio.Event] = set()
        self._notified = False

    def notify(self) -> None:
        """Something was journalled; may be called from any thread."""
        if self._notified or not (self._listeners or self._task):  # told already and not heard yet, or nobody listens
            return
        self._notified = True
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(self._notify)

    @contextlib.contextmanager
    def listener(self) -> Iterator[asyncio.Event]:
        """An event that is set after every local change; whoever waits for it clears it."""
        event = asyncio.Event()
        self._listeners.add(event)
        try:
            yield event
        finally:
            self._listeners.discard(event)

    @contextlib.asynccontextmanager
    async def subscribe(self) -> AsyncIterator[asyncio.Queue[Change]]:
        """Receive every change from now on; a film that changes fast may be told once with its last revision."""
        queue: asyncio.Queue[Change] = asyncio.Queue()
        self._queues.add(queue)
        if self._task is None:
            self._task = asyncio.create_task(self._broadcast(time.time()), name="vidi-changes")
        try:
            yield queue
        finally:
            self._queues.discard(queue)

    async def repeat(
        self,
        once: Callable[[], Awaitable[int]],
        failed: Callable[[Exception], None],
        going: Callable[[], bool] = lambda: True,
    ) -> None:
        """Repeat a round while it finds work; else wait for a change, which another process may have made.

        Parameters
        ----------
        once
            One round; returns how much it found to do.
        failed
            Told what a round met, which the loop survives: databases, disks and peers come back.
        going
            Asked before each round; False ends the loop.
        """
        with self.listener() as changed:
            while going():
                changed.clear()
                try:
                    count = await once()
                except Exception as e:  # noqa: BLE001 - see above
                    failed(e)
                    await asyncio.sleep(POLL)
                    count = 0
                if not count and going():
                    await heard(changed, POLL)

    async def close(self) -> None:
        """End the broadcast."""
        if self._task:
            await ended(self._task)

    def _notify(self) -> None:
        self._notified = False
        self._wake.set()
        for listener in self._listeners:
            listener.set()

    async def _broadcast(self, start: float) -> None:
        horizon = start - OVERLAP
        for change in await self._since(horizon):
            if change.updated_at < start:
                self._told[change.film_id] = change.revision  # before anybody subscribed
        while True:
            await heard(self._wake, self._poll)
            self._wake.clear()
            for change in await self._since(horizon):
                if self._told.get(change.film_id, 0) < change.revision:
                    self._told[change.film_id] = change.revision
                    self._told.move_to_end(change.film_id)
                    for queue in self._queues:
                        queue.put_nowait(change)
                horizon = max(horizon, change.updated_at - OVERLAP)
            while len(self._told) > MEMORY:
                self._told.popitem(last=False)

    async def _since(self, horizon: float) -> list[Change]:
        """Read the changes; a journal that is away is waited for: watchers must not go deaf."""
        while True:
            try:
                return await self._threads.run(self._journal.changes_since, horizon)
            except Unavailable:
                await asyncio.sleep(self._poll)
