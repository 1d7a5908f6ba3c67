"""Which workers there are, and since when one has been silent. Blocking: call it from a thread."""

from __future__ import annotations

import time

import sqlalchemy as sa

from vidi_gateway.store.database import Database
from vidi_gateway.store.schema import outbox, studies, workers


class Workers:
    """The table of workers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def beat(self, executor_id: str, version: str) -> None:
        """A worker is alive."""
        now = time.time()
        row = {"executor_id": executor_id, "version": version, "started_at": now, "heartbeat_at": now}
        mine = workers.c.executor_id == executor_id
        with self._database.write() as c:
            if not self._database.insert_new(c, workers, row):
                c.execute(workers.update().where(mine).values(heartbeat_at=now, version=version))

    def seen(self) -> dict[str, float]:
        """When each worker was last heard of, seconds since the epoch."""
        with self._database.read() as c:
            return {row.executor_id: row.heartbeat_at for row in c.execute(workers.select())}

    def claim_lost(self, silent_since: float) -> list[str]:
        """Return workers that have been silent since a moment, each to one caller only.

        A caller that dies before it says `gone` leaves them to the next one, after the same silence.
        """
        now = time.time()
        lost = []
        with self._database.write() as c:
            late = sa.select(workers.c.executor_id).where(workers.c.heartbeat_at < silent_since)
            for executor_id in list(c.execute(late).scalars()):
                where = (workers.c.executor_id == executor_id) & (workers.c.heartbeat_at < silent_since)
                if c.execute(workers.update().where(where).values(heartbeat_at=now)).rowcount:
                    lost.append(executor_id)
        return lost

    def gone(self, executor_id: str) -> None:
        """What a lost worker had begun is others' now: end its leases and forget it."""
        with self._database.write() as c:
            for table in (outbox, studies):
                held = table.c.claimed_by == executor_id
                c.execute(table.update().where(held).values(claimed_by="", claimed_until=0.0))
            c.execute(workers.delete().where(workers.c.executor_id == executor_id))
