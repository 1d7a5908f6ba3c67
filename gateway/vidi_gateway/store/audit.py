"""The audit trail: who did what, and what came of it. Codes and ids only. Blocking: call it from a thread."""

from __future__ import annotations

import time

import sqlalchemy as sa

from vidi_gateway.store.database import Database
from vidi_gateway.store.schema import audit


class Audit:
    """Appends to the trail, and counts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, event: str, *, film_id: str = "", source: str = "", outcome: str = "") -> None:
        """Append one event."""
        row = {"at": time.time(), "event": event, "film_id": film_id, "source": source[:128], "outcome": outcome}
        with self._database.write() as c:
            c.execute(audit.insert().values(**row))

    def counts(self, event: str) -> dict[str, int]:
        """How often an event ended in which outcome."""
        query = sa.select(audit.c.outcome, sa.func.count()).where(audit.c.event == event).group_by(audit.c.outcome)
        with self._database.read() as c:
            return {str(outcome): int(count) for outcome, count in c.execute(query)}
