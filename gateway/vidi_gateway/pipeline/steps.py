"""The steps of a film's workflow. Each may run again after a crash and then does the same; they pass on ids only.

A step never raises: what went wrong is its answer, so that the workflow engine records it like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from vidi import logs
from vidi.errors import (
    Cancelled,
    Exhausted,
    Expired,
    InternalError,
    InvalidInput,
    NotFound,
    PreconditionFailed,
    Unavailable,
    ViDiError,
)
from vidi.imaging.dicom import Film as DecodedFilm
from vidi.imaging.gate import check_header, check_pixels, check_population
from vidi.imaging.notes import Note, Refusal
from vidi_gateway.clients import Services
from vidi_gateway.objects import identity_digest
from vidi_gateway.outcome import FilmOutcome
from vidi_gateway.pipeline.decoder import Decoder
from vidi_gateway.pipeline.identities import keys_of
from vidi_gateway.pipeline.outcomes import Disagreement, combine, preprocessing_of, summarize
from vidi_gateway.reading import urgency_of
from vidi_gateway.rules import Rules
from vidi_gateway.settings import GatewaySettings
from vidi_gateway.store.files import Store, digest
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.records import Analysis, Film
from vidi_gateway.store.site_key import SiteKey
from vidi_gateway.threads import Threads

#: A step's answer: {"verdict": "ok" | "refused" | "failed" | "repin", "code": ..., "message": ...} and ids.
Answer = dict[str, Any]
TRANSIENT = (Unavailable, Exhausted, Expired, Cancelled)
#: Defects (an answer that makes no sense, an exception nobody foresaw) are tried so often.
DEFECT_ATTEMPTS = 3
#: Refusals that may be the machine's fault (busy, out of memory) and not the film's: as often.
DOUBTFUL = ("DECODER_CRASHED", "DECODER_MEMORY", "DECODER_TIMEOUT")

log = logs.get("vidi.gateway.steps")


class Steps:
    """pin -> examine -> attribute -> record; publishing is the study's (see `Publisher`)."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        journal: Journal,
        store: Store,
        services: Services,
        decoder: Decoder,
        rules: Rules,
        site_key: SiteKey,
        threads: Threads,
        on_change: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._rules = rules
        self._site_key = site_key
        self._pinned: dict[str, str] = {}
        self._journal = journal
        self._store = store
        self._services = services
        self._decoder = decoder
        self._threads = threads
        self.changed = on_change

    async def pin(self, analysis_id: str) -> Answer:
        """Ask which digest the model line has now, and keep to it from here on."""
        return await self._answer(analysis_id, self._pin)

    async def examine(self, analysis_id: str, model_digest: str) -> Answer:
        """Decode the film, record what tells it apart, and decide whether the model may be used on it."""

        async def examine(analysis: Analysis) -> Answer:
            return await self._examine(analysis, model_digest)

        return await self._answer(analysis_id, examine)

    async def attribute(self, analysis_id: str, model_digest: str) -> Answer:
        """Classify and explain; store the outcome."""

        async def attribute(analysis: Analysis) -> Answer:
            return await self._attribute(analysis, model_digest)

        return await self._answer(analysis_id, attribute)

    async def record(
        self, analysis_id: str, run: int, outcome_key: str, outcome_digest: str, cache_hit: bool
    ) -> Answer:
        """Journal the outcome: from here on the film waits for its study to settle."""

        async def record(_analysis: Analysis) -> Answer:
            return await self._record(analysis_id, run, outcome_key, outcome_digest, cache_hit)

        return await self._answer(analysis_id, record)

    async def _pin(self, analysis: Analysis) -> Answer:
        model = await self._services.model(analysis.model)
        preprocessing_of(model)
        await self._threads.run(self._journal.pin, analysis.analysis_id, model.ref.version, model.ref.digest)
        if self._pinned.get(analysis.model) != model.ref.digest:
            older = await self._threads.run(self._journal.supersede, analysis.model, model.ref.digest)
            self._pinned[analysis.model] = model.ref.digest
            if older:
                log.info("results superseded", model=analysis.model, results=older)
        return {"verdict": "ok", "model_digest": model.ref.digest}

    async def _examine(self, analysis: Analysis, model_digest: str) -> Answer:
        row, film = await self._film(analysis)
        identity = await self._threads.run(identity_digest, film.header)
        keys = await self._threads.run(keys_of, self._site_key, film.header)
        await self._threads.run(self._journal.identify, row.film_id, film.pixel_digest, identity, *keys)
        refusal, _ = await self._gate(analysis, film, model_digest)
        return _refused(refusal) if refusal else {"verdict": "ok"}

    async def _attribute(self, analysis: Analysis, model_digest: str) -> Answer:
        model = await self._services.described(analysis.model, model_digest)
        row, film = await self._film(analysis)
        _, notes = await self._gate(analysis, film, model_digest)
        grid, grid_to_film = await self._threads.run(preprocessing_of(model).to_grid, film.pixels)
        classified, explained = await asyncio.gather(
            self._services.classify(model.ref, grid), self._services.explain(model.ref, grid)
        )
        out = any(n.code == "OUT_OF_POPULATION" for n in notes)
        outcome = combine(model, classified, explained, grid, grid_to_film, notes, out)
        data = await self._threads.run(outcome.to_bytes)
        key = f"{_folder(row.film_id, model_digest)}/outcome.npz"
        await self._threads.run(self._store.put_durable, key, data)
        return {"verdict": "ok", "outcome_key": key, "outcome_digest": digest(data), "cache_hit": explained.cache_hit}

    async def _record(
        self, analysis_id: str, run: int, outcome_key: str, outcome_digest: str, cache_hit: bool
    ) -> Answer:
        data = await self._threads.run(self._store.get, outcome_key)
        if digest(data) != outcome_digest:
            raise InternalError("the stored outcome is not the one that was computed")
        outcome = await self._threads.run(FilmOutcome.from_bytes, data)
        urgency = urgency_of(outcome, self._rules.reading_order)
        await self._threads.run(
            self._journal.record,
            analysis_id,
            run,
            outcome_key=outcome_key,
            outcome_digest=outcome_digest,
            summary=summarize(outcome, cache_hit),
            urgency=urgency.score,
            urgency_reasons=urgency.to_json(),
        )
        self.changed()
        return {"verdict": "ok"}

    async def _film(self, analysis: Analysis) -> tuple[Film, DecodedFilm]:
        row = await self._threads.run(self._journal.film, analysis.film_id)
        return row, await self._decoder.film(row.file_key)

    async def _gate(
        self, analysis: Analysis, film: DecodedFilm, model_digest: str
    ) -> tuple[Refusal | None, tuple[Note, ...]]:
        model = await self._services.described(analysis.model, model_digest)
        refusal = check_header(film.header, self._rules.gate)
        if refusal:
            return refusal, ()
        mode = self._settings.out_of_population
        refusal, notes = check_population(film.header, model.intended_use, mode)
        refusal = refusal or await self._threads.run(check_pixels, film)
        return refusal, (*film.notes, *notes)

    async def _answer(self, analysis_id: str, work: Callable[[Analysis], Awaitable[Answer]]) -> Answer:
        """Run a step until it has an answer: wait for services that are down, give up on everything else."""
        end = time.monotonic() + self._settings.patience_seconds
        waits = defects = 0
        while True:
            try:
                return await work(await self._threads.run(self._journal.analysis, analysis_id))
            except TRANSIENT as e:
                if time.monotonic() > end:
                    return _failed(e.reason, "a service, or the journal, did not answer for too long")
                advised = getattr(e, "retry_after", 0.0)
                wait = backoff(waits, cap=self._settings.retry_cap_seconds, at_least=advised)
                waits += 1
                log.info("step waits", analysis=analysis_id, reason=e.reason, seconds=round(wait, 2))
                with contextlib.suppress(Unavailable):  # it may be the journal that does not answer
                    await self._threads.run(self._journal.note_wait, analysis_id)
                await asyncio.sleep(wait)
            except PreconditionFailed:
                return {"verdict": "repin"}
            except Disagreement as e:
                return _failed(e.reason, e.message)
            except NotFound as e:
                return _failed(f"{e.kind.upper()}_NOT_FOUND", e.message)
            except Exception as e:  # noqa: BLE001 - a defect must end as a failed film, not as a lost one
                defects += 1
                if isinstance(e, InvalidInput) and (e.reason not in DOUBTFUL or defects >= DEFECT_ATTEMPTS):
                    return _refused(Refusal(e.reason, e.message))
                # Type and place only: messages of strangers' exceptions may quote the film's header.
                kind = type(e).__name__
                log.error("step failed", analysis=analysis_id, error=kind, where=logs.where(e), attempt=defects)
                if defects >= DEFECT_ATTEMPTS:
                    reason = e.reason if isinstance(e, ViDiError) else InternalError.reason
                    return _failed(reason, "a defect of ViDi's own; the log names the film")
                await asyncio.sleep(backoff(defects, cap=self._settings.retry_cap_seconds))


def backoff(attempt: int, *, cap: float, base: float = 0.5, at_least: float = 0.0) -> float:
    """Return a pause in seconds before attempt `attempt` + 1 (from 0): exponential up to `cap`, with full jitter."""
    ceiling = min(cap, base * 2.0 ** min(attempt, 30))
    return max(min(at_least, cap), random.uniform(ceiling / 2, ceiling))


def _folder(film_id: str, model_digest: str) -> str:
    return f"results/{film_id[1:3]}/{film_id}/{model_digest[7:23]}"


def _refused(refusal: Refusal) -> Answer:
    return {"verdict": "refused", "code": refusal.code, "message": refusal.message}


def _failed(code: str, message: str) -> Answer:
    return {"verdict": "failed", "code": code, "message": message}
