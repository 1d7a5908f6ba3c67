"""Frame, breaker, single flight, settings."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidi.cache import CacheSettings, RedisCache, SingleFlight, SqliteCache, open_cache
from vidi.cache.breaker import Breaker
from vidi.cache.frame import OVERHEAD, seal, unseal


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@given(st.text(), st.binary(max_size=200))
def test_frame_round_trip(key: str, value: bytes) -> None:
    framed = seal(key, value)
    assert len(framed) == len(value) + OVERHEAD
    assert unseal(key, framed) == value
    assert unseal(key + "x", framed) is None


@given(st.binary(min_size=1, max_size=50), st.integers(min_value=0), st.integers(1, 255))
def test_any_changed_byte_is_found(value: bytes, position: int, flip: int) -> None:
    framed = bytearray(seal("key", value))
    framed[position % len(framed)] ^= flip
    assert unseal("key", bytes(framed)) is None


def test_breaker_opens_probes_and_closes() -> None:
    clock = Clock()
    breaker = Breaker(failures=2, pause=10.0, longest=15.0, clock=clock)
    breaker.failed()
    assert breaker.allows()
    breaker.succeeded()
    breaker.failed()
    assert not breaker.is_open, "failures count in a row only"
    breaker.failed()
    assert breaker.is_open
    assert not breaker.allows()
    clock.now += 10
    assert breaker.allows()
    assert not breaker.allows(), "one probe at a time"
    breaker.failed()
    clock.now += 14
    assert not breaker.allows(), "the pause has grown, up to the longest"
    clock.now += 1
    assert breaker.allows()
    breaker.succeeded()
    assert not breaker.is_open
    assert breaker.allows()
    assert breaker.allows()


def test_probe_that_never_reports_blocks_nothing() -> None:
    clock = Clock()
    breaker = Breaker(failures=1, pause=10.0, clock=clock)
    breaker.failed()
    clock.now += 10
    assert breaker.allows()
    clock.now += 10
    assert breaker.allows()


class Work:
    """A computation that counts its runs and waits to be let go."""

    def __init__(self) -> None:
        self.started = 0
        self.cancelled = 0
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.started += 1
        run = self.started
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return run


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_concurrent_identical_calls_compute_once() -> None:
    flights: SingleFlight[int] = SingleFlight()
    work = Work()
    calls = [asyncio.create_task(flights.run("k", work)) for _ in range(8)]
    await settle()
    assert len(flights) == 1
    work.go.set()
    assert await asyncio.gather(*calls) == [1] * 8
    assert len(flights) == 0
    assert await flights.run("k", work) == 2, "a finished computation is not remembered"


@pytest.mark.asyncio
async def test_other_keys_do_not_wait() -> None:
    flights: SingleFlight[int] = SingleFlight()
    slow, quick = Work(), Work()
    quick.go.set()
    waiting = asyncio.create_task(flights.run("a", slow))
    await settle()
    assert await flights.run("b", quick) == 1
    slow.go.set()
    assert await waiting == 1


@pytest.mark.asyncio
async def test_leaders_cancellation_does_not_reach_followers() -> None:
    flights: SingleFlight[int] = SingleFlight()
    work = Work()
    leader = asyncio.create_task(flights.run("k", work))
    await settle()
    follower = asyncio.create_task(flights.run("k", work))
    await settle()
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    work.go.set()
    assert await follower == 1
    assert (work.started, work.cancelled) == (1, 0)


@pytest.mark.asyncio
async def test_leaders_failure_makes_a_follower_compute() -> None:
    flights: SingleFlight[int] = SingleFlight()
    work = Work()
    work.error = ValueError("leader's own")
    leader = asyncio.create_task(flights.run("k", work))
    await settle()
    followers = [asyncio.create_task(flights.run("k", work)) for _ in range(3)]
    await settle()
    work.go.set()
    with pytest.raises(ValueError, match="leader's own"):
        await leader
    assert await asyncio.gather(*followers) == [2, 2, 2]
    assert work.started == 2


@pytest.mark.asyncio
async def test_abandoned_computation_is_cancelled_and_not_joined() -> None:
    flights: SingleFlight[int] = SingleFlight()
    work = Work()
    calls = [asyncio.create_task(flights.run("k", work)) for _ in range(3)]
    await settle()
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    newcomer = asyncio.create_task(flights.run("k", work))
    await settle()
    assert (work.started, work.cancelled) == (2, 1)
    work.go.set()
    assert await newcomer == 2


def test_settings_choose_the_cache(tmp_path: Path) -> None:
    assert isinstance(open_cache(CacheSettings(data_dir=tmp_path)), SqliteCache)
    settings = CacheSettings(data_dir=tmp_path, redis_url="redis://:secret@127.0.0.1:1/0")
    assert isinstance(open_cache(settings), RedisCache)
    assert "secret" not in repr(settings)
    assert list(tmp_path.iterdir()) == [], "nothing is opened before its first use"
