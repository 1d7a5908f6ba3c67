"""The operators' switches. One so far: whether results are delivered.

Stopping delivery stops sending and nothing else: films keep being acknowledged, processed and stored, and what is due
waits in the outbox until delivery runs again. The switch stands in the journal, so that it holds for every process and
across restarts. Blocking: call it from a thread.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from vidi.errors import Unavailable
from vidi_gateway.store.audit import Audit
from vidi_gateway.store.database import Database
from vidi_gateway.store.schema import controls

DELIVERY = "delivery"
#: After so many seconds at the latest every process has seen that the switch was thrown.
CACHE_SECONDS = 0.5


class DeliveryState(StrEnum):
    """Whether results are sent."""

    RUNNING = "running"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Switch:
    """How the switch stands.

    Attributes
    ----------
    state
        Running, or stopped.
    since
        When it was thrown last, in seconds since the epoch; 0.0: never.
    actor
        Who did; "" when nobody has.
    """

    state: DeliveryState = DeliveryState.RUNNING
    since: float = 0.0
    actor: str = ""

    @property
    def running(self) -> bool:
        """Whether results are sent."""
        return self.state is DeliveryState.RUNNING


class Controls:
    """Reads and throws the switches.

    Parameters
    ----------
    database
        The journal's.
    audit
        Every throw is noted there, in the same transaction.
    """

    def __init__(self, database: Database, audit: Audit) -> None:
        self._database = database
        self._audit = audit
        self._lock = threading.Lock()
        self._allowed = False
        self._read_at = -CACHE_SECONDS

    def delivery(self) -> Switch:
        """Return how the switch stands now."""
        with self._database.read() as c:
            return self._read(c)

    def set_delivery(self, state: DeliveryState, actor: str) -> Switch:
        """Throw the switch; throwing it to where it stands changes nothing, and is noted all the same.

        Parameters
        ----------
        state
            Where to.
        actor
            Who does, such as "http:10.0.0.7"; no patient data.

        Returns
        -------
        How it stands then.
        """
        with self._database.write() as c:
            before = self._read(c)
            switch = before if before.state is state else Switch(state, time.time(), actor[:128])
            if switch is not before:
                row = {"value": state.value, "updated_at": switch.since, "updated_by": switch.actor}
                if not self._database.insert_new(c, controls, {"name": DELIVERY, **row}):
                    c.execute(controls.update().where(controls.c.name == DELIVERY).values(**row))
            self._audit.note(
                f"delivery {state.value}",
                actor=actor,
                action="E",
                outcome="" if switch is not before else "UNCHANGED",
                connection=c,
            )
        with self._lock:
            self._read_at = -CACHE_SECONDS
        return switch

    def delivery_allowed(self) -> bool:
        """Whether results may be sent now: at most `CACHE_SECONDS` old, and no when the journal cannot be read."""
        with self._lock:
            now = time.monotonic()
            if now - self._read_at >= CACHE_SECONDS:
                try:
                    self._allowed = self.delivery().running
                except (SQLAlchemyError, Unavailable):
                    # Whether an operator has stopped it cannot be known: then nothing is sent.
                    return False
                self._read_at = now
            return self._allowed

    def _read(self, c: sa.Connection) -> Switch:
        row = c.execute(controls.select().where(controls.c.name == DELIVERY)).mappings().first()
        if row is None:
            return Switch()
        # What a newer version has written there and this one does not know is not "running".
        running = row["value"] == DeliveryState.RUNNING
        state = DeliveryState.RUNNING if running else DeliveryState.STOPPED
        return Switch(state, row["updated_at"], row["updated_by"])
