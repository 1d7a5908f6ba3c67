"""The outbox: which object is to be sent where, and whether it arrived, by leases, so that several workers share it.

    pending -> sent -> confirmed          an object that its destination says it has is delivered
       ^         |
       +---------+                        the destination denies having what it acknowledged: it is sent again
    pending | sent -> dead -> pending     set aside after too many attempts or denials; an operator replays it
    pending | dead -> cancelled           retired before it was sent (store/study_rows.py)

Every method is one transaction and blocks: call it from a thread.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from vidi_gateway.audit.events import Event
from vidi_gateway.store.audit import Audit
from vidi_gateway.store.database import Database
from vidi_gateway.store.records import DeliveryState, OutboxEntry
from vidi_gateway.store.schema import films, objects, outbox

MAX_ERROR = 255
NOT_CONFIRMED = "NOT_CONFIRMED"
CONFIRMATION_FAILED = "CONFIRMATION_FAILED"
#: Bounds of the pause between two questions about an object; in between it grows with the time since it was sent.
SOONEST, LATEST = 1.0, 60.0
_NOTED = {
    DeliveryState.SENT: Event.SENT,
    DeliveryState.CONFIRMED: Event.DELIVERED,
    DeliveryState.DEAD: Event.NOT_DELIVERED,
}


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
    confirm_attempts
        How often an object may be acknowledged and denied before it is set aside.
    resend_cap
        Longest pause in seconds before an object that was denied is sent again.
    audit
        Hears of what was sent, is delivered, and is set aside.
    """

    def __init__(
        self,
        database: Database,
        owner: str,
        lease_seconds: float = 300.0,
        *,
        confirm_attempts: int = 5,
        resend_cap: float = 300.0,
        audit: Audit | None = None,
    ) -> None:
        self.database = database
        self.owner = owner
        self.lease_seconds = lease_seconds
        self._confirm_attempts = confirm_attempts
        self._resend_cap = resend_cap
        self._audit = audit

    def release_own(self) -> None:
        """End this worker's leases: it has just started. What it was sending when it ended may have arrived."""
        own = outbox.c.claimed_by == self.owner
        with self.database.write() as c:
            sending = own & (outbox.c.state == DeliveryState.PENDING)
            c.execute(outbox.update().where(sending).values(sent_at=sa.func.coalesce(outbox.c.sent_at, time.time())))
            c.execute(outbox.update().where(own).values(claimed_by="", claimed_until=0.0))

    def claim(self, destination: str, limit: int) -> list[OutboxEntry]:
        """Lease what is due to be sent to a destination, by priority, then in the order in which it came.

        Parameters
        ----------
        destination
            Its name.
        limit
            At most how many objects.
        """
        return self._claim(destination, DeliveryState.PENDING, sa.true(), limit)

    def claim_sent(self, destination: str, limit: int) -> list[OutboxEntry]:
        """Lease what was sent to a destination and is due to be asked for."""
        return self._claim(destination, DeliveryState.SENT, outbox.c.confirm_by.is_not(None), limit)

    def may_send(self, id_: int) -> bool:
        """Whether a claimed object is still to be sent, and by this worker; keeps its lease alive."""
        now = time.time()
        query = sa.select(outbox.c.state, outbox.c.claimed_by, outbox.c.claimed_until).where(outbox.c.id == id_)
        with self.database.read() as c:
            row = c.execute(query).first()
        if row is None or (row.state, row.claimed_by) != (DeliveryState.PENDING, self.owner):
            return False
        if row.claimed_until - now > self.lease_seconds / 2:
            return True
        where = (outbox.c.id == id_) & (outbox.c.claimed_by == self.owner)
        where &= outbox.c.state == DeliveryState.PENDING
        with self.database.write() as c:
            return c.execute(outbox.update().where(where).values(claimed_until=now + self.lease_seconds)).rowcount == 1

    def release(self, ids: Collection[int]) -> None:
        """Give back what was claimed and not tried."""
        if not ids:
            return
        where = outbox.c.id.in_(ids) & (outbox.c.claimed_by == self.owner)
        with self.database.write() as c:
            c.execute(outbox.update().where(where).values(claimed_by="", claimed_until=0.0))

    def sent(self, ids: Collection[int], confirm_seconds: float | None = None) -> None:
        """The destination answered Success.

        Parameters
        ----------
        ids
            Rows.
        confirm_seconds
            How long it may deny having the objects; None: it is not asked.
        """
        if not ids:
            return
        now = time.time()
        confirm_by = None if confirm_seconds is None else now + confirm_seconds
        self._settle(
            ids,
            state=DeliveryState.SENT,
            last_error="",
            sent_at=now,
            confirm_by=confirm_by,
            next_attempt=now,
            commit_transaction="",
        )
        # Retired while it was on its way: it is not sent again, but it is there, and a rejection note has to follow.
        retired = outbox.c.id.in_(ids) & (outbox.c.state == DeliveryState.CANCELLED)
        with self.database.write() as c:
            c.execute(outbox.update().where(retired).values(sent_at=now, claimed_by="", claimed_until=0.0))

    def postpone(self, ids: Collection[int], error: str, wait: float, *, may_have_arrived: bool = False) -> None:
        """Try again after `wait` seconds. What may have arrived all the same is remembered as sent once."""
        now = time.time()
        values: dict[str, Any] = {"next_attempt": now + wait, "last_error": error[:MAX_ERROR]}
        if may_have_arrived:
            values["sent_at"] = sa.func.coalesce(outbox.c.sent_at, now)
        self._settle(ids, **values)

    def give_up(self, ids: Collection[int], error: str) -> None:
        """Set aside as dead letters."""
        self._settle(ids, state=DeliveryState.DEAD, last_error=error[:MAX_ERROR])

    def asked(self, ids: Collection[int], transaction: str, wait: float) -> None:
        """A Storage Commitment is about to be asked for: its answer may come at any moment, to any process.

        Parameters
        ----------
        ids
            Rows that are sent.
        transaction
            Its UID.
        wait
            Seconds until the rows are due again without an answer.
        """
        values = {"commit_transaction": transaction, "next_attempt": time.time() + wait}
        where = outbox.c.id.in_(ids) & (outbox.c.state == DeliveryState.SENT)
        with self.database.write() as c:
            c.execute(outbox.update().where(where).values(**values, claimed_by="", claimed_until=0.0))

    def ask_later(self, ids: Collection[int], error: str = "", wait: float | None = None) -> None:
        """Ask again later for what was sent: the destination did not say yes or no.

        Parameters
        ----------
        ids
            Rows.
        error
            Why, a code.
        wait
            Seconds; None: the longer, the longer ago it was sent.
        """
        if not ids:
            return
        now = time.time()
        where = outbox.c.id.in_(ids) & (outbox.c.state == DeliveryState.SENT)
        with self.database.write() as c:
            for row in c.execute(sa.select(outbox.c.id, outbox.c.sent_at).where(where).with_for_update()).all():
                pause = _pause(now, row.sent_at) if wait is None else wait
                values: dict[str, Any] = {"next_attempt": now + pause, "last_error": error[:MAX_ERROR]}
                values |= {"claimed_by": "", "claimed_until": 0.0, "updated_at": now}
                c.execute(outbox.update().where(outbox.c.id == row.id).values(**values))

    def confirmed(self, ids: Collection[int]) -> int:
        """The destination says that it has these: delivered. Returns how many were not known to be so before."""
        if not ids:
            return 0
        with self.database.write() as c:
            return self._confirm(c, outbox.c.id.in_(ids))

    def denied(self, ids: Collection[int]) -> dict[DeliveryState, int]:
        """The destination says that it does not have what it acknowledged.

        It may still be storing it: until its time is over it is asked again (SENT). Then the object is sent again
        (PENDING), and after too many denials set aside (DEAD). A retired one is not (CANCELLED).

        Returns
        -------
        How many rows are in which state now.
        """
        if not ids:
            return {}
        with self.database.write() as c:
            return self._deny(c, outbox.c.id.in_(ids))

    def committed(
        self, transaction: str, committed: Collection[str], failed: Collection[str]
    ) -> dict[DeliveryState, int]:
        """Obey the answer to a request for Storage Commitment; one that nobody waits for changes nothing.

        Parameters
        ----------
        transaction
            Of the request.
        committed, failed
            SOP Instance UIDs that the destination has, and has not.

        Returns
        -------
        How many rows are in which state now.
        """
        if not transaction:
            return {}
        ours = outbox.c.commit_transaction == transaction
        with self.database.write() as c:
            count = self._confirm(c, ours & outbox.c.uid.in_(committed))
            states = self._deny(c, ours & outbox.c.uid.in_(failed))
        return states | ({DeliveryState.CONFIRMED: count} if count else {})

    def replay(self, film_id: str = "", destination: str = "") -> int:
        """Make dead letters pending again, of one film or destination or all; return how many."""
        where = outbox.c.state == DeliveryState.DEAD
        where &= (outbox.c.film_id == film_id) if film_id else sa.true()
        where &= (outbox.c.destination == destination) if destination else sa.true()
        now = time.time()
        values: dict[str, Any] = {"state": DeliveryState.PENDING, "attempts": 0, "denials": 0, "next_attempt": now}
        with self.database.write() as c:
            ids = list(c.execute(sa.select(outbox.c.id).where(where)).scalars())
            c.execute(outbox.update().where(where).values(**values, updated_at=now))
            self._touch_films(c, ids)
        return len(ids)

    def counts(self) -> dict[tuple[str, DeliveryState], int]:
        """Number of objects by destination and state."""
        query = sa.select(outbox.c.destination, outbox.c.state, sa.func.count()).group_by(
            outbox.c.destination, outbox.c.state
        )
        with self.database.read() as c:
            return {(d, DeliveryState(s)): n for d, s, n in c.execute(query)}

    def oldest(self, destination: str) -> float | None:
        """When the oldest object came into being that waits to be sent to a destination, seconds since the epoch."""
        waiting = (outbox.c.destination == destination) & (outbox.c.state == DeliveryState.PENDING)
        with self.database.read() as c:
            return c.execute(sa.select(sa.func.min(outbox.c.created_at)).where(waiting)).scalar()

    def _claim(
        self, destination: str, state: DeliveryState, more: sa.ColumnElement[bool], limit: int
    ) -> list[OutboxEntry]:
        now = time.time()
        due = (outbox.c.destination == destination) & (outbox.c.state == state) & more
        due &= (outbox.c.next_attempt <= now) & (outbox.c.claimed_until < now)
        query = outbox.select().where(due).order_by(outbox.c.priority, outbox.c.id).limit(limit)
        with self.database.write() as c:
            rows = list(c.execute(query.with_for_update(skip_locked=True)).mappings())
            if not rows:
                return []
            ids = [r["id"] for r in rows]
            if state is DeliveryState.PENDING:  # whoever claimed it before and fell silent may have sent it
                lapsed = outbox.c.id.in_(ids) & (outbox.c.claimed_by != "")
                c.execute(outbox.update().where(lapsed).values(sent_at=sa.func.coalesce(outbox.c.sent_at, now)))
            lease = {"claimed_by": self.owner, "claimed_until": now + self.lease_seconds}
            c.execute(outbox.update().where(outbox.c.id.in_(ids)).values(**lease))
        names = OutboxEntry.__dataclass_fields__.keys()
        return [OutboxEntry(**{n: r[n] for n in names}) for r in rows]

    def _settle(self, ids: Collection[int], **values: Any) -> None:
        """End an attempt at sending."""
        if not ids:
            return
        settled = {"attempts": outbox.c.attempts + 1, "claimed_by": "", "claimed_until": 0.0, "updated_at": time.time()}
        where = outbox.c.id.in_(ids) & (outbox.c.state == DeliveryState.PENDING)
        with self.database.write() as c:
            concerned = list(c.execute(sa.select(outbox.c.id).where(where).with_for_update()).scalars())
            c.execute(outbox.update().where(outbox.c.id.in_(concerned)).values(**settled, **values))
            self._note(c, concerned)
            self._touch_films(c, ids)

    def _confirm(self, c: sa.Connection, where: sa.ColumnElement[bool]) -> int:
        # An object that is denied once, sent again and then found is there: a late yes to the first question counts.
        open_ = outbox.c.state.in_((DeliveryState.SENT, DeliveryState.PENDING)) & outbox.c.sent_at.is_not(None)
        ids = list(c.execute(sa.select(outbox.c.id).where(where & open_).with_for_update()).scalars())
        values = {"state": DeliveryState.CONFIRMED, "last_error": "", "claimed_by": "", "claimed_until": 0.0}
        c.execute(outbox.update().where(outbox.c.id.in_(ids)).values(**values, updated_at=time.time()))
        self._note(c, ids)
        self._touch_films(c, ids)
        return len(ids)

    def _deny(self, c: sa.Connection, where: sa.ColumnElement[bool]) -> dict[DeliveryState, int]:
        now = time.time()
        retired = sa.exists().where((objects.c.uid == outbox.c.uid) & objects.c.retired_at.is_not(None))
        columns = (outbox.c.id, outbox.c.sent_at, outbox.c.confirm_by, outbox.c.denials, retired.label("retired"))
        query = sa.select(*columns).where(where & (outbox.c.state == DeliveryState.SENT)).with_for_update()
        states: dict[DeliveryState, int] = {}
        changed = []
        for row in c.execute(query).all():
            values: dict[str, Any] = {"last_error": NOT_CONFIRMED, "state": DeliveryState.SENT}
            if row.retired:
                values["state"] = DeliveryState.CANCELLED
            elif row.confirm_by is not None and now < row.confirm_by:
                values["next_attempt"] = now + _pause(now, row.sent_at)
            elif row.denials + 1 >= self._confirm_attempts:
                values |= {"state": DeliveryState.DEAD, "denials": row.denials + 1, "last_error": CONFIRMATION_FAILED}
            else:
                wait = min(self._resend_cap, 2.0**row.denials)
                values |= {"state": DeliveryState.PENDING, "denials": row.denials + 1, "next_attempt": now + wait}
            values |= {"claimed_by": "", "claimed_until": 0.0, "commit_transaction": "", "updated_at": now}
            c.execute(outbox.update().where(outbox.c.id == row.id).values(**values))
            states[values["state"]] = states.get(values["state"], 0) + 1
            if values["state"] is not DeliveryState.SENT:
                changed.append(row.id)
        self._note(c, changed)
        self._touch_films(c, changed)
        return states

    def _note(self, c: sa.Connection, ids: Collection[int]) -> None:
        """Write into the audit trail what became of objects."""
        if self._audit is None or not ids:
            return
        columns = (outbox.c.film_id, outbox.c.destination, outbox.c.kind, outbox.c.state, outbox.c.last_error)
        query = sa.select(*columns, films.c.study_key, films.c.patient_key)
        query = query.outerjoin(films, films.c.film_id == outbox.c.film_id).order_by(outbox.c.id)
        for row in c.execute(query.where(outbox.c.id.in_(ids) & outbox.c.state.in_(_NOTED))).all():
            detail = {"kind": row.kind, "study": row.study_key or "", "patient": row.patient_key or ""}
            event = _NOTED[row.state]
            error = row.last_error if event is Event.NOT_DELIVERED else ""
            name = f"destination:{row.destination}"
            self._audit.note(event, film_id=row.film_id, source=name, outcome=error, detail=detail, connection=c)

    def _touch_films(self, c: sa.Connection, ids: Collection[int]) -> None:
        """A delivery is part of what a watcher of the film sees."""
        if not ids:
            return
        concerned = sa.select(outbox.c.film_id).where(outbox.c.id.in_(ids))
        values = {"revision": films.c.revision + 1, "updated_at": time.time()}
        c.execute(films.update().where(films.c.film_id.in_(concerned)).values(**values))


def _pause(now: float, sent_at: float | None) -> float:
    return min(LATEST, max(SOONEST, now - (sent_at or now)))
