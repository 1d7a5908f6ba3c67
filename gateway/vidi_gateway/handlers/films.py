"""Films in, results out: the one code behind C-STORE, gRPC and REST."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

from vidi.errors import AlreadyExists, InvalidInput, NotFound, PreconditionFailed, Unavailable
from vidi_gateway.audit.events import Event
from vidi_gateway.clients import Services
from vidi_gateway.outcome import FilmOutcome
from vidi_gateway.pipeline.changes import Changes
from vidi_gateway.pipeline.intake import Fate, Intake, Receipt
from vidi_gateway.store.arrivals import Arrivals
from vidi_gateway.store.audit import Audit
from vidi_gateway.store.files import Store
from vidi_gateway.store.journal import Journal, require_bytes
from vidi_gateway.store.outbox import Outbox
from vidi_gateway.store.reader import analysis_id
from vidi_gateway.store.records import PRIORITY_BULK, PRIORITY_LIVE, Change, FilmRecord, FilmState, Verdict
from vidi_gateway.threads import Threads, heard

RESULTS_DELETED = "the result's pictures and maps were deleted: the site keeps them for a limited time"


@dataclass(frozen=True)
class Page:
    """Films, the last received first; `next_token` is "" on the last page."""

    films: tuple[FilmRecord, ...]
    next_token: str


class Films:
    """Films and their results, for programs. All methods run in the gateway's event loop.

    Parameters
    ----------
    default_model
        Model line of films that name none.
    intake, journal, arrivals, outbox, store
        Where films go and stand.
    services
        Asked whether a model exists.
    changes
        What watchers hear.
    threads
        For everything that blocks.
    audit
        Hears of who read what.
    """

    def __init__(
        self,
        *,
        default_model: str,
        intake: Intake,
        journal: Journal,
        arrivals: Arrivals,
        outbox: Outbox,
        store: Store,
        services: Services,
        changes: Changes,
        threads: Threads,
        audit: Audit,
    ) -> None:
        self._default_model = default_model
        self._intake = intake
        self._journal = journal
        self._arrivals = arrivals
        self._outbox = outbox
        self._store = store
        self._services = services
        self._changes = changes
        self._threads = threads
        self._audit = audit

    async def check(self, model: str) -> None:
        """Check that a model line exists, as far as its service can be asked; "" is the site's default.

        Raises
        ------
        NotFound
            No such model.
        """
        if model:
            with contextlib.suppress(Unavailable):  # the film is kept; the workflow will find out
                await self._services.model(model)

    async def submit(
        self,
        data: bytes,
        model: str = "",
        *,
        source: str = "api",
        priority: int = PRIORITY_LIVE,
        expected_uid: str | None = None,
        wait: bool = True,
        audited: bool = True,
    ) -> Receipt:
        """Take in one DICOM instance, durably.

        Parameters
        ----------
        data
            A Part 10 file.
        model
            Model line; empty: the site's default.
        source
            How it came; no patient data.
        priority
            1 (arriving films) to 100 (bulk).
        expected_uid
            The SOP Instance UID that was asked for, if one was.
        wait
            Whether to wait until other bytes under a known UID are compared; else they are kept, and compared later.
        audited
            Whether an instance that is not taken leaves a record here; else the caller writes its own.

        Raises
        ------
        InvalidInput
            Not an instance that could be taken; `reason` says why (UNREADABLE_IMAGE, INVALID_UID, TOO_LARGE).
        NotFound
            No such model.
        AlreadyExists
            Other pixels under the same SOP Instance UID; set aside.
        Exhausted
            Disk or queue above its watermark.
        """
        line = model or self._default_model
        await self.check(model)
        try:
            receipt = await self._threads.run(
                self._intake.accept,
                data,
                source=source,
                model=line,
                expected_uid=expected_uid,
                priority=priority,
                named=bool(model),
            )
        except InvalidInput as e:
            if audited:
                await self._threads.run(self._intake.note_not_taken, source, e.reason)
            raise
        if receipt.fate is Fate.COMPARING and wait:
            receipt = await self._compared(receipt)
        if (
            receipt.fate is Fate.DUPLICATE
            and model
            and receipt.state not in (FilmState.QUARANTINED, FilmState.WITHDRAWN)
        ):
            await self._threads.run(self._ask_for, receipt.film_id, model, priority)
        return receipt

    async def get(self, film_id: str, model: str = "") -> FilmRecord:
        """Return a film with its result.

        Parameters
        ----------
        film_id
            The film.
        model
            Model line of the result; empty: the line that it arrived on.

        Raises
        ------
        NotFound
            No such film.
        """
        found = await self._threads.run(self._journal.records, [film_id], model)
        if film_id not in found:
            raise NotFound("film", film_id)
        return found[film_id]

    async def get_many(self, film_ids: Sequence[str], model: str = "") -> list[FilmRecord]:
        """Return films in the order asked for.

        Raises
        ------
        NotFound
            When one of them does not exist.
        """
        found = await self._threads.run(self._journal.records, film_ids, model)
        for film_id in film_ids:
            if film_id not in found:
                raise NotFound("film", film_id)
        return [found[f] for f in film_ids]

    async def list(self, page_size: int = 100, page_token: str = "", states: Sequence[FilmState] = ()) -> Page:
        """Return a page of films, the last received first.

        Raises
        ------
        InvalidInput
            The token is not one of ours.
        """
        ids = await self._threads.run(self._journal.page, page_size + 1, _read_token(page_token), states)
        found = await self._threads.run(self._journal.records, ids[:page_size])
        films = tuple(found[i] for i in ids[:page_size] if i in found)
        more = len(ids) > page_size and films
        return Page(films, f"{films[-1].film.received_at!r}:{films[-1].film_id}" if more else "")

    async def changes(self) -> AsyncIterator[Change]:
        """Every change of any film from now on, by whichever process; does not end."""
        async with self._changes.subscribe() as queue:
            while True:
                yield await queue.get()

    async def watch(self, film_ids: Iterable[str] = (), model: str = "") -> AsyncIterator[FilmRecord]:
        """Yield each named film now and at every change, until all are final; without names every change, for ever.

        Raises
        ------
        NotFound
            When a named film does not exist.
        """
        waiting = dict.fromkeys(film_ids)
        everything = not waiting
        async with self._changes.subscribe() as queue:
            seen: dict[str, int] = {}
            for record in await self.get_many(list(waiting), model):
                seen[record.film_id] = record.film.revision
                yield record
                if _settled(record, model):
                    waiting.pop(record.film_id)
            while everything or waiting:
                change = await queue.get()
                if not (everything or change.film_id in waiting) or change.revision <= seen.get(change.film_id, 0):
                    continue
                record = await self.get(change.film_id, model)
                if not everything:
                    seen[record.film_id] = record.film.revision
                yield record
                if _settled(record, model):
                    waiting.pop(record.film_id, None)

    async def object(self, film_id: str, uid: str, kind: str, *, reader: str = "") -> bytes:
        """Return the bytes of a result object.

        Parameters
        ----------
        film_id, uid
            The film and the object's SOP Instance UID (the PNG's is that of its Secondary Capture).
        kind
            "sr", "pm", "sc", "png" or "ko".
        reader
            Who reads it, for the audit trail ("http:10.0.0.5"); "": the gateway itself.

        Raises
        ------
        NotFound
            No such object.
        """
        try:
            stored = await self._threads.run(self._journal.object, film_id, uid, kind)
        except NotFound:
            record = await self.get(film_id)
            if record.analysis and record.analysis.summary and not record.analysis.outcome_key:
                raise NotFound("object", film_id, hint=RESULTS_DELETED) from None
            raise
        data = await self._threads.run(self._store.get, stored.key)
        await self._noted(film_id, kind, reader)
        return data

    async def dicom(self, film_id: str) -> bytes:
        """Return the film as it was received. Patient data: for callers inside the gateway.

        Raises
        ------
        NotFound
            No such film, or it was refused on arrival and not kept.
        """
        film = await self._threads.run(self._journal.film, film_id)
        require_bytes(film)
        return await self._threads.run(self._store.get, film.file_key)

    async def outcome(self, film_id: str, model: str = "", *, reader: str = "") -> FilmOutcome:
        """Return a done film's outcome with its maps. `reader` as in `object`.

        Raises
        ------
        NotFound
            No such film, or it is not done on that line.
        """
        record = await self.get(film_id, model)
        if record.analysis is None or record.analysis.state != FilmState.DONE:
            raise NotFound("result", film_id, hint="the film is not done")
        if not record.analysis.outcome_key:
            raise NotFound("result", film_id, hint=RESULTS_DELETED)
        data = await self._threads.run(self._store.get, record.analysis.outcome_key)
        await self._noted(film_id, "maps", reader)
        return await self._threads.run(FilmOutcome.from_bytes, data)

    async def analyse(self, film_id: str, model: str, *, priority: int = PRIORITY_BULK) -> str:
        """Ask for a film's result on a model line, unless it is there or under way. Returns the analysis id.

        Raises
        ------
        NotFound
            No such film, or it was not kept.
        """
        return await self._threads.run(self._ask_for, film_id, model, priority)

    async def retry(self, film_id: str, model: str = "") -> None:
        """Process a failed or refused film again.

        Raises
        ------
        NotFound
            No such film.
        PreconditionFailed
            It is neither failed nor refused, or was not kept.
        """
        record = await self.get(film_id, model)
        line = record.analysis
        if record.film.withdrawn_at is not None:
            raise PreconditionFailed("a withdrawn film is not tried again", reason="WITHDRAWN")
        if line is None or line.state not in (FilmState.FAILED, FilmState.REFUSED, FilmState.WITHDRAWN):
            raise PreconditionFailed("only a failed or refused film that was kept can be tried again")
        await self._threads.run(self._journal.run_again, line.analysis_id, line.run, fresh=True)
        self._changes.notify()

    async def replay(self, film_id: str = "", destination: str = "") -> int:
        """Send dead letters again; returns how many objects."""
        count = await self._threads.run(self._outbox.replay, film_id, destination)
        self._changes.notify()
        return count

    async def _noted(self, film_id: str, kind: str, reader: str) -> None:
        if reader:
            film = await self._threads.run(self._journal.film, film_id)
            detail = {"kind": kind, "study": film.study_key, "patient": film.patient_key}
            await self._threads.run(self._audit.note, Event.READ, film_id=film_id, source=reader, detail=detail)

    def _ask_for(self, film_id: str, model: str, priority: int) -> str:
        self._journal.add_analysis(film_id, model, priority)
        self._changes.notify()
        return analysis_id(film_id, model)

    async def _compared(self, receipt: Receipt) -> Receipt:
        """Wait until a worker has compared the pixels."""
        with self._changes.listener() as changed:
            while True:
                arrival = await self._threads.run(self._arrivals.find, receipt.arrival_id)
                if arrival is None or arrival.verdict in (
                    Verdict.DUPLICATE,
                    Verdict.REPLACED,
                    Verdict.AMENDED,
                ):
                    film = await self._threads.run(self._journal.film, receipt.film_id)
                    taken = arrival is not None and arrival.verdict in (Verdict.REPLACED, Verdict.AMENDED)
                    return Receipt(Fate.KEPT if taken else Fate.DUPLICATE, receipt.film_id, film.state)
                if arrival.verdict == Verdict.QUARANTINED:
                    message = "another film came under the same SOP Instance UID: it was set aside"
                    raise AlreadyExists("film", receipt.film_id, message)
                await heard(changed, 1.0)
                changed.clear()


def _settled(record: FilmRecord, model: str) -> bool:
    """Whether nothing more happens to the film on the line that is watched."""
    return record.analysis.state.final if model and record.analysis else record.state.final


def _read_token(token: str) -> tuple[float, str] | None:
    if not token:
        return None
    received, _, film_id = token.partition(":")
    try:
        return float(received), film_id
    except ValueError:
        raise InvalidInput("not a page token of this server", field="page_token") from None
