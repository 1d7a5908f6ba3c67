"""Workers that watch over one another: what one that never comes back had begun, another takes over.

A worker that does come back recovers its own films by itself, at once, since its name is stable.
"""

from __future__ import annotations

import asyncio
import time

import vidi
from vidi import logs
from vidi_gateway.pipeline.workflow import Workflows
from vidi_gateway.settings import GatewaySettings
from vidi_gateway.store.workers import Workers
from vidi_gateway.threads import Threads, ended

log = logs.get("vidi.gateway.workers")


class Heartbeat:
    """Says that this worker is alive, and takes over from those that are silent."""

    def __init__(self, settings: GatewaySettings, workers: Workers, workflows: Workflows, threads: Threads) -> None:
        self._settings = settings
        self._workers = workers
        self._workflows = workflows
        self._threads = threads
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start."""
        await self._beat()
        self._task = asyncio.create_task(self._run(), name="vidi-heartbeat")

    async def close(self) -> None:
        """Stop. The worker stays known: if it does not come back, others will notice."""
        if self._task:
            await ended(self._task)

    async def reap_once(self) -> int:
        """Take over from workers that have been silent for too long; returns how many workflows."""
        silent_since = time.time() - self._settings.worker_lost_seconds
        count = 0
        for executor_id in await self._threads.run(self._workers.claim_lost, silent_since):
            if executor_id == self._settings.worker_id:
                continue
            taken = 0
            while more := await self._workflows.take_over(executor_id):
                taken += more
            await self._threads.run(self._workers.gone, executor_id)
            log.warning("worker lost; taken over", worker=executor_id, workflows=taken)
            count += taken
        return count

    async def _beat(self) -> None:
        await self._threads.run(self._workers.beat, self._settings.worker_id, vidi.__version__)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._settings.heartbeat_seconds)
            try:
                await self._beat()
                await self.reap_once()
            except Exception as e:  # noqa: BLE001 - databases come back
                log.error("heartbeat failed", error=type(e).__name__)
