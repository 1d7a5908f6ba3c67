"""Channels: request ids go along, idempotent calls are tried again, others never."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from vidi.api.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from vidi.api.clusterer.v1 import clusterer_pb2, clusterer_pb2_grpc
from vidi.api.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from vidi.rpc.channel import ONCE, open_channel
from vidi.rpc.context import begin

POOLS = (classifier_pb2, clusterer_pb2, gateway_pb2)


class Failing(
    classifier_pb2_grpc.ClassifierServiceServicer,
    clusterer_pb2_grpc.ClustererServiceServicer,
    gateway_pb2_grpc.StudyServiceServicer,
):
    """Answers UNAVAILABLE `failures` times, then well; counts the calls that reach it."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0
        self.ids: list[Any] = []

    async def ListModels(self, request: Any, context: Any) -> Any:
        await self._arrived(context)
        return classifier_pb2.ListModelsResponse()

    async def CreateCohort(self, request: Any, context: Any) -> Any:
        await self._arrived(context)
        return gateway_pb2.CreateCohortResponse()

    async def Fit(self, request_iterator: Any, context: Any) -> Any:
        await self._arrived(context)
        return clusterer_pb2.FitResponse()

    async def _arrived(self, context: Any) -> None:
        self.calls += 1
        self.ids.append(dict(context.invocation_metadata()).get("x-request-id"))
        if self.calls <= self.failures:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")


@asynccontextmanager
async def failing(failures: int, port: int = 0) -> AsyncIterator[tuple[Failing, int]]:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    servicer = Failing(failures)
    classifier_pb2_grpc.add_ClassifierServiceServicer_to_server(servicer, server)
    clusterer_pb2_grpc.add_ClustererServiceServicer_to_server(servicer, server)
    gateway_pb2_grpc.add_StudyServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield servicer, port
    finally:
        await server.stop(0)


async def test_a_lookup_is_tried_again() -> None:
    async with failing(2) as (servicer, port), open_channel(f"127.0.0.1:{port}") as channel:
        stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
        await stub.ListModels(classifier_pb2.ListModelsRequest(), timeout=60)
    assert servicer.calls == 3


async def test_what_makes_something_new_is_never_repeated() -> None:
    async def messages() -> AsyncIterator[Any]:
        yield clusterer_pb2.FitRequest()

    async with failing(5) as (servicer, port), open_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await gateway_pb2_grpc.StudyServiceStub(channel).CreateCohort(
                gateway_pb2.CreateCohortRequest(film_ids=["f"]), timeout=60
            )
        assert servicer.calls == 1
        with pytest.raises(grpc.aio.AioRpcError):
            await clusterer_pb2_grpc.ClustererServiceStub(channel).Fit(messages(), timeout=60)
        assert servicer.calls == 2


def test_the_methods_that_are_never_repeated_exist() -> None:
    known = {
        (service.full_name, method.name)
        for module in POOLS
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert {(entry["service"], entry["method"]) for entry in ONCE} <= known


async def test_the_current_request_id_goes_along() -> None:
    async def call(channel: Any, offered: str) -> None:
        begin((("x-request-id", offered),))
        stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
        await stub.ListModels(classifier_pb2.ListModelsRequest(), timeout=60)

    async with failing(0) as (servicer, port), open_channel(f"127.0.0.1:{port}") as channel:
        await asyncio.gather(asyncio.create_task(call(channel, "one")), asyncio.create_task(call(channel, "two")))
        stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
        await stub.ListModels(classifier_pb2.ListModelsRequest(), timeout=60)
    assert sorted(servicer.ids[:2]) == ["one", "two"]
    assert servicer.ids[2] is None


async def test_a_service_that_comes_back_is_found() -> None:
    async with failing(0) as (_, port):
        channel = open_channel(f"127.0.0.1:{port}")
        stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
        await stub.ListModels(classifier_pb2.ListModelsRequest(), timeout=60)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ListModels(classifier_pb2.ListModelsRequest(), timeout=60)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    async with failing(0, port) as (servicer, _), channel:
        await stub.ListModels(classifier_pb2.ListModelsRequest(), timeout=60, wait_for_ready=True)
        assert servicer.calls == 1
