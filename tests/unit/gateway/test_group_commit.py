"""Transactions shared by those who wait: everybody's work is durable, and only what fails fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from vidi_gateway.store.database import Database
from vidi_gateway.store.group_commit import MAX_GROUP, GroupCommit
from vidi_gateway.store.schema import controls


def row(name: str) -> dict[str, Any]:
    return {"name": name, "value": "", "updated_at": 0.0, "updated_by": ""}


def insert(name: str) -> Callable[[sa.Connection], str]:
    def work(c: sa.Connection) -> str:
        c.execute(controls.insert().values(**row(name)))
        return name

    return work


def there(database: Database) -> set[str]:
    with database.read() as c:
        return set(c.execute(sa.select(controls.c.name)).scalars())


class Counted:
    """Transactions, counted; the first one waits until `go`, so that others gather."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.count = 0
        self.go = threading.Event()
        self.entered = threading.Event()

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        self.count += 1
        with self._database.write() as c:
            if self.count == 1:
                self.entered.set()
                assert self.go.wait(60)
            yield c


def gathered(group: GroupCommit, counted: Counted, works: list[Callable[[sa.Connection], Any]]) -> list[Any]:
    """Run all at once behind one that leads; return results and errors in order."""

    def run(work: Callable[[sa.Connection], Any]) -> Any:
        try:
            return group.run(work)
        except Exception as e:  # noqa: BLE001 - what a test looks at
            return e

    with ThreadPoolExecutor(len(works) + 1) as pool:
        first = pool.submit(group.run, insert("first"))
        assert counted.entered.wait(60)
        others = [pool.submit(run, w) for w in works]
        deadline = time.monotonic() + 60
        while len(group._waiting) < len(works):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        counted.go.set()
        assert first.result(60) == "first"
        return [o.result(60) for o in others]


def test_those_who_wait_share_a_transaction(database: Database) -> None:
    counted = Counted(database)
    names = [f"n{i}" for i in range(20)]
    assert gathered(GroupCommit(counted.write), counted, [insert(n) for n in names]) == names
    assert there(database) == {"first", *names}
    assert counted.count == 2, "one for the first, one for all who came meanwhile"


def test_a_group_is_bounded(database: Database) -> None:
    counted = Counted(database)
    names = [f"n{i}" for i in range(MAX_GROUP + 1)]
    assert gathered(GroupCommit(counted.write), counted, [insert(n) for n in names]) == names
    assert counted.count == 3


def test_whose_work_fails_fails_alone(database: Database) -> None:
    counted = Counted(database)
    works = [insert("a"), insert("first"), insert("b"), insert("c")]
    a, doubled, b, c = gathered(GroupCommit(counted.write), counted, works)
    assert (a, b, c) == ("a", "b", "c")
    assert isinstance(doubled, sa.exc.IntegrityError)
    assert there(database) == {"first", "a", "b", "c"}


def test_nobody_hears_of_success_before_the_commit(database: Database) -> None:
    """The commit itself fails: everybody is tried again alone, and what fails again is heard of."""
    failing = 1

    @contextmanager
    def write() -> Iterator[sa.Connection]:
        nonlocal failing
        with database.write() as c:
            yield c
            if failing:
                failing -= 1
                raise OSError("the disk is gone")

    group = GroupCommit(write)
    with pytest.raises(OSError, match="disk"):
        group.run(insert("a"))
    assert there(database) == set()
    assert group.run(insert("a")) == "a", "who comes next finds it working"
    assert there(database) == {"a"}


def test_a_thread_that_is_ended_leaves_nobody_waiting(database: Database) -> None:
    counted = Counted(database)
    group = GroupCommit(counted.write)

    def exiting(_: sa.Connection) -> None:
        raise SystemExit

    def end() -> None:
        with pytest.raises(SystemExit):
            group.run(exiting)

    ended = threading.Thread(target=end)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(group.run, insert("first"))
        assert counted.entered.wait(60)
        ended.start()
        while not group._waiting:
            time.sleep(0.01)
        other = pool.submit(group.run, insert("other"))
        while len(group._waiting) < 2:
            time.sleep(0.01)
        counted.go.set()
        assert (first.result(60), other.result(60)) == ("first", "other")
    ended.join(60)
    assert there(database) == {"first", "other"}


def test_many_threads_and_nothing_is_lost_or_doubled(database: Database) -> None:
    def work(i: int) -> str:
        return database.together(insert(f"n{i}"))

    with ThreadPoolExecutor(16) as pool:
        names = list(pool.map(work, range(200)))
    assert there(database) == set(names) and len(names) == 200
