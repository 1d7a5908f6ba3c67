"""What is going on, counted in the journal: by queries that use its indexes, however many films it has.

Blocking: call it from a thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from vidi_gateway.store.database import Database
from vidi_gateway.store.records import ACTIVE, UNFINISHED, DeliveryState, FilmState
from vidi_gateway.store.schema import analyses, audit, films, outbox

#: Events of the audit trail by which an instance, or who sent it, was turned away without a row among the films.
TURNED_AWAY = ("dropped", "instance not taken", "association rejected", "request refused")
#: A film's row is written a moment after its time was taken; what was read lately is read again.
_OVERLAP_SECONDS = 300.0


@dataclass(frozen=True)
class SourceCount:
    """How many films or instances of a source. `reason` is "" for films that were not turned away."""

    source: str
    state: str
    reason: str
    count: int


class Activity:
    """Counts.

    Parameters
    ----------
    database
        The journal's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}
        self._read_to: float | None = None

    def last_films(self) -> dict[str, float]:
        """Return when each source's last film came, in seconds since the epoch.

        All films are looked at once in the life of this object; after that, new ones.
        """
        with self._lock:
            query = sa.select(films.c.source, sa.func.max(films.c.received_at)).group_by(films.c.source)
            if self._read_to is not None:
                query = query.where(films.c.received_at >= self._read_to - _OVERLAP_SECONDS)
            with self._database.read() as c:
                rows = c.execute(query).all()
            for source, at in rows:
                self._last[source] = max(self._last.get(source, 0.0), float(at))
            if self._last:
                self._read_to = max(self._last.values())
            return dict(self._last)

    def films_since(self, moment: float) -> list[SourceCount]:
        """Return films that came since a moment, by source, state they are in, and reason if they were refused."""
        refused = films.c.state == FilmState.REFUSED
        reason = sa.case((refused, films.c.reason_code), else_="").label("reason")
        query = (
            sa.select(films.c.source, films.c.state, reason, sa.func.count())
            .where(films.c.received_at >= moment)
            .group_by(films.c.source, films.c.state, reason)
        )
        with self._database.read() as c:
            return [SourceCount(s, state, r, int(n)) for s, state, r, n in c.execute(query)]

    def turned_away_since(self, moment: float) -> list[SourceCount]:
        """Return instances, requests and associations that were turned away since a moment, by source and reason."""
        where = (audit.c.at >= moment) & audit.c.event.in_(TURNED_AWAY)
        columns = (audit.c.source, audit.c.event, audit.c.outcome)
        query = sa.select(*columns, sa.func.count()).where(where).group_by(*columns)
        with self._database.read() as c:
            return [SourceCount(s, event, reason, int(n)) for s, event, reason, n in c.execute(query)]

    def queue(self) -> tuple[int, float | None]:
        """Return how many analyses wait or are worked on, and since when the oldest unfinished film is there."""
        count = sa.select(sa.func.count()).select_from(analyses).where(analyses.c.state.in_(ACTIVE))
        oldest = sa.select(sa.func.min(films.c.received_at)).where(films.c.state.in_(UNFINISHED))
        with self._database.read() as c:
            return int(c.execute(count).scalar_one()), c.execute(oldest).scalar()

    def outbox(self, destinations: Iterable[str]) -> dict[tuple[str, DeliveryState], int]:
        """Return how many objects are not delivered, by destination and state; no row for none."""
        found = {}
        with self._database.read() as c:
            for name in destinations:
                for state in (DeliveryState.PENDING, DeliveryState.SENT, DeliveryState.DEAD):
                    where = (outbox.c.destination == name) & (outbox.c.state == state)
                    count = c.execute(sa.select(sa.func.count()).select_from(outbox).where(where)).scalar_one()
                    if count:
                        found[name, state] = int(count)
        return found
