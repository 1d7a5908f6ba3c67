"""Taking a film in: durable file, then journal, then the caller may say Success. Blocking, called from many threads.

Nothing is decoded here: the header decides what is kept, the film's workflow does the rest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

import sqlalchemy as sa
from pydicom import Dataset

from vidi import logs
from vidi.errors import Exhausted, InvalidInput
from vidi.imaging.gate import check_header
from vidi.imaging.notes import Refusal
from vidi_gateway.audit.events import Event
from vidi_gateway.objects import is_own, read_rejection
from vidi_gateway.objects import source as source_of
from vidi_gateway.pipeline import metrics
from vidi_gateway.pipeline.header import read_header
from vidi_gateway.pipeline.identities import keys_of
from vidi_gateway.pipeline.retirements import RETIREMENTS
from vidi_gateway.rules import Rules
from vidi_gateway.settings import GatewaySettings
from vidi_gateway.store.arrivals import Arrivals
from vidi_gateway.store.audit import Audit
from vidi_gateway.store.files import Data, Store, digest
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.lifecycle import Lifecycle
from vidi_gateway.store.records import PRIORITY_LIVE, Arrival, Film, FilmState, NewFilm, Verdict
from vidi_gateway.store.site_key import SiteKey
from vidi_gateway.store.staging import Staged

log = logs.get("vidi.gateway.intake")

OWN_OBJECT = Refusal("OWN_OBJECT", "one of ViDi's own results: dropped")
REJECTED = Refusal("REJECTED", "a rejection note says that it must not be used")
NOT_AN_IMAGE = Refusal("NOT_AN_IMAGE", "holds no image: dropped")


class Fate(StrEnum):
    """What the intake did."""

    KEPT = "kept"
    REFUSED = "refused"  # journalled with its reason, not kept
    DUPLICATE = "duplicate"
    COMPARING = "comparing"  # other bytes under a UID that is there: kept, and compared in the background
    DROPPED = "dropped"  # not a film at all: counted, not journalled
    OBEYED = "obeyed"  # a rejection note: the films that it names are withdrawn


@dataclass(frozen=True)
class Receipt:
    """What became of one instance. `film_id` is "" for what was dropped; `refusal` says why, if it was not kept."""

    fate: Fate
    film_id: str = ""
    state: FilmState = FilmState.RECEIVED
    refusal: Refusal | None = None
    arrival_id: str = ""

    @property
    def duplicate(self) -> bool:
        """Whether the same film was there already."""
        return self.fate is Fate.DUPLICATE


class Coming(Protocol):
    """A film that was hashed, and written to a file without a name, while it came."""

    def digest(self) -> str:
        """Return `digest` of the film; waits until it was computed."""

    @property
    def staged(self) -> Staged | None:
        """The file, if there is one; to be asked for after `digest`."""


class Intake:
    """Takes films in.

    Parameters
    ----------
    settings
        Limits.
    rules
        Which films are taken, by which model, and what happens to their results.
    journal, arrivals, lifecycle, audit, store, site_key
        Where films go.
    on_change
        Called, from the caller's thread, after something was journalled.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        rules: Rules,
        journal: Journal,
        arrivals: Arrivals,
        lifecycle: Lifecycle,
        audit: Audit,
        store: Store,
        site_key: SiteKey,
        on_change: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._rules = rules
        self._journal = journal
        self._arrivals = arrivals
        self._lifecycle = lifecycle
        self._audit = audit
        self._store = store
        self._site_key = site_key
        self._on_change = on_change
        self._depth = (0.0, 0)
        self._depth_lock = threading.Lock()

    def check_room(self, incoming: int = 0) -> None:
        """Check that a film can be taken.

        Raises
        ------
        Exhausted
            DISK_LOW or QUEUE_FULL.
        """
        if self._store.free_bytes() - incoming < self._settings.low_disk_bytes:
            raise Exhausted("the disk is nearly full", reason="DISK_LOW", retry_after=60.0)
        if self._queued() >= self._settings.max_queued:
            raise Exhausted("too many films are waiting", reason="QUEUE_FULL", retry_after=10.0)

    def stage(self) -> Staged | None:
        """Begin the file of a film that is still coming; None where there is no room to spare for what is not kept."""
        spare = self._store.free_bytes() - self._settings.low_disk_bytes
        if spare < self._settings.max_film_bytes * self._settings.max_associations:
            return None
        return self._store.stage()

    def accept(
        self,
        data: Data,
        *,
        source: str,
        model: str,
        expected_uid: str | None = None,
        priority: int = PRIORITY_LIVE,
        named: bool = False,
        called: str = "",
        coming: Coming | None = None,
    ) -> Receipt:
        """Take in one DICOM instance; when this returns, it is durable.

        Parameters
        ----------
        data
            A Part 10 file.
        source
            How it came, such as "dimse:MODALITY1@10.0.0.5"; no patient data.
        model
            Model line.
        expected_uid
            The SOP Instance UID that the peer announced, if it did.
        priority
            Of its workflow, at least: a rule may put it lower.
        named
            Whether a program asked for this model: then no rule chooses another one.
        called
            The AE title that was called; "" where there is none.
        coming
            What was done already while the data came.

        Raises
        ------
        InvalidInput
            UNREADABLE_IMAGE, INVALID_UID, TOO_LARGE: not an instance that could be kept.
        Exhausted
            DISK_LOW, QUEUE_FULL, STORE_FULL.
        """
        receipt = self._take(data, coming, source, model, expected_uid, priority, named, called)
        if receipt.fate in (Fate.DUPLICATE, Fate.COMPARING):
            self._audit.note(Event.TAKEN, film_id=receipt.film_id, source=source, outcome=receipt.fate.value.upper())
        metrics.INSTANCES.labels(receipt.fate.value).inc()
        return receipt

    def note_not_taken(self, source: str, reason: str) -> None:
        """Leave a record of an instance that could not be taken."""
        self._audit.note("instance not taken", source=source, outcome=reason)

    def _take(
        self,
        data: Data,
        coming: Coming | None,
        source: str,
        model: str,
        expected_uid: str | None,
        priority: int,
        named: bool,
        called: str,
    ) -> Receipt:
        self.check_room(len(data))
        if len(data) > self._settings.max_film_bytes:
            raise InvalidInput("the instance is larger than the limit", field="dicom", reason="TOO_LARGE")
        header = read_header(data)
        sop_class, uid = source_of.uid(header, "SOPClassUID"), source_of.uid(header, "SOPInstanceUID")
        if not sop_class or not uid or (expected_uid is not None and expected_uid != uid):
            raise InvalidInput("SOP Class or Instance UID is missing or not valid", field="dicom", reason="INVALID_UID")
        if is_own(header):
            return self._drop(OWN_OBJECT, source)
        if not _holds_image(header):
            return self._obey(header, source) or self._drop(NOT_AN_IMAGE, source)
        routing = self._rules.decide(header, source=source, line=model, called=called, named=named, priority=priority)
        if isinstance(routing, Refusal):
            return self._drop(routing, source)
        film_id = self._site_key.film_id(uid)
        refusal = check_header(header, self._rules.gate)
        study_key, patient_key = keys_of(self._site_key, header)
        with self._journal.database.read() as c:
            filed_under, identity_key = self._lifecycle.identity_of(patient_key, c)
            there = self._journal.find_film(film_id, c)
            rejected = there is None and self._lifecycle.rejection(film_id, c)
        file_digest = coming.digest() if coming else digest(data)
        key = "" if refusal else f"films/{film_id[1:3]}/{film_id}-{file_digest[7:23]}.dcm"
        new = NewFilm(
            film_id=film_id,
            sop_instance_uid=uid,
            sop_class_uid=sop_class,
            file_key=key,
            file_digest=file_digest,
            file_bytes=len(data),
            model=routing.model,
            source=source,
            priority=routing.priority,
            study_key=study_key,
            patient_key=filed_under,
            routing=routing.to_json(),
            identity_key=identity_key,
        )
        if rejected:
            self._journal.add_withdrawn(replace(new, file_key=""), REJECTED)
            self._note_taken(new, REJECTED)
            self._on_change()
            return Receipt(Fate.REFUSED, film_id, FilmState.WITHDRAWN, REJECTED)
        if there is None:
            if not refusal:
                staged = coming.staged if coming else None
                if staged and isinstance(data, memoryview):
                    self._store.keep(key, staged, data)
                else:
                    self._store.put_durable(key, data)
            if self._journal.add_film(new, refusal, lambda c: self._note_taken(new, refusal, c)):
                self._on_change()
                state = FilmState.REFUSED if refusal else FilmState.RECEIVED
                return Receipt(Fate.REFUSED if refusal else Fate.KEPT, film_id, state, refusal)
            there = self._journal.film(film_id)  # another association was faster
        return self._again(there, new, data, refusal)

    def _note_taken(self, new: NewFilm, refusal: Refusal | None, connection: sa.Connection | None = None) -> None:
        self._audit.note(
            Event.REFUSED if refusal else Event.TAKEN,
            film_id=new.film_id,
            source=new.source,
            outcome=refusal.code if refusal else "",
            detail={"study": new.study_key, "patient": new.patient_key},
            connection=connection,
        )

    def _drop(self, refusal: Refusal, source: str) -> Receipt:
        self._audit.note("dropped", source=source, outcome=refusal.code)
        return Receipt(Fate.DROPPED, refusal=refusal)

    def _obey(self, header: Dataset, source: str) -> Receipt | None:
        """Obey a rejection note (IHE RAD, Imaging Object Change Management); None when it is something else."""
        note = read_rejection(header)
        if note is None:
            return None
        uids = [r.sop_instance_uid for r in note.references]
        reason = RETIREMENTS[note.reason]
        ours = self._lifecycle.refuse_results(uids)
        films = self._lifecycle.reject([self._site_key.film_id(u) for u in uids], reason, source)
        self._audit.note("rejection note", source=source, outcome=reason.value.upper())
        log.info("rejection note", source=source, reason=reason.value, objects=len(uids), films=films, own=ours)
        self._on_change()
        return Receipt(Fate.OBEYED)

    def _again(self, there: Film, new: NewFilm, data: Data, refusal: Refusal | None) -> Receipt:
        """An instance whose UID is in the journal."""
        if there.state == FilmState.REFUSED and not there.file_key:
            if not refusal:
                self._store.put_durable(new.file_key, data)
            self._journal.reconsider(new, refusal)
            self._note_taken(new, refusal)
            self._on_change()
            state = FilmState.REFUSED if refusal else FilmState.RECEIVED
            return Receipt(Fate.REFUSED if refusal else Fate.KEPT, new.film_id, state, refusal)
        if there.file_digest == new.file_digest or there.withdrawn_at is not None:
            return Receipt(Fate.DUPLICATE, there.film_id, there.state)
        key = f"arrivals/{new.film_id[1:3]}/{new.film_id}-{new.file_digest[7:23]}.dcm"
        arrival_id = f"{new.film_id}-{new.file_digest[7:23]}"
        known = self._arrivals.find(arrival_id)
        if known is None:
            self._store.put_durable(key, data)
            arrival = Arrival(
                arrival_id, new.film_id, key, new.file_digest, new.file_bytes, new.source, Verdict.PENDING, time.time()
            )
            self._arrivals.add(arrival)
            self._on_change()
        elif known.verdict in (Verdict.DUPLICATE, Verdict.REPLACED, Verdict.AMENDED):
            return Receipt(Fate.DUPLICATE, there.film_id, there.state)
        return Receipt(Fate.COMPARING, there.film_id, there.state, arrival_id=arrival_id)

    def _queued(self) -> int:
        """Unfinished films, counted at most twice a second."""
        with self._depth_lock:
            counted, depth = self._depth
            if time.monotonic() - counted > 0.5:
                depth = self._journal.unfinished_count()
                self._depth = (time.monotonic(), depth)
            return depth


def _holds_image(header: Dataset) -> bool:
    """Whether the instance is an image at all (image pixel module, PS3.3 C.7.6.3)."""
    return "Rows" in header and "Columns" in header
