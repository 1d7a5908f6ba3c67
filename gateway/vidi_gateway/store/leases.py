"""Leases: work that one process does at a time, and another goes on with when that one is gone."""

from __future__ import annotations

import time

from vidi_gateway.store.database import Database
from vidi_gateway.store.schema import controls


class Lease:
    """A named lease among the processes that share a journal. Blocking: call it from a thread.

    Parameters
    ----------
    database
        The journal's.
    name
        What it is for.
    holder
        Who we are; another process has another name.
    seconds
        How long it lasts after each `hold`; the same for all holders.
    """

    def __init__(self, database: Database, name: str, holder: str, seconds: float = 60.0) -> None:
        self._database = database
        self._name = f"lease {name}"
        self._holder = holder
        self._seconds = seconds

    def hold(self) -> bool:
        """Take the lease or prolong it. False: another process has it."""
        now = time.time()
        values = {"value": self._holder, "updated_at": now, "updated_by": self._holder}
        free = (controls.c.updated_by == self._holder) | (controls.c.updated_at < now - self._seconds)
        with self._database.write() as c:
            if self._database.insert_new(c, controls, {"name": self._name, **values}):
                return True
            mine = controls.update().where((controls.c.name == self._name) & free).values(**values)
            return bool(c.execute(mine).rowcount)

    def release(self) -> None:
        """Let others have it at once."""
        mine = (controls.c.name == self._name) & (controls.c.updated_by == self._holder)
        with self._database.write() as c:
            c.execute(controls.update().where(mine).values(updated_at=0.0))
