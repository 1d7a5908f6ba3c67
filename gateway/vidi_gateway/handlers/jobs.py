"""Background jobs: stored films explained with a model, at lower priority than arriving ones."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from vidi import logs
from vidi.errors import InvalidInput, NotFound
from vidi_gateway.clients import Services
from vidi_gateway.handlers.films import Films
from vidi_gateway.pipeline.changes import Changes
from vidi_gateway.store.jobs import Job, Jobs, JobState
from vidi_gateway.store.journal import Journal
from vidi_gateway.threads import Threads, heard

#: Films that a feeder asks for at a time; the rest wait in the job's own rows.
PAGE = 50
#: Unfinished films above which the feeder waits, so that a job of any size leaves room for arriving films.
WATERMARK = 200
PAUSE = 1.0


class JobHandler:
    """Creates, feeds, watches and cancels jobs.

    Parameters
    ----------
    jobs
        The job tables.
    films
        What analyses films.
    journal
        Asked how much is unfinished.
    services
        Asked whether a model exists.
    changes
        Tells when films change.
    threads
        For blocking work.
    default_model
        Model of jobs that name none.
    """

    def __init__(
        self,
        *,
        jobs: Jobs,
        films: Films,
        journal: Journal,
        services: Services,
        changes: Changes,
        threads: Threads,
        default_model: str,
    ) -> None:
        self._jobs = jobs
        self._journal = journal
        self._films = films
        self._services = services
        self._changes = changes
        self._threads = threads
        self._default_model = default_model
        self._wake = asyncio.Event()
        self._log = logs.get("jobs")

    async def create(self, film_ids: Sequence[str], model: str, digest: str = "") -> Job:
        """Store a job; its films are asked for in the background.

        Raises
        ------
        NotFound
            No such film or model.
        PreconditionFailed
            Another digest of the model is loaded.
        """
        line = model or self._default_model
        ref = (await self._services.model(line, digest)).ref
        job_id = await self._threads.run(self._jobs.create, film_ids, ref.name, ref.version, ref.digest)
        self._wake.set()
        return await self.get(job_id)

    async def get(self, job_id: str) -> Job:
        """See `Jobs.get`."""
        return await self._threads.run(self._jobs.get, job_id)

    async def cancel(self, job_id: str) -> Job:
        """Leave out the films that were not asked for yet; what is done stays."""
        await self._threads.run(self._jobs.cancel, job_id)
        self._changes.notify()
        return await self.get(job_id)

    async def watch(self, job_id: str) -> AsyncIterator[Job]:
        """Yield a job now and at every change, until all its films are final or it was cancelled."""
        last: Job | None = None
        with self._changes.listener() as changed:
            while True:
                changed.clear()
                job = await self.get(job_id)
                if job != last:
                    yield job
                    last = job
                if job.state is not JobState.RUNNING:
                    return
                await heard(changed, PAUSE)

    async def feed(self) -> None:
        """Ask for the films of running jobs, a page at a time, for ever: run it as a task."""
        while True:
            try:
                fed = await self._feed_page()
            except Exception as error:  # noqa: BLE001 - the feeder must survive a passing fault of the journal
                self._log.warning("job feeder: a page failed", error=type(error).__name__)
                fed = False
            if not fed:
                await heard(self._wake, PAUSE)
                self._wake.clear()

    async def _feed_page(self) -> bool:
        if await self._threads.run(self._journal.unfinished_count) >= WATERMARK:
            return False
        page = await self._threads.run(self._jobs.next_films, PAGE)
        for job_id, film_id, model in page:
            with contextlib.suppress(NotFound, InvalidInput):  # refused on arrival: counted by its film's state
                await self._films.analyse(film_id, model)
            await self._threads.run(self._jobs.requested, job_id, film_id)
        return bool(page)
