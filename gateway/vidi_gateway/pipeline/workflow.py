"""One durable workflow per film and model line, on DBOS.

The journal is the truth; the workflow engine's tables only say which step of which run was done. What DBOS does not
know any more, the feeder starts again from the journal.
"""

from __future__ import annotations

import asyncio
import functools
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetEnqueueOptions, SetWorkflowID

from vidi import logs
from vidi_gateway.pipeline import metrics
from vidi_gateway.pipeline.steps import Answer, Steps
from vidi_gateway.settings import GatewaySettings
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.records import Analysis, FilmState
from vidi_gateway.threads import Threads

APPLICATION = "vidi"
#: Fixed: the default is a hash of the source, and an upgrade would strand what is under way. Steps are named for the
#: same reason; a change of their order needs `DBOS.patch_async`.
VERSION = "1"
QUEUE = "vidi.films"
WORKFLOW = "vidi.film"
LIVE = ("PENDING", "ENQUEUED", "DELAYED")
POLL_SECONDS = 0.1
#: A rolling upgrade may change the digest under a film's feet; what flaps more often is broken.
REPINS = 5
#: Workflows of a lost worker that are put back at a time.
TAKE_OVER = 500
#: Restarts of the process in the middle of a run that the engine takes part in; the journal counts attempts itself.
RECOVERIES = 1000

log = logs.get("vidi.gateway.workflow")


class Workflows:
    """The engine. Open it inside the event loop that owns the gRPC channels; one per process."""

    def __init__(self, settings: GatewaySettings, steps: Steps, journal: Journal, threads: Threads) -> None:
        self._settings = settings
        self._steps = steps
        self._journal = journal
        self._threads = threads
        self._run_film: Callable[[str, int], Awaitable[str]] | None = None
        self._tasks: dict[asyncio.Task[Any], str] = {}  # what runs in this process, with its workflow's id

    async def open(self) -> None:
        """Start: recover this worker's unfinished workflows and take new ones from the queue."""
        url = self._settings.workflows_url
        if url.startswith("sqlite:///"):
            _use_wal(Path(url.removeprefix("sqlite:///")))
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_url": url,
            "application_version": VERSION,
            "executor_id": self._settings.worker_id,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "WARNING",
            "enable_otlp": False,
        }
        DBOS(config=config)

        async def film(analysis_id: str, run: int) -> str:
            task = asyncio.current_task()
            if task:
                self._tasks[task] = f"{analysis_id}.{run}"
                task.add_done_callback(lambda ended: self._tasks.pop(ended, None))
            return await self._film(analysis_id, run)

        self._run_film = DBOS.workflow(name=WORKFLOW, max_recovery_attempts=RECOVERIES)(film)
        DBOS.listen_queues([QUEUE])
        DBOS.launch()
        await DBOS.register_queue_async(
            QUEUE,
            worker_concurrency=self._settings.concurrency,
            polling_interval_sec=POLL_SECONDS,
            on_conflict="always_update",
        )

    async def close(self, drain_seconds: float) -> None:
        """Stop: what is under way may finish for `drain_seconds`, the rest goes on at the next start."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, thread_name_prefix="vidi-dbos-close") as pool:
            destroy = functools.partial(
                DBOS.destroy, destroy_registry=True, workflow_completion_timeout_sec=max(1, round(drain_seconds))
            )
            await loop.run_in_executor(pool, destroy)
        # What still waits for a service is let go: a cancelled step is not recorded and runs again at the next start.
        waiting = list(self._tasks)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        # DBOS made its own pool the loop's default and has just shut it down: give the loop a living one.
        loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix="asyncio"))

    async def enqueue(self, analyses: Sequence[Analysis]) -> None:
        """Start a workflow per analysis; one that exists already stays as it is."""
        assert self._run_film is not None
        for analysis in analyses:
            with SetWorkflowID(analysis.workflow_id), SetEnqueueOptions(priority=analysis.priority):
                await DBOS.enqueue_workflow_async(QUEUE, self._run_film, analysis.analysis_id, analysis.run)  # type: ignore[arg-type]

    async def live(self, workflow_ids: Sequence[str]) -> set[str]:
        """Return which of these workflows are waiting or running, wherever."""
        found = await DBOS.list_workflows_async(
            workflow_ids=list(workflow_ids), status=list(LIVE), load_input=False, load_output=False
        )
        return {status.workflow_id for status in found}

    async def take_over(self, executor_id: str) -> int:
        """Put what a worker that is gone had begun back into the queue; returns how many workflows.

        The engine keeps what their finished steps found. The journal counts the attempts: the engine starts anew.
        """
        left = await DBOS.list_workflows_async(
            status=["PENDING"], executor_id=executor_id, load_input=False, load_output=False, limit=TAKE_OVER
        )
        if left:
            await DBOS.resume_workflows_async([status.workflow_id for status in left], queue_name=QUEUE)
        return len(left)

    async def resume_stranded(self, older_than: float) -> int:
        """Put back into the queue what is under way here by the engine's tables, and is not; returns how many.

        The engine lets a workflow go when its tables cannot be read or written (a server that refuses connections, a
        full disk): it then stays under way for ever, since this process lives.

        Parameters
        ----------
        older_than
            Only what has been so for so many seconds: a workflow that is just being started is not seen here yet.
        """
        mine = await DBOS.list_workflows_async(
            status=["PENDING"],
            executor_id=self._settings.worker_id,
            name=WORKFLOW,
            load_input=False,
            load_output=False,
        )
        running, before = set(self._tasks.values()), (time.time() - older_than) * 1000.0
        stranded = [s.workflow_id for s in mine if s.workflow_id not in running and (s.updated_at or 0) < before]
        if stranded:
            log.warning("workflows stranded; going on", workflows=len(stranded))
            await DBOS.resume_workflows_async(stranded, queue_name=QUEUE)
        return len(stranded)

    async def clean_up(self, before: str, limit: int = 500) -> int:
        """Delete workflows that ended before an ISO time, in chunks; the journal keeps what they found."""
        ended = await DBOS.list_workflows_async(
            status=["SUCCESS", "ERROR", "CANCELLED"],
            completed_before=before,
            limit=limit,
            load_input=False,
            load_output=False,
        )
        if ended:
            await DBOS.delete_workflows_async([status.workflow_id for status in ended])
        return len(ended)

    async def _film(self, analysis_id: str, run: int) -> str:
        """The workflow: decode and gate, classify and explain, journal. Returns how it ended."""
        # Not a step: it counts every start of this run, restarts after a crash included.
        analysis = await self._threads.run(self._journal.begin, analysis_id, run)
        if analysis is None:
            return "superseded"
        if analysis.attempts > self._settings.max_attempts:
            answer: Answer = {
                "verdict": "failed",
                "code": "TOO_MANY_ATTEMPTS",
                "message": "started too often without an end",
            }
        else:
            answer = await self._attempt(analysis_id, run)
        state = {"ok": FilmState.EXPLAINED, "refused": FilmState.REFUSED}.get(answer["verdict"], FilmState.FAILED)
        code = str(answer.get("code", ""))
        if state != FilmState.EXPLAINED:
            await self._step("conclude", self._conclude, analysis_id, run, state.value, code, answer["message"])
        metrics.ANALYSES.labels(state.value, code).inc()
        log.info("analysis ended", analysis=analysis_id, run=run, state=state.value, reason=code)
        return state.value

    async def _attempt(self, analysis_id: str, run: int) -> Answer:
        answer: Answer = {}
        for _ in range(REPINS):
            answer = await self._step("pin", self._steps.pin, analysis_id)
            if answer["verdict"] == "ok":
                model_digest = str(answer["model_digest"])
                answer = await self._step("examine", self._steps.examine, analysis_id, model_digest)
            if answer["verdict"] == "ok":
                answer = await self._step("attribute", self._steps.attribute, analysis_id, model_digest)
            if answer["verdict"] == "ok":
                result = (str(answer["outcome_key"]), str(answer["outcome_digest"]), bool(answer["cache_hit"]))
                answer = await self._step("record", self._steps.record, analysis_id, run, *result)
            if answer["verdict"] != "repin":
                return answer
        return {"verdict": "failed", "code": "MODEL_CHANGES", "message": "the model changed again and again"}

    async def _conclude(self, analysis_id: str, run: int, state: str, code: str, message: str) -> bool:
        ended = await self._threads.run(self._journal.conclude, analysis_id, run, FilmState(state), code, message)
        self._steps.changed()
        return ended

    async def _step(self, name: str, work: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        return await DBOS.run_step_async({"name": f"vidi.{name}"}, work, *args)


def _use_wal(path: Path) -> None:
    """Let readers and a writer work at the same time; the mode is a property of the file and stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=60)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()
