"""Delivery: what stands in the outbox is sent until the destination says Success, or set aside after many attempts.

Whether it is there then is another matter: see confirmation.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from vidi import logs
from vidi.errors import NotFound, PreconditionFailed, Unavailable
from vidi_gateway.dicomweb.client import WebClient
from vidi_gateway.dimse.scu import Outcome, Sender, Sent
from vidi_gateway.pipeline import metrics
from vidi_gateway.pipeline.changes import Changes
from vidi_gateway.pipeline.steps import backoff
from vidi_gateway.settings import Destination, GatewaySettings
from vidi_gateway.store.files import Store
from vidi_gateway.store.outbox import Outbox
from vidi_gateway.store.records import OutboxEntry
from vidi_gateway.threads import Threads, ended, in_daemon

#: Objects of one association. Also the most that a crash makes the destination receive twice (same UIDs, same bytes).
BATCH = 32
IDLE_POLL = 1.0
CLOSE_SECONDS = 5.0
MEASURE_SECONDS = 5.0

log = logs.get("vidi.gateway.delivery")


class Delivery:
    """One loop per destination, so that one that is down delays no other.

    Parameters
    ----------
    allowed
        Asked before each object: False stops delivery at once, and nothing counts as tried.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        outbox: Outbox,
        store: Store,
        changes: Changes,
        threads: Threads,
        allowed: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._outbox = outbox
        self._store = store
        self._changes = changes
        self._threads = threads
        self._allowed = allowed
        self._tasks: list[asyncio.Task[None]] = []
        self._sender = Sender()
        self._stopping = False

    async def start(self) -> None:
        """Start delivering; what this worker had claimed in its former life is free again."""
        await self._threads.run(self._outbox.release_own)
        for destination in self._settings.destinations:
            self._tasks.append(asyncio.create_task(self._serve(destination), name=f"vidi-deliver-{destination.name}"))

    async def close(self) -> None:
        """Stop. What is being sent may finish for a moment; after that it is left, and sent again at the next start."""
        self._stopping = True
        self._changes.notify()
        await ended(*self._tasks, patience=CLOSE_SECONDS)
        self._sender.abandon()

    async def deliver_once(self, destination: Destination) -> int:
        """Send what is due at a destination; returns how many objects were tried: none while delivery is stopped."""
        if not await self._threads.run(self._allowed):
            return 0
        entries = await self._threads.run(self._outbox.claim, destination.name, BATCH)
        if not entries:
            return 0
        objects: list[bytes] = []
        present: list[OutboxEntry] = []
        for entry in entries:
            try:
                objects.append(await self._threads.run(self._store.get, entry.key))
                present.append(entry)
            except NotFound:
                await self._threads.run(self._outbox.give_up, [entry.id], "FILE_MISSING")
        # A peer that does not answer holds its thread for minutes: never one that the journal or the exit waits for.
        fates = await in_daemon(self._send, destination, present, objects) if present else []
        await self._record(destination, present, fates)
        self._changes.notify()
        return len(entries) - sum(f.outcome is Outcome.HELD for f in fates)

    def _send(self, destination: Destination, entries: Sequence[OutboxEntry], objects: Sequence[bytes]) -> list[Sent]:
        """Send objects, each unless delivery was stopped or the object retired meanwhile."""

        def may_send(index: int) -> bool:
            return not self._stopping and self._allowed() and self._outbox.may_send(entries[index].id)

        try:
            if destination.protocol == "dimse":
                address = destination.dimse_address(self._settings.ae_title)
                return self._sender.send(objects, address, may_send=may_send)
            with WebClient(destination.web_address()) as client:
                return [
                    client.store(data, entry.uid) if may_send(index) else Sent(entry.uid, Outcome.HELD)
                    for index, (entry, data) in enumerate(zip(entries, objects, strict=True))
                ]
        except PreconditionFailed as e:  # certificates or passwords that are not there yet
            return [Sent(entry.uid, Outcome.RETRY, None, e.reason) for entry in entries]

    async def _record(self, destination: Destination, entries: Sequence[OutboxEntry], fates: Sequence[Sent]) -> None:
        """Journal what became of objects. They are sent: a journal that is away is waited for, else they go again."""
        while True:
            try:
                return await self._threads.run(self._settle, destination, entries, fates)
            except Unavailable as e:
                if self._stopping:
                    raise
                log.warning("deliveries cannot be journalled yet", destination=destination.name, reason=e.reason)
                await asyncio.sleep(IDLE_POLL)

    def _settle(self, destination: Destination, entries: Sequence[OutboxEntry], fates: Sequence[Sent]) -> None:
        confirm_seconds = None if destination.confirm == "none" else self._settings.confirm_seconds
        pairs = list(zip(entries, fates, strict=True))
        self._outbox.sent([e.id for e, f in pairs if f.outcome is Outcome.SENT], confirm_seconds)
        self._outbox.release([e.id for e, f in pairs if f.outcome is Outcome.HELD])
        for entry, fate in pairs:
            metrics.DELIVERIES.labels(destination.name, fate.outcome.value).inc()
            if fate.outcome in (Outcome.SENT, Outcome.HELD):
                continue
            if fate.outcome is Outcome.PERMANENT or entry.attempts + 1 >= self._settings.delivery_attempts:
                log.error("dead letter", film=entry.film_id, destination=destination.name, reason=fate.error)
                self._outbox.give_up([entry.id], fate.error)
            else:
                wait = backoff(entry.attempts, base=1.0, cap=self._settings.delivery_cap_seconds)
                log.warning("not delivered", film=entry.film_id, destination=destination.name, reason=fate.error)
                self._outbox.postpone([entry.id], fate.error, wait, may_have_arrived=fate.may_have_arrived)

    def _measure(self, destination: Destination) -> None:
        oldest = self._outbox.oldest(destination.name)
        age = 0.0 if oldest is None else max(0.0, time.time() - oldest)
        metrics.OLDEST_UNDELIVERED.labels(destination.name).set(age)

    async def _serve(self, destination: Destination) -> None:
        measured = -MEASURE_SECONDS

        async def once() -> int:
            nonlocal measured
            if time.monotonic() - measured >= MEASURE_SECONDS:
                measured = time.monotonic()
                await self._threads.run(self._measure, destination)
            return await self.deliver_once(destination)

        def failed(error: Exception) -> None:
            log.error("delivery failed", destination=destination.name, error=type(error).__name__)

        await self._changes.repeat(once, failed, lambda: not self._stopping)
