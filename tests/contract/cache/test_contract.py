"""What every explanation cache does."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from vidi.cache import ExplanationCache
from vidi.cache.frame import seal

pytestmark = pytest.mark.asyncio
KEY, OTHER = "a" * 64, "b" * 64


async def test_absent_key_is_none(cache: ExplanationCache) -> None:
    assert await cache.get(KEY) is None
    assert (cache.stats.hits, cache.stats.misses) == (0, 1)


@pytest.mark.parametrize(
    "value", [b"", b"\0", b"\r\n$-1\r\n", os.urandom(700_000)], ids=["empty", "nul", "crlf", "large"]
)
async def test_value_comes_back_byte_for_byte(cache: ExplanationCache, value: bytes) -> None:
    await cache.put(KEY, value)
    assert await cache.get(KEY) == value
    assert (cache.stats.hits, cache.stats.writes, cache.stats.errors) == (1, 1, 0)


async def test_later_value_replaces_earlier(cache: ExplanationCache) -> None:
    await cache.put(KEY, b"one")
    await cache.put(KEY, b"two")
    assert await cache.get(KEY) == b"two"


async def test_keys_are_apart(cache: ExplanationCache) -> None:
    await cache.put(KEY, b"one")
    await cache.put(OTHER, b"two")
    assert (await cache.get(KEY), await cache.get(OTHER)) == (b"one", b"two")


async def test_expired_value_is_gone(backend: Any) -> None:
    cache = backend.open(ttl=0.05)
    await cache.put(KEY, b"value")
    await asyncio.sleep(0.3)
    assert await cache.get(KEY) is None
    await cache.close()


async def test_value_survives_reopening(backend: Any) -> None:
    first = backend.open()
    await first.put(KEY, b"value")
    await first.close()
    second = backend.open()
    assert await second.get(KEY) == b"value"
    await second.close()


async def test_two_instances_share_the_store(backend: Any) -> None:
    one, two = backend.open(), backend.open()
    await one.put(KEY, b"from one")
    assert await two.get(KEY) == b"from one"
    await two.put(KEY, b"from two")
    assert await one.get(KEY) == b"from two"
    await one.close()
    await two.close()


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"VIDI",
        b"not a frame at all, but long enough to hold a header and a checksum",
        seal(OTHER, b"value"),
        seal(KEY, b"value")[:-1],
    ],
    ids=["empty", "short", "foreign", "another key's", "truncated"],
)
async def test_damaged_value_is_a_miss_and_removed(backend: Any, cache: ExplanationCache, stored: bytes) -> None:
    await cache.put(KEY, b"value")
    await backend.damage(KEY, stored)
    assert await cache.get(KEY) is None
    assert cache.stats.corrupt == 1
    assert await cache.get(KEY) is None
    assert cache.stats.corrupt == 1, "it was removed the first time"
    await cache.put(KEY, b"again")
    assert await cache.get(KEY) == b"again"


async def test_deleted_values_are_gone_for_everybody(backend: Any, cache: ExplanationCache) -> None:
    other = backend.open()
    for key in (KEY, OTHER):
        await cache.put(key, b"value of " + key.encode())
    assert await other.delete([KEY, "c" * 64]) == 1, "only one of the two was there"
    assert await cache.get(KEY) is None
    assert await cache.get(OTHER) == b"value of " + OTHER.encode()
    assert await other.delete([KEY]) == 0
    assert await other.delete([]) == 0
    assert (other.stats.deleted, other.stats.errors) == (1, 0)
    await cache.put(KEY, b"again")
    assert await cache.get(KEY) == b"again"
    await other.close()


async def test_many_values_are_deleted_at_once(cache: ExplanationCache) -> None:
    keys = [f"{i:064x}" for i in range(1000)]
    for key in keys[::2]:
        await cache.put(key, b"v")
    assert await cache.delete(keys) == 500
    assert await cache.get(keys[0]) is None


async def test_deletion_by_a_closed_cache_is_not_claimed(backend: Any) -> None:
    cache = backend.open()
    await cache.put(KEY, b"value")
    await cache.close()
    assert await cache.delete([KEY]) is None
    again = backend.open()
    assert await again.get(KEY) == b"value"
    await again.close()


async def test_concurrent_use(cache: ExplanationCache) -> None:
    values = {f"{i:064x}": os.urandom(5_000) for i in range(40)}
    await asyncio.gather(*(cache.put(key, value) for key, value in values.items()))
    found = await asyncio.gather(*(cache.get(key) for key in values))
    assert found == list(values.values())


async def test_a_cancelled_call_leaves_the_next_one_right(cache: ExplanationCache) -> None:
    await cache.put(KEY, b"one" * 50_000)
    await cache.put(OTHER, b"two")
    for _ in range(20):
        call = asyncio.create_task(cache.get(KEY))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await cache.get(OTHER) == b"two"


async def test_closed_cache_finds_and_stores_nothing(backend: Any) -> None:
    cache = backend.open()
    await cache.put(KEY, b"value")
    await cache.close()
    await cache.close()
    assert await cache.get(KEY) is None
    await cache.put(OTHER, b"value")
    again = backend.open()
    assert await again.get(OTHER) is None
    await again.close()
