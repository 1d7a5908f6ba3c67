"""The outbox: which object is to be sent where, by leases, so that several workers share it.

Every method is one transaction and blocks: call it from a thread.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import sqlalchemy as sa

from vidi_gateway.store.database import Database
from vidi_gateway.store.records import DeliveryState, OutboxEntry
from vidi_gateway.store.schema import films, outbox

MAX_ERROR = 255


class Outbox:
    """Objects times destinations.

    Parameters
    ----------
    database
        The journal's.
    owner
        Stable name of this worker: leases of its former life end when it starts.
    lease_seconds
        After which another worker may send what this one has claimed.
    """

    def __init__(self, database: Database, owner: str, lease_seconds: float = 300.0) -> None:
        self.database = database
        self.owner = owner
        self.lease_seconds = lease_seconds

    def release_own(self) -> None:
        """End this worker's leases: it has just started, nothing is being sent."""
        with self.database.write() as c:
            where = (outbox.c.claimed_by == self.owner) & (outbox.c.state == DeliveryState.PENDING)
            c.execute(outbox.update().where(where).values(claimed_by="", claimed_until=0.0))

    def claim(self, destination: str, limit: int) -> list[OutboxEntry]:
        """Lease what is due at a destination, films in order and each film's objects together.

        Parameters
        ----------
        destination
            Its name.
        limit
            About how many objects: a film that was begun is taken whole.
        """
        now = time.time()
        due = (outbox.c.destination == destination) & (outbox.c.state == DeliveryState.PENDING)
        due &= (outbox.c.next_attempt <= now) & (outbox.c.claimed_until < now)
        with self.database.write() as c:
            first = sa.select(outbox.c.film_id).where(due).order_by(outbox.c.next_attempt, outbox.c.id).limit(limit)
            chosen = list(dict.fromkeys(c.execute(first).scalars()))
            if not chosen:
                return []
            query = (
                outbox.select()
                .where(due & outbox.c.film_id.in_(chosen))
                .order_by(outbox.c.id)
                .with_for_update(skip_locked=True)
            )
            rows = list(c.execute(query).mappings())
            lease = {"claimed_by": self.owner, "claimed_until": now + self.lease_seconds}
            c.execute(outbox.update().where(outbox.c.id.in_([r["id"] for r in rows])).values(**lease))
        names = OutboxEntry.__dataclass_fields__.keys()
        return [OutboxEntry(**{n: r[n] for n in names}) for r in rows]

    def sent(self, ids: Sequence[int]) -> None:
        """The destination answered Success."""
        self._settle(ids, state=DeliveryState.SENT, last_error="")

    def postpone(self, ids: Sequence[int], error: str, wait: float) -> None:
        """Try again after `wait` seconds."""
        self._settle(ids, next_attempt=time.time() + wait, last_error=error[:MAX_ERROR])

    def give_up(self, ids: Sequence[int], error: str) -> None:
        """Set aside as dead letters."""
        self._settle(ids, state=DeliveryState.DEAD, last_error=error[:MAX_ERROR])

    def replay(self, film_id: str = "", destination: str = "") -> int:
        """Make dead letters pending again, of one film or destination or all; return how many."""
        where = outbox.c.state == DeliveryState.DEAD
        where &= (outbox.c.film_id == film_id) if film_id else sa.true()
        where &= (outbox.c.destination == destination) if destination else sa.true()
        now = time.time()
        values = {"state": DeliveryState.PENDING, "attempts": 0, "next_attempt": now, "updated_at": now}
        with self.database.write() as c:
            ids = list(c.execute(sa.select(outbox.c.id).where(where)).scalars())
            c.execute(outbox.update().where(where).values(**values))
            self._touch_films(c, ids)
        return len(ids)

    def counts(self) -> dict[tuple[str, DeliveryState], int]:
        """Number of objects by destination and state."""
        query = sa.select(outbox.c.destination, outbox.c.state, sa.func.count()).group_by(
            outbox.c.destination, outbox.c.state
        )
        with self.database.read() as c:
            return {(d, DeliveryState(s)): n for d, s, n in c.execute(query)}

    def _settle(self, ids: Sequence[int], **values: object) -> None:
        if not ids:
            return
        settled = {"attempts": outbox.c.attempts + 1, "claimed_by": "", "claimed_until": 0.0, "updated_at": time.time()}
        where = outbox.c.id.in_(ids) & (outbox.c.state == DeliveryState.PENDING)
        with self.database.write() as c:
            c.execute(outbox.update().where(where).values(**settled, **values))
            self._touch_films(c, ids)

    def _touch_films(self, c: sa.Connection, ids: Sequence[int]) -> None:
        """A delivery is part of what a watcher of the film sees."""
        concerned = sa.select(outbox.c.film_id).where(outbox.c.id.in_(ids))
        values = {"revision": films.c.revision + 1, "updated_at": time.time()}
        c.execute(films.update().where(films.c.film_id.in_(concerned)).values(**values))
