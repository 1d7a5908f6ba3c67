"""Other bytes under a SOP Instance UID that is in the journal. Blocking: call it from a thread."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from vidi.imaging.notes import Refusal
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.records import Arrival, FilmState, NewFilm, Verdict
from vidi_gateway.store.schema import analyses, arrivals, films


class Arrivals:
    """The table of arrivals; its verdicts change films, so that it works on the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._database = journal.database

    def add(self, arrival: Arrival) -> bool:
        """Journal an arrival. Returns False when these bytes came before."""
        with self._database.write() as c:
            return bool(self._database.insert_new(c, arrivals, asdict(arrival)))

    def find(self, arrival_id: str) -> Arrival | None:
        """Return an arrival, if it is there."""
        with self._database.read() as c:
            row = c.execute(arrivals.select().where(arrivals.c.arrival_id == arrival_id)).mappings().first()
        return _arrival(row) if row else None

    def pending(self, limit: int = 100) -> list[Arrival]:
        """Return arrivals without a verdict, in order."""
        query = (
            arrivals.select().where(arrivals.c.verdict == Verdict.PENDING).order_by(arrivals.c.received_at).limit(limit)
        )
        with self._database.read() as c:
            return [_arrival(r) for r in c.execute(query).mappings()]

    def duplicate(self, arrival_id: str) -> None:
        """It is the film that is there."""
        with self._database.write() as c:
            settle(c, arrival_id, Verdict.DUPLICATE)

    def quarantine(self, arrival_id: str, aside: NewFilm, reason: Refusal) -> None:
        """It is another film: it becomes a film of its own that is set aside."""
        with self._database.write() as c:
            if settle(c, arrival_id, Verdict.QUARANTINED):
                self._journal.insert_film(c, aside, reason, time.time(), state=FilmState.QUARANTINED)

    def replace(self, arrival: Arrival) -> None:
        """What was there cannot be read: the film is from now on what came, and starts again on all its lines."""
        now = time.time()
        with self._database.write() as c:
            if not settle(c, arrival.arrival_id, Verdict.REPLACED):
                return
            file = {"file_key": arrival.file_key, "file_digest": arrival.file_digest, "file_bytes": arrival.file_bytes}
            c.execute(films.update().where(films.c.film_id == arrival.film_id).values(**file))
            query = analyses.select().where(analyses.c.film_id == arrival.film_id).with_for_update()
            for row in c.execute(query).mappings().all():
                self._journal.start_anew(c, row, now)


def settle(c: sa.Connection, arrival_id: str, verdict: Verdict) -> bool:
    """Give an arrival its verdict, inside the caller's transaction. False: it has one already."""
    where = (arrivals.c.arrival_id == arrival_id) & (arrivals.c.verdict == Verdict.PENDING)
    return bool(c.execute(arrivals.update().where(where).values(verdict=verdict)).rowcount)


def _arrival(row: Mapping[Any, Any]) -> Arrival:
    return Arrival(**{**row, "verdict": Verdict(row["verdict"])})
