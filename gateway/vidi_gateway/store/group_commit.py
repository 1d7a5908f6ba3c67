"""One transaction for all who wait: durable commits cost the disk as much for eight films as for one.

Whoever finds nobody at work leads: it takes all that wait, its own among them, into one transaction. What comes
meanwhile waits for the next one, led by the first that waits. A film alone waits for nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

import sqlalchemy as sa

T = TypeVar("T")
#: One transaction holds so many at most: its locks are other processes' waiting time.
MAX_GROUP = 64


class _Job:
    def __init__(self, work: Callable[[sa.Connection], Any]) -> None:
        self.work = work
        self.result: Any = None
        self.settled = False
        self.alone = False
        self.woken = threading.Event()


class GroupCommit:
    """Runs work in transactions that are shared by all threads which want one at the same time.

    Parameters
    ----------
    write
        Opens a transaction that is durable when its block ends.
    """

    def __init__(self, write: Callable[[], AbstractContextManager[sa.Connection]]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._waiting: list[_Job] = []
        self._led = False

    def run(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` inside a transaction, and return what it returns once that is durable.

        Parameters
        ----------
        work
            Touches nothing but the connection: when somebody's work fails, the group's transaction is rolled back, and
            each is run again in one of its own.

        Raises
        ------
        Exception
            What `work`, or its commit, raised. Others in the group do not notice.
        """
        job = _Job(work)
        with self._lock:
            self._waiting.append(job)
            leads, self._led = not self._led, True
        if not leads:
            job.woken.wait()
        if not job.settled:
            self._lead(job)
        if job.alone:
            with self._write() as connection:
                return work(connection)
        return cast(T, job.result)

    def _lead(self, own: _Job) -> None:
        """Take all who wait, `own` first, into one transaction; then let the next group's first one lead."""
        with self._lock:
            group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
        try:
            with self._write() as connection:
                results = [job.work(connection) for job in group]
            for job, result in zip(group, results, strict=True):
                job.result = result
        except BaseException as e:
            for job in group:
                job.alone = True
            if len(group) == 1 or not isinstance(e, Exception):
                raise
        finally:
            with self._lock:
                following = self._waiting[0] if self._waiting else None
                self._led = following is not None
            for job in group:
                job.settled = True
                if job is not own:
                    job.woken.set()
            if following:
                following.woken.set()
