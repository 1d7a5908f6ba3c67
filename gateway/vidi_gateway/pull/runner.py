"""Fetching what pulls ask for: a thread an archive, in one process of the site, slower where our own queue is long."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from vidi import logs
from vidi.errors import InvalidInput, PreconditionFailed, Unavailable, ViDiError
from vidi_gateway.dimse.association import Associations
from vidi_gateway.handlers.films import Films
from vidi_gateway.nodes import Archive
from vidi_gateway.pipeline import metrics
from vidi_gateway.pull.archives import (
    MOVE_NOT_ACCEPTED,
    Fetched,
    Interrupted,
    OwnQueueFull,
    Session,
    connected,
    list_targets,
    move_to,
)
from vidi_gateway.settings import GatewaySettings
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.pulls import Item, ItemState, Pull, Pulls, PullState, Target
from vidi_gateway.store.records import PRIORITY_BULK
from vidi_gateway.threads import Threads, ended, heard, in_daemon

#: Items fetched over one association.
PAGE = 50
#: Attempts at an item before it counts as failed.
ATTEMPTS = 5
LEASE_SECONDS = 60.0
_BATCH = 200
_PAUSE = 1.0
_LONGEST_PAUSE = 60.0

log = logs.get("vidi.gateway.pull")


class PullRunner:
    """Fetches in the background.

    Parameters
    ----------
    settings
        Archives, and the watermark.
    pulls
        The pull tables.
    films
        Takes what DICOMweb brings.
    journal
        Asked how much is unfinished.
    threads
        For blocking work.
    """

    def __init__(
        self, settings: GatewaySettings, *, pulls: Pulls, films: Films, journal: Journal, threads: Threads
    ) -> None:
        self._settings = settings
        self._pulls = pulls
        self._films = films
        self._journal = journal
        self._threads = threads
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._archives = {a.name: a for a in settings.archives}
        self._working: dict[str, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._associations = Associations()
        self._ending = threading.Event()
        self._leading = False

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._supervise(), name="vidi-pulls")

    def wake(self) -> None:
        """Look for new pulls now; to be called in the event loop."""
        self._wake.set()

    async def close(self) -> None:
        """End in the middle: what was not settled is fetched again, which changes nothing."""
        self._ending.set()
        self._associations.abandon()
        await ended(*(t for t in (self._task, *self._working.values()) if t))

    async def _supervise(self) -> None:
        while True:
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001 - must survive a passing fault of the journal
                log.warning("pulls: cannot look", error=type(error).__name__)
            await heard(self._wake, _PAUSE)
            self._wake.clear()

    async def _look(self) -> None:
        """Have a thread for every archive that something is to be fetched from, if this process is the one."""
        peers = await self._threads.run(self._pulls.unfinished_peers)
        if not peers:
            return
        self._leading = await self._threads.run(self._pulls.lead, self._settings.worker_id, LEASE_SECONDS)
        for peer in peers if self._leading else ():
            task = self._working.get(peer)
            if task is None or task.done():
                work = in_daemon(self._work, peer)
                self._working[peer] = asyncio.create_task(work, name=f"vidi-pull-{peer}")

    # ---- in a thread of an archive ----------------------------------------------------------------------------------

    def _work(self, peer: str) -> None:
        """Fetch until nothing is left to be fetched from an archive."""
        pause = _PAUSE
        while self._going():
            pull = self._pulls.next_of(peer)
            if pull is None:
                return
            try:
                self._advance(pull)
                pause = _PAUSE
            except (Unavailable, OwnQueueFull) as e:
                code = e.reason if isinstance(e, Unavailable) else "QUEUE_FULL"
                log.warning("pull waits", pull=pull.pull_id, archive=peer, reason=code)
                self._pulls.note(pull.pull_id, code)
                self._ending.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            except Interrupted:
                continue
            except (InvalidInput, PreconditionFailed) as e:
                log.warning("pull cannot go on", pull=pull.pull_id, archive=peer, reason=e.reason)
                self._pulls.fail(pull.pull_id, e.reason)
            except Exception as e:  # noqa: BLE001 - a defect must not end all pulls from this archive
                code = e.reason if isinstance(e, ViDiError) else type(e).__name__
                log.error("pull stumbled", pull=pull.pull_id, archive=peer, error=code)
                self._pulls.note(pull.pull_id, code)
                self._ending.wait(_LONGEST_PAUSE)

    def _advance(self, pull: Pull) -> None:
        """List what a query finds, or fetch a page."""
        archive = self._archives.get(pull.peer)
        if archive is None:
            raise PreconditionFailed("no archive of this name in the settings", reason="NO_SUCH_ARCHIVE")
        if pull.state is PullState.RUNNING:
            first = self._pulls.waiting(pull.pull_id, 1)
            if not first:
                if self._pulls.finish(pull.pull_id):
                    log.info("pull ended", pull=pull.pull_id, archive=pull.peer)
                return
            if first[0].attempts:  # then all others have been tried too: whatever is wrong needs time
                self._ending.wait(_PAUSE * 2 ** first[0].attempts)
            self._wait_for_room(pull)
        title = move_to(archive, self._settings, pull.model)
        with connected(archive, self._settings, title, self._taker(archive, pull), self._associations) as session:
            if pull.state is PullState.LISTING:
                self._list(pull, session)
            else:
                self._fetch_page(pull, session)

    def _list(self, pull: Pull, session: Session) -> None:
        assert pull.query is not None
        self._pulls.begin_list(pull.pull_id)
        position, batch = 0, list[Target]()
        for target in list_targets(session, pull.query):
            batch.append(target)
            if len(batch) == _BATCH:
                if not self._going() or not self._pulls.append(pull.pull_id, position, batch, last=False):
                    raise Interrupted
                position, batch = position + len(batch), []
        self._pulls.append(pull.pull_id, position, batch, last=True)
        log.info("pull listed", pull=pull.pull_id, archive=pull.peer, items=position + len(batch))

    def _fetch_page(self, pull: Pull, session: Session) -> None:
        stopped = self._stopped(pull)
        page, errors = self._pulls.waiting(pull.pull_id, PAGE), set[str]()
        for item in page:
            if stopped() or not self._room() or item.attempts > page[0].attempts:
                return
            try:
                fetched = session.fetch(item.target, stopped)
            except Unavailable as e:
                if self._going():  # else it is we who hung up
                    self._settle(pull, item, Fetched(0, e.reason))
                raise
            if not self._going() and fetched.error:
                raise Interrupted
            self._settle(pull, item, fetched)
            errors.add(fetched.error)
        if errors == {MOVE_NOT_ACCEPTED} and not pull.done:
            message = "the archive has what is asked for, and sends nothing of it: does it know where we are?"
            raise PreconditionFailed(message, reason=MOVE_NOT_ACCEPTED)

    def _settle(self, pull: Pull, item: Item, fetched: Fetched) -> None:
        state = ItemState.DONE
        if fetched.error:
            given_up = fetched.final or item.attempts + 1 >= ATTEMPTS
            state = ItemState.FAILED if given_up else ItemState.WAITING
            log.warning("pull item", pull=pull.pull_id, position=item.position, reason=fetched.error, gave_up=given_up)
        metrics.PULLED.labels(pull.peer, fetched.error or "ok").inc()
        self._pulls.settle(pull.pull_id, item.position, state, fetched.films, fetched.error)

    def _taker(self, archive: Archive, pull: Pull) -> Callable[[bytes, str], None]:
        model = "" if pull.model == self._settings.default_model else pull.model

        def take(data: bytes, uid: str) -> None:
            coming = self._films.submit(
                data, model, source=f"pull:{archive.name}", priority=PRIORITY_BULK, expected_uid=uid, wait=False
            )
            future = asyncio.run_coroutine_threadsafe(coming, self._loop)
            while True:
                try:
                    future.result(_PAUSE)
                    return
                except TimeoutError:
                    if self._ending.is_set():
                        raise Interrupted from None

        return take

    def _going(self) -> bool:
        return self._leading and not self._ending.is_set()

    def _stopped(self, pull: Pull) -> Callable[[], bool]:
        """Return a question whether a pull was cancelled, or we end; the journal is asked at most once a second."""
        asked, running = 0.0, True

        def stopped() -> bool:
            nonlocal asked, running
            if self._going() and time.monotonic() - asked > _PAUSE:
                asked, running = time.monotonic(), self._pulls.state(pull.pull_id) is PullState.RUNNING
            return not (running and self._going())

        return stopped

    def _room(self) -> bool:
        return self._journal.unfinished_count() < self._settings.pull_watermark

    def _wait_for_room(self, pull: Pull) -> None:
        """Wait, without an association, until films that came have been worked on.

        Raises
        ------
        Interrupted
            The pull was cancelled.
        """
        stopped = self._stopped(pull)
        while not self._room():
            if stopped():
                raise Interrupted
            self._ending.wait(_PAUSE)
