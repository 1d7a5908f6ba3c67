"""Other bytes under a SOP Instance UID that is there: the same film in another transfer syntax, or another film."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vidi import logs
from vidi.errors import NotFound, UnreadableImage
from vidi.imaging.notes import Refusal
from vidi_gateway.objects import identity_digest
from vidi_gateway.pipeline.decoder import Decoder
from vidi_gateway.pipeline.identities import keys_of
from vidi_gateway.rules import Rules
from vidi_gateway.store.arrivals import Arrivals
from vidi_gateway.store.audit import Audit
from vidi_gateway.store.files import Store
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.lifecycle import Lifecycle
from vidi_gateway.store.records import Arrival, Film, NewFilm, Verdict
from vidi_gateway.store.site_key import SiteKey
from vidi_gateway.threads import Threads

OTHER_PIXELS = Refusal("OTHER_PIXELS", "other pixels came under a SOP Instance UID that was taken: set aside")
DAMAGED_COPY = Refusal(
    "DAMAGED_COPY", "a copy that cannot be read came under a SOP Instance UID that was taken: set aside"
)

log = logs.get("vidi.gateway.compare")


class Comparer:
    """Gives arrivals their verdict. A repetition after a crash gives the same one."""

    def __init__(
        self,
        journal: Journal,
        arrivals: Arrivals,
        lifecycle: Lifecycle,
        rules: Rules,
        audit: Audit,
        store: Store,
        decoder: Decoder,
        site_key: SiteKey,
        threads: Threads,
        on_change: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._arrivals = arrivals
        self._lifecycle = lifecycle
        self._rules = rules
        self._audit = audit
        self._store = store
        self._decoder = decoder
        self._site_key = site_key
        self._threads = threads
        self._on_change = on_change

    async def compare(self, arrival: Arrival) -> Verdict:
        """Compare an arrival with the film that has its UID, and act on it: the film itself is never overwritten."""
        film = await self._threads.run(self._journal.film, arrival.film_id)
        was, now = await self._known(film), await self._digests(arrival.file_key)
        if was == now and now is not None:
            verdict = Verdict.DUPLICATE
            await self._threads.run(self._arrivals.duplicate, arrival.arrival_id)
            await self._threads.run(self._store.delete, arrival.file_key)
        elif was is None and now is not None:
            verdict = Verdict.REPLACED
            await self._threads.run(self._arrivals.replace, arrival)
        elif was is not None and now is not None and was[0] == now[0]:
            verdict = Verdict.AMENDED
            await self._amend(film, arrival)
        else:
            verdict = Verdict.QUARANTINED
            reason = DAMAGED_COPY if now is None else OTHER_PIXELS
            aside_id = self._site_key.film_id(film.sop_instance_uid, arrival.file_digest)
            aside = _with_bytes_of(arrival, film, aside_id)
            await self._threads.run(self._arrivals.quarantine, arrival.arrival_id, aside, reason)
            await self._threads.run(
                self._audit.note, "quarantined", film_id=film.film_id, source=arrival.source, outcome=reason.code
            )
            log.warning("quarantined", film=film.film_id, quarantine=aside.film_id, reason=reason.code)
        self._on_change()
        return verdict

    async def _amend(self, film: Film, arrival: Arrival) -> None:
        """Same pixels, corrected identity: what was published under the old one is withdrawn and made anew."""
        header = (await self._decoder.film(arrival.file_key)).header
        study_key, patient_key = await self._threads.run(keys_of, self._site_key, header)
        filed_under, identity_key = await self._threads.run(self._lifecycle.identity_of, patient_key)
        routing = self._rules.decide(header, source=arrival.source, line=film.model, named=True)
        amended = replace(
            _with_bytes_of(arrival, film, film.film_id),
            study_key=study_key,
            patient_key=filed_under,
            # What a rule would now ignore was taken once: it keeps the way that it had.
            routing=film.routing if isinstance(routing, Refusal) else routing.to_json(),
            identity_key=identity_key,
        )
        await self._threads.run(self._lifecycle.amend, arrival, amended)
        self._decoder.forget(film.file_key)
        await self._threads.run(self._store.delete, film.file_key)
        await self._threads.run(self._audit.note, "amended", film_id=film.film_id, source=arrival.source)
        log.info("amended", film=film.film_id)

    async def _known(self, film: Film) -> tuple[str, str] | None:
        """The digests of the film that is there: as noted, when its bytes were deleted since."""
        if film.purged_at is not None:
            return (film.pixel_digest, film.identity_digest) if film.pixel_digest else None
        return await self._digests(film.file_key)

    async def _digests(self, key: str) -> tuple[str, str] | None:
        """Pixel and identity digest of a stored film; None when it cannot be read."""
        try:
            film = await self._decoder.film(key)
        except (UnreadableImage, NotFound):
            return None
        return film.pixel_digest, await self._threads.run(identity_digest, film.header)


def _with_bytes_of(arrival: Arrival, film: Film, film_id: str) -> NewFilm:
    """A film like the one that is there, of the bytes that came."""
    return NewFilm(
        film_id=film_id,
        sop_instance_uid=film.sop_instance_uid,
        sop_class_uid=film.sop_class_uid,
        file_key=arrival.file_key,
        file_digest=arrival.file_digest,
        file_bytes=arrival.file_bytes,
        model=film.model,
        source=arrival.source,
    )
