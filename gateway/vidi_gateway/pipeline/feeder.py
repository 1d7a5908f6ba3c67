"""From the journal to the workflow engine: what has not started, what was lost, and what came twice."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta

from vidi import logs
from vidi.errors import ViDiError
from vidi_gateway.pipeline import metrics
from vidi_gateway.pipeline.changes import Changes
from vidi_gateway.pipeline.compare import Comparer
from vidi_gateway.pipeline.workflow import Workflows
from vidi_gateway.settings import GatewaySettings
from vidi_gateway.store.arrivals import Arrivals
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.records import PRIORITY_BULK
from vidi_gateway.threads import Threads, ended

#: Workflows started at once; more wait in the journal, where an urgent film still overtakes them.
PAGE = 200
IDLE_POLL = 1.0
#: Finished workflows are kept so long, in hours.
KEEP_HOURS = 24

log = logs.get("vidi.gateway.feeder")


class Feeder:
    """A worker's loops: feed (new films, at once), compare (arrivals), sweep (what lost its workflow, now and then)."""

    def __init__(
        self,
        settings: GatewaySettings,
        journal: Journal,
        workflows: Workflows,
        arrivals: Arrivals,
        comparer: Comparer,
        changes: Changes,
        threads: Threads,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._workflows = workflows
        self._arrivals = arrivals
        self._comparer = comparer
        self._changes = changes
        self._threads = threads
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the loops; the sweep begins with everything that was under way when the process ended."""
        loops = {
            "feed": self._changes.repeat(self.feed_once, functools.partial(_failed, "feed")),
            "compare": self._changes.repeat(self.compare_once, functools.partial(_failed, "compare")),
            "sweep": self._sweep(),
        }
        self._tasks = [asyncio.create_task(loop, name=f"vidi-{name}") for name, loop in loops.items()]

    async def close(self) -> None:
        """Stop the loops."""
        await ended(*self._tasks)

    async def feed_once(self) -> int:
        """Start workflows for what has none yet; returns how many."""
        metrics.WAITING.set(await self._threads.run(self._journal.unfinished_count))
        waiting = await self._threads.run(self._journal.unqueued, PAGE)
        if waiting:
            room = PAGE - await self._threads.run(self._journal.queued_count)
            waiting = [a for i, a in enumerate(waiting) if a.priority < PRIORITY_BULK or i < room]
            await self._workflows.enqueue(waiting)
            await self._threads.run(self._journal.mark_queued, [(a.analysis_id, a.run) for a in waiting])
        return len(waiting)

    async def compare_once(self) -> int:
        """Give arrivals their verdicts; returns how many."""
        pending = await self._threads.run(self._arrivals.pending)
        for arrival in pending:
            await self._comparer.compare(arrival)
        return len(pending)

    async def sweep_once(self, older_than: float) -> int:
        """Start a new run of unfinished analyses whose workflow is gone; returns how many.

        Parameters
        ----------
        older_than
            Only what has been so for so many seconds: a workflow that has just started may not be seen yet.
        """
        candidates = await self._threads.run(self._journal.queued_before, time.time() - older_than)
        if not candidates:
            return 0
        live = await self._workflows.live([a.workflow_id for a in candidates])
        lost = [a for a in candidates if a.workflow_id not in live]
        for analysis in lost:
            log.warning("workflow lost; starting again", analysis=analysis.analysis_id, run=analysis.run)
            await self._threads.run(self._journal.run_again, analysis.analysis_id, analysis.run)
        if lost:
            self._changes.notify()
        return len(lost)

    async def _sweep(self) -> None:
        await self._guarded("sweep", self.sweep_once(0.0))
        while True:
            await asyncio.sleep(self._settings.sweep_seconds)
            await self._guarded("resume", self._workflows.resume_stranded(self._settings.sweep_seconds))
            await self._guarded("sweep", self.sweep_once(self._settings.sweep_seconds))
            before = datetime.now(UTC) - timedelta(hours=KEEP_HOURS)
            await self._guarded("clean up", self._workflows.clean_up(before.isoformat()))

    async def _guarded(self, name: str, work: Awaitable[int]) -> None:
        """A loop survives whatever one round of it meets: databases and disks come back."""
        try:
            await work
        except Exception as e:  # noqa: BLE001 - see above
            _failed(name, e)
            await asyncio.sleep(IDLE_POLL)


def _failed(name: str, error: Exception) -> None:
    """Say so: the type only, messages may quote parameters."""
    if isinstance(error, ViDiError):
        log.error(f"{name} failed", reason=error.reason)
    else:
        log.error(f"{name} failed", error=type(error).__name__)
