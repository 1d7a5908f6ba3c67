"""The way of a request: cache, single flight, queue, deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from vidi import tensors
from vidi.api.common.v1 import common_pb2
from vidi.api.explainer.v1 import explainer_pb2
from vidi.bundle import Bundle
from vidi.cache import SqliteCache
from vidi.errors import Exhausted, Expired, InvalidInput, NotFound, PreconditionFailed, Unavailable
from vidi.rpc.work import WorkQueue
from vidi_explainer.explanations import Explanations


def request(seed: int = 0, size: tuple[int, int] = (64, 64), **fields: Any) -> explainer_pb2.ExplainRequest:
    film = np.random.default_rng(seed).random(size, dtype=np.float32)
    image = common_pb2.Image(tensor=tensors.encode(film))
    return explainer_pb2.ExplainRequest(image=image, **fields)


@pytest_asyncio.fixture
async def cache(tmp_path: Path) -> AsyncIterator[SqliteCache]:
    opened = SqliteCache(tmp_path / "cache.sqlite", 3600, 1 << 28)
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def explanations(bundle: Bundle, linear: Any, cache: SqliteCache) -> AsyncIterator[Explanations]:
    decoding, computing = WorkQueue("test-decode", size=64, threads=2), WorkQueue("test-compute", size=2)
    yield Explanations({"tiny": bundle}, "tiny", {"tiny": linear}, cache, decoding=decoding, computing=computing)
    linear.open.set()
    await decoding.close()
    await computing.close()


async def entered(linear: Any) -> None:
    """Wait until the engine is working on a request."""
    assert await asyncio.to_thread(linear.entered.acquire, timeout=60)


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - nothing to wait for but a count
            await asyncio.sleep(0.005)


async def test_second_call_comes_from_the_cache(explanations: Explanations, linear: Any) -> None:
    first = await explanations.explain(request())
    second = await explanations.explain(request())
    assert linear.calls == 1
    assert (first.cache_hit, second.cache_hit) == (False, True)
    second.cache_hit = False
    assert first == second
    assert len(first.cache_key) == 64


async def test_same_grid_from_another_film_keeps_its_own_geometry(explanations: Explanations, linear: Any) -> None:
    film = np.zeros((64, 64), np.float32)
    small = explainer_pb2.ExplainRequest(image=common_pb2.Image(tensor=tensors.encode(film)))
    large = explainer_pb2.ExplainRequest(
        image=common_pb2.Image(tensor=tensors.encode(np.zeros((128, 192), np.float32)))
    )
    one, other = await explanations.explain(small), await explanations.explain(large)
    assert other.cache_hit
    assert linear.calls == 1
    assert (one.map_to_image.a, one.map_to_image.e) == (1.0, 1.0)
    assert (other.map_to_image.a, other.map_to_image.e) == (3.0, 2.0)


async def test_identical_calls_compute_once(explanations: Explanations, linear: Any) -> None:
    linear.open.clear()
    calls = [asyncio.create_task(explanations.explain(request())) for _ in range(8)]
    await entered(linear)
    linear.open.set()
    responses = await asyncio.gather(*calls)
    assert linear.calls == 1
    assert all(response == responses[0] for response in responses)
    assert not responses[0].cache_hit


async def test_hit_does_not_wait_behind_computations(explanations: Explanations, linear: Any) -> None:
    await explanations.explain(request(1))
    linear.open.clear()
    blocked = asyncio.create_task(explanations.explain(request(2)))
    await entered(linear)
    await entered(linear)
    assert (await asyncio.wait_for(explanations.explain(request(1)), 60)).cache_hit
    assert not blocked.done()
    linear.open.set()
    await blocked


async def test_channels_and_targets_are_cached_apart(explanations: Explanations, linear: Any) -> None:
    plain = await explanations.explain(request())
    channels = await explanations.explain(request(include_channels=True))
    versus_mean = explainer_pb2.Target(kind=explainer_pb2.TARGET_KIND_CLASS_VS_MEAN)
    mean = await explanations.explain(request(target=versus_mean))
    assert linear.calls == 3
    assert len({plain.cache_key, channels.cache_key, mean.cache_key}) == 3
    assert not plain.attributions[0].HasField("channels")
    assert list(channels.attributions[0].channels.shape) == [3, 64, 64]
    assert plain.target.kind == explainer_pb2.TARGET_KIND_LOGIT
    assert mean.target == versus_mean


async def test_float16_maps_are_made_from_the_cached_float32(explanations: Explanations, linear: Any) -> None:
    full = await explanations.explain(request())
    half = await explanations.explain(request(map_dtype=common_pb2.DATA_TYPE_FLOAT16))
    assert half.cache_hit
    assert linear.calls == 1
    for exact, short in zip(full.attributions, half.attributions, strict=True):
        assert short.map.dtype == common_pb2.DATA_TYPE_FLOAT16
        expected = tensors.decode(exact.map).astype(np.float64)
        found = tensors.decode(short.map).astype(np.float64) * short.map_scale
        np.testing.assert_allclose(found, expected, rtol=2**-11, atol=np.abs(expected).max() * 1e-8)
        assert (short.sum, short.additivity_residual) == (exact.sum, exact.additivity_residual)
    assert half.attribution_vector == full.attribution_vector


async def test_bypass_computes_afresh_and_stores(explanations: Explanations, linear: Any) -> None:
    await explanations.explain(request(bypass_cache=True))
    again = await explanations.explain(request(bypass_cache=True))
    assert linear.calls == 2
    assert not again.cache_hit
    assert (await explanations.explain(request())).cache_hit


async def test_foreign_bytes_under_the_key_are_computed_over(
    explanations: Explanations, linear: Any, cache: SqliteCache
) -> None:
    first = await explanations.explain(request(1))
    other = await explanations.explain(request(2))
    await cache.put(first.cache_key, other.SerializeToString())
    again = await explanations.explain(request(1))
    assert not again.cache_hit
    await cache.put(first.cache_key, b"\xff\xff not a message")
    again = await explanations.explain(request(1))
    assert (again.cache_hit, again.attributions) == (False, first.attributions)
    assert linear.calls == 4


async def test_expired_request_never_starts(explanations: Explanations, linear: Any) -> None:
    linear.open.clear()
    running = asyncio.create_task(explanations.explain(request(1)))
    await entered(linear)
    with pytest.raises(Expired):
        await explanations.explain(request(2), timeout=0.2)
    with pytest.raises(Expired):
        await explanations.explain(request(3), timeout=-1.0)
    linear.open.set()
    await running
    assert linear.calls == 1


async def test_follower_outlives_the_leaders_deadline(explanations: Explanations, linear: Any) -> None:
    linear.open.clear()
    running = asyncio.create_task(explanations.explain(request(1)))
    await entered(linear)
    leader = asyncio.create_task(explanations.explain(request(2), timeout=0.3))
    await asyncio.sleep(0.05)
    follower = asyncio.create_task(explanations.explain(request(2)))
    with pytest.raises(Expired):
        await leader
    linear.open.set()
    assert not (await follower).cache_hit
    await running
    assert linear.calls == 2


async def test_abandoned_while_waiting_is_dropped(explanations: Explanations, linear: Any) -> None:
    linear.open.clear()
    running = asyncio.create_task(explanations.explain(request(1)))
    await entered(linear)
    waiting = asyncio.create_task(explanations.explain(request(2)))
    await until(lambda: explanations._computing.depth == 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(lambda: explanations._computing.depth == 0)
    linear.open.set()
    await running
    assert linear.calls == 1


async def test_abandoned_after_the_start_is_kept_for_the_next_attempt(explanations: Explanations, linear: Any) -> None:
    linear.open.clear()
    first = asyncio.create_task(explanations.explain(request()))
    await entered(linear)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    joined = asyncio.create_task(explanations.explain(request()))
    await asyncio.sleep(0.05)
    linear.open.set()
    assert (await joined).attributions
    assert (await explanations.explain(request())).cache_hit
    assert linear.calls == 1


async def test_an_engine_that_can_stop_is_stopped_when_nobody_waits(explanations: Explanations, linear: Any) -> None:
    linear.obeys = True
    linear.open.clear()
    one, other = (asyncio.create_task(explanations.explain(request())) for _ in range(2))
    await entered(linear)
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    await asyncio.sleep(0.1)
    assert not other.done(), "somebody still waits"
    other.cancel()
    with pytest.raises(asyncio.CancelledError):
        await other
    # The gate is still shut: only an engine that stopped lets the next film in.
    next_film = asyncio.create_task(explanations.explain(request(1)))
    await entered(linear)
    linear.open.set()
    assert (await next_film).attributions
    assert not (await explanations.explain(request())).cache_hit
    assert linear.calls == 3


async def test_full_queue_is_said(explanations: Explanations, linear: Any) -> None:
    linear.open.clear()
    running = [asyncio.create_task(explanations.explain(request(1)))]
    await entered(linear)
    running += [asyncio.create_task(explanations.explain(request(seed))) for seed in (2, 3)]
    await until(lambda: explanations._computing.depth == 2)
    with pytest.raises(Exhausted) as caught:
        await explanations.explain(request(4))
    assert caught.value.retry_after > 0
    linear.open.set()
    await asyncio.gather(*running)
    assert (await explanations.explain(request(4))).attributions


async def test_forgotten_explanations_are_computed_again(explanations: Explanations, linear: Any) -> None:
    one, other = await explanations.explain(request(1)), await explanations.explain(request(2))
    assert await explanations.forget([one.cache_key, "0" * 64]) == 1
    assert not (await explanations.explain(request(1))).cache_hit
    assert (await explanations.explain(request(2))).cache_hit
    assert await explanations.forget([one.cache_key, other.cache_key]) == 2
    assert linear.calls == 3


async def test_forgotten_while_it_is_computed_is_answered_and_not_stored(
    explanations: Explanations, linear: Any, cache: SqliteCache
) -> None:
    key = (await explanations.explain(request())).cache_key
    await cache.delete([key])
    linear.open.clear()
    calls = [asyncio.create_task(explanations.explain(request(bypass_cache=bypass))) for bypass in (True, False)]
    await until(lambda: explanations._under_way[key] == 2)
    assert await explanations.forget([key]) == 0
    linear.open.set()
    for answered in await asyncio.gather(*calls):
        assert answered.attributions
    assert await cache.get(key) is None
    assert not explanations._under_way, "nothing is held for ever"
    assert not explanations._dropped
    assert not (await explanations.explain(request())).cache_hit, "and the key is usable again"
    assert (await explanations.explain(request())).cache_hit


async def test_forgotten_while_it_is_stored_does_not_stay(
    explanations: Explanations, linear: Any, cache: SqliteCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = (await explanations.explain(request())).cache_key
    put = cache.put

    async def slow(key: str, value: bytes) -> None:
        """The deletion reaches the store first, as it may with a pool of connections."""
        await explanations.forget([key])
        await put(key, value)

    monkeypatch.setattr(cache, "put", slow)
    await explanations.explain(request(bypass_cache=True))
    assert await cache.get(key) is None


async def test_forgetting_is_not_claimed_when_the_cache_does_not_answer(
    explanations: Explanations, cache: SqliteCache
) -> None:
    key = (await explanations.explain(request())).cache_key
    await cache.close()
    with pytest.raises(Unavailable) as caught:
        await explanations.forget([key])
    assert caught.value.reason == "CACHE_UNAVAILABLE"


async def test_failure_is_not_remembered(explanations: Explanations, linear: Any) -> None:
    linear.failures = 1
    with pytest.raises(RuntimeError):
        await explanations.explain(request())
    assert not (await explanations.explain(request())).cache_hit


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"model": common_pb2.ModelRef(name="nobody")}, NotFound),
        ({"model": common_pb2.ModelRef(name="tiny", digest="sha256:" + "0" * 64)}, PreconditionFailed),
        ({"model": common_pb2.ModelRef(version="9.9")}, PreconditionFailed),
        (
            {
                "target": explainer_pb2.Target(
                    kind=explainer_pb2.TARGET_KIND_CLASS_VS_CLASS, class_a="x", class_b="mild"
                )
            },
            InvalidInput,
        ),
    ],
)
async def test_wrong_requests(
    explanations: Explanations, linear: Any, fields: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await explanations.explain(request(**fields))
    assert linear.calls == 0
