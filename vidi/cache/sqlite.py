"""The explanation cache in one SQLite file (WAL): for one machine, shared by its processes."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from vidi import logs
from vidi.cache.base import GuardedCache
from vidi.cache.breaker import Breaker

T = TypeVar("T")
_log = logs.get(__name__)
_SCHEMA_VERSION = 1
# `size` stands before the blob and in the index, so that neither sums nor eviction read the blobs' pages.
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS entries (
    key TEXT PRIMARY KEY, size INTEGER NOT NULL, expires REAL NOT NULL, used INTEGER NOT NULL, value BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS by_use ON entries (used, size);
CREATE INDEX IF NOT EXISTS by_expiry ON entries (expires);
PRAGMA user_version = {_SCHEMA_VERSION};
COMMIT;
"""
# Primary result codes after which only a new file helps: damaged, wrong format, not a database, and "no such table".
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
_DAMAGED_EXTENDED = {sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_READONLY_DBMOVED}


class SqliteCache(GuardedCache):
    """An `ExplanationCache` in a file. A damaged file is replaced by an empty one.

    Parameters
    ----------
    path
        The file; its folder is made when missing.
    ttl
        Seconds until a value expires, more than 0.
    max_bytes
        Bytes of values kept; beyond it the least recently used go. The file is a few percent larger. A value that is
        larger than this is not stored.
    clock
        Seconds since the epoch.
    """

    def __init__(
        self,
        path: Path | str,
        ttl: float,
        max_bytes: int,
        *,
        breaker: Breaker | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__("sqlite", ttl=ttl, timeout=None, breaker=breaker)
        self._path = Path(path)
        self._max_bytes = max_bytes
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        # One thread owns the connection: callers may come from any thread or event loop.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cache")

    async def _read(self, key: str) -> bytes | None:
        return await self._on_thread(lambda db: self._select(db, key))

    async def _write(self, key: str, framed: bytes) -> bool:
        return await self._on_thread(lambda db: self._insert(db, key, framed))

    async def _remove(self, keys: Sequence[str]) -> int:
        return await self._on_thread(lambda db: _delete(db, keys))

    async def _shut(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown()

    async def _on_thread(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, operation)

    def _work(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return operation(self._connected())
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0)
            if code & 0xFF not in _DAMAGED and code not in _DAMAGED_EXTENDED:
                raise
            _log.warning("the file is damaged; starting an empty one", cache=self._name, error=str(error))
        self._discard()
        return operation(self._connected())

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            # Maps show a patient's anatomy: for this user only.
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._path.touch(mode=0o600)
            db = sqlite3.connect(self._path, timeout=2.0, isolation_level=None, check_same_thread=False)
            try:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = NORMAL")
                db.execute("PRAGMA journal_size_limit = 33554432")
                if db.execute("PRAGMA user_version").fetchone()[0] not in (0, _SCHEMA_VERSION):
                    db.execute("DROP TABLE IF EXISTS entries")
                db.executescript(_SCHEMA)
            except sqlite3.Error:
                db.close()
                raise
            self._connection = db
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _discard(self) -> None:
        try:
            self._disconnect()
        except sqlite3.Error:
            self._connection = None
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def _select(self, db: sqlite3.Connection, key: str) -> bytes | None:
        row = db.execute("SELECT value FROM entries WHERE key = ? AND expires > ?", (key, self._clock())).fetchone()
        if row is None:
            return None
        db.execute("UPDATE entries SET used = ? WHERE key = ?", (_stamp(db), key))
        return bytes(row[0])

    def _insert(self, db: sqlite3.Connection, key: str, framed: bytes) -> bool:
        if len(framed) > self._max_bytes:
            return False
        now = self._clock()
        with _transaction(db):
            db.execute("DELETE FROM entries WHERE expires <= ?", (now,))
            db.execute(
                "INSERT OR REPLACE INTO entries (key, size, expires, used, value) VALUES (?, ?, ?, ?, ?)",
                (key, len(framed), now + self._ttl, _stamp(db), framed),
            )
            excess = db.execute("SELECT coalesce(sum(size), 0) FROM entries").fetchone()[0] - self._max_bytes
            leaving = []
            for rowid, size in db.execute("SELECT rowid, size FROM entries ORDER BY used"):
                if excess <= 0:
                    break
                leaving.append((rowid,))
                excess -= size
            db.executemany("DELETE FROM entries WHERE rowid = ?", leaving)
        return True


def _delete(db: sqlite3.Connection, keys: Sequence[str]) -> int:
    """Delete values from the file too: what is withdrawn must not linger in free pages or in the log."""
    db.execute("PRAGMA secure_delete = ON")
    try:
        with _transaction(db):
            deleted = sum(db.execute("DELETE FROM entries WHERE key = ?", (key,)).rowcount for key in keys)
    finally:
        db.execute("PRAGMA secure_delete = OFF")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return deleted


def _stamp(db: sqlite3.Connection) -> int:
    """Next stamp of use: counted in the file, so that it orders the uses of several processes."""
    return int(db.execute("SELECT coalesce(max(used), 0) + 1 FROM entries").fetchone()[0])


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
