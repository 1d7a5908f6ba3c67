"""Publishing studies: one report and one capture a study, maps for each film, rejection notes for what they replace.

One leased, idempotent step instead of a workflow: everything that goes in is in the journal, and what comes out has
UIDs that derive from it, so that a repetition after a crash makes the same objects (ADR 14).
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from vidi import logs
from vidi.errors import Exhausted, InvalidInput, Unavailable, ViDiError
from vidi_gateway.clients import Services
from vidi_gateway.objects import FilmPart
from vidi_gateway.outcome import FilmOutcome
from vidi_gateway.pipeline.changes import Changes
from vidi_gateway.pipeline.decoder import Decoder
from vidi_gateway.pipeline.identities import overlaid
from vidi_gateway.pipeline.publication import compose, input_digest
from vidi_gateway.pipeline.steps import backoff
from vidi_gateway.reading import Urgency
from vidi_gateway.rules import DEFAULT, Routing, Rules
from vidi_gateway.settings import GatewaySettings
from vidi_gateway.store.files import Store
from vidi_gateway.store.lifecycle import Lifecycle
from vidi_gateway.store.records import PRIORITY_LIVE, Film, FilmState
from vidi_gateway.store.studies import Member, Studies, Study
from vidi_gateway.threads import Threads, ended

PAGE = 8
#: Attempts at a study whose publication fails by a defect; a full disk or a database that is away does not count.
ATTEMPTS = 5
#: Films of one study that are reported. More than any radiographic study has: a bound on memory, not on medicine.
MAX_FILMS = 48
FORGET_PAGE = 200

log = logs.get("vidi.gateway.publisher")


class Publisher:
    """A worker's loop over the studies that are due, and over explanations that the cache is to forget."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        studies: Studies,
        lifecycle: Lifecycle,
        rules: Rules,
        store: Store,
        decoder: Decoder,
        services: Services,
        changes: Changes,
        threads: Threads,
    ) -> None:
        self._settings = settings
        self._studies = studies
        self._lifecycle = lifecycle
        self._rules = rules
        self._store = store
        self._decoder = decoder
        self._services = services
        self._changes = changes
        self._threads = threads
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start; what this worker had claimed in its former life is free again."""
        await self._threads.run(self._studies.release_own)
        self._tasks = [
            asyncio.create_task(self._serve(), name="vidi-publish"),
            asyncio.create_task(self._forget(), name="vidi-forget"),
        ]

    async def close(self) -> None:
        """Stop."""
        await ended(*self._tasks)

    async def publish_once(self) -> int:
        """Publish what is due; returns how many studies were looked at."""
        due = await self._threads.run(self._studies.claim, PAGE)
        for study in due:
            try:
                if await self._publish(study):
                    continue
                await self._threads.run(self._studies.postpone, study, "CHANGED", 0.0)
            except (Exhausted, Unavailable, OSError) as e:
                code = e.reason if isinstance(e, ViDiError) else type(e).__name__
                await self._later(study, code)
            except Exception as e:  # noqa: BLE001 - a defect must end as a failed film, not as one that waits for ever
                code = e.reason if isinstance(e, ViDiError) else type(e).__name__
                log.error("publication failed", study=study.study_key, error=code, where=logs.where(e))
                if study.attempts + 1 < ATTEMPTS and not isinstance(e, InvalidInput):
                    await self._later(study, code)
                else:
                    message = (
                        e.message if isinstance(e, InvalidInput) else "a defect of ViDi's own; the log names the study"
                    )
                    await self._threads.run(self._studies.fail, study, "NOT_PUBLISHED", message)
            self._changes.notify()
        return len(due)

    async def forget_once(self) -> int:
        """Let the cache forget withdrawn films' explanations; returns how many."""
        due = await self._threads.run(self._lifecycle.forgettable, FORGET_PAGE)
        keys = sorted({f.explanation_key for f in due if not f.shared})
        if keys:
            await self._services.forget(keys)
        if due:
            await self._threads.run(self._lifecycle.forgotten, [f.analysis_id for f in due])
        return len(due)

    async def _publish(self, study: Study) -> bool:
        snapshot = await self._threads.run(self._studies.snapshot, study)
        late = study.due_at + self._settings.study_patience_seconds <= time.time()
        settled = late or not any(m.active for m in snapshot.members)
        explained = [m for m in snapshot.members if m.explained]
        found = input_digest(snapshot.members)
        unchanged = found == study.input_digest and all(
            m.analysis and m.analysis.state == FilmState.DONE for m in explained
        )
        open_notes = any(i.retired and not i.noted for i in snapshot.issued)
        if settled and unchanged and not open_notes:
            return await self._threads.run(self._studies.settle, study)
        if len(explained) > MAX_FILMS:
            raise InvalidInput(f"a study of more than {MAX_FILMS} films is not reported", reason="STUDY_TOO_LARGE")
        parts = [await self._part(m) for m in explained] if settled else []
        made = await self._threads.run(compose, snapshot, parts, self._store, settled=settled)
        routes = made.routes if made.routes is not None else {m.film.film_id: self._routes(m.film) for m in explained}
        published = await self._threads.run(
            self._studies.publish,
            snapshot,
            results=made.results,
            notes=made.notes,
            routes=routes,
            priority=min((m.analysis.priority for m in explained if m.analysis), default=PRIORITY_LIVE),
            input_digest=found,
            settled=settled,
        )
        if published:
            for member in explained:
                self._decoder.forget(member.film.file_key)
            log.info("published", study=study.study_key, films=len(parts), notes=len(made.notes), settled=settled)
        return published

    async def _part(self, member: Member) -> FilmPart:
        film, analysis = member.film, member.analysis
        assert analysis is not None
        decoded = await self._decoder.film(film.file_key)
        header = await self._threads.run(overlaid, decoded.header, film.identity_key, self._store)
        data = await self._threads.run(self._store.get, analysis.outcome_key)
        urgency = Urgency.from_row(analysis.urgency, analysis.urgency_reasons)
        return FilmPart(
            film_id=film.film_id,
            header=header,
            film=decoded.pixels,
            outcome=await self._threads.run(FilmOutcome.from_bytes, data),
            created=datetime.fromtimestamp(analysis.explained_at or analysis.created_at, UTC),
            urgency=urgency.score or None,
            urgency_reasons=tuple(r.code for r in urgency.reasons),
        )

    def _routes(self, film: Film) -> dict[str, tuple[str, ...]]:
        """What of a film goes where; destinations that the site has given up are left out."""
        routing = Routing.from_json(film.routing) if film.routing else Rules.everything(self._settings, film.model)
        if routing.rule == DEFAULT and self._settings.rules_file is None:
            # No rules: everything goes everywhere, and this worker may know more destinations than the front did.
            routing = Rules.everything(self._settings, film.model)
        known = {d.name for d in self._settings.destinations}
        return {name: kinds for name, kinds in routing.routes.items() if name in known}

    async def _later(self, study: Study, code: str) -> None:
        wait = backoff(study.attempts, cap=self._settings.retry_cap_seconds)
        log.warning("publication waits", study=study.study_key, reason=code, seconds=round(wait, 2))
        await self._threads.run(self._studies.postpone, study, code, wait)

    async def _serve(self) -> None:
        stranded = False

        async def once() -> int:
            nonlocal stranded
            if stranded:  # what was claimed in the round that failed would wait until its lease ends
                await self._threads.run(self._studies.release_own)
                stranded = False
            return await self.publish_once()

        def failed(error: Exception) -> None:
            nonlocal stranded
            stranded = True
            log.error("publishing failed", error=error.reason if isinstance(error, ViDiError) else type(error).__name__)

        await self._changes.repeat(once, failed)

    async def _forget(self) -> None:
        while True:
            try:
                count = await self.forget_once()
            except Exception as e:  # noqa: BLE001 - an explainer that is down is asked again
                log.warning("the cache was not told of a withdrawal yet", error=type(e).__name__)
                count = 0
            if not count:
                await asyncio.sleep(self._settings.sweep_seconds)
