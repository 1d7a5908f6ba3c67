"""One SQLAlchemy engine for the journal: SQLite (WAL, one writer at a time) or PostgreSQL, same code above."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, OperationalError

from vidi.errors import Unavailable
from vidi_gateway.store.group_commit import GroupCommit
from vidi_gateway.store.migrations import migrate

T = TypeVar("T")
_WRITES = "vidi_writes"
_SCHEMA_LOCK = 0x56694469  # "ViDi": any number that is always the same


class Database:
    """Connections to the journal. Blocking: call it from a thread.

    Parameters
    ----------
    url
        SQLAlchemy URL, `sqlite:///...` or `postgresql+psycopg://...`.
    """

    def __init__(self, url: str) -> None:
        self._sqlite = url.startswith("sqlite")
        self.engine = (
            _sqlite_engine(url) if self._sqlite else sa.create_engine(url, pool_pre_ping=True, hide_parameters=True)
        )
        # SQLite has one writer: who waits in a queue of ours starts at once, who waits in SQLite's sleeps in between.
        self._writer = threading.Lock() if self._sqlite else nullcontext()
        self._group = GroupCommit(self.write)
        self._insert_new: dict[sa.Table, Any] = {}  # statements: making one costs more than executing it

    def create_schema(self) -> None:
        """Bring the tables up to date; safe when several processes start at once.

        Raises
        ------
        PreconditionFailed
            JOURNAL_NEWER: a newer ViDi has used this journal.
        """
        with self.write() as connection:
            if not self._sqlite:
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SCHEMA_LOCK})
            migrate(connection)

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction that writes; durable when the block ends.

        Raises
        ------
        Unavailable
            JOURNAL_AWAY: the database does not answer, has just lost the connection, or has no room. It may be tried
            again: what was written is not there, or a repetition finds it.
        """
        with (
            _away(),
            self._writer,
            self.engine.connect().execution_options(**{_WRITES: True}) as connection,
            connection.begin(),
        ):
            yield connection

    def together(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` in a transaction that writes, shared with all who ask at the same time; see `GroupCommit.run`."""
        return self._group.run(work)

    @contextmanager
    def read(self, within: sa.Connection | None = None) -> Iterator[sa.Connection]:
        """One transaction that only reads: a new one, or the one that the caller has.

        Raises
        ------
        Unavailable
            As `write`.
        """
        if within is not None:
            yield within
            return
        with _away(), self.engine.connect() as connection, connection.begin():
            yield connection

    def insert_new(self, connection: sa.Connection, table: sa.Table, *rows: dict[str, Any]) -> int:
        """Insert rows that are not there yet (by any unique key); return how many were new."""
        if not rows:
            return 0
        statement = self._insert_new.get(table)
        if statement is None:
            insert: Any = sqlite.insert(table) if self._sqlite else postgresql.insert(table)
            statement = insert.on_conflict_do_nothing().returning(*table.primary_key.columns)
            self._insert_new[table] = statement
        return sum(len(connection.execute(statement, row).all()) for row in rows)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


@contextmanager
def _away() -> Iterator[None]:
    """Tell a database that is away, which comes back, from a statement that is wrong, which stays so."""
    try:
        yield
    except DBAPIError as e:
        if not (e.connection_invalidated or isinstance(e, OperationalError)):
            raise
        if isinstance(e.orig, sqlite3.Error) and e.orig.sqlite_errorcode == sqlite3.SQLITE_ERROR:
            raise
        # Not chained: the driver's message may quote what was to be written.
        raise Unavailable("the journal's database does not answer", reason="JOURNAL_AWAY") from None


def _sqlite_engine(url: str) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"timeout": 60}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where SQLAlchemy says, not where sqlite3 guesses
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A writer takes its lock first: upgrading a read lock fails at once when another writer is there.
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
