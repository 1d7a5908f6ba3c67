"""Health, reflection, metrics, draining, ports."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from vidi.errors import Unavailable

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
CLASSIFIER = "vidi.api.classifier.v1.ClassifierService"


async def health(served: Any, name: str) -> int:
    stub = health_pb2_grpc.HealthStub(served.channel)
    return int((await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=60)).status)


async def test_health_by_service_name(serve: Any) -> None:
    async with serve() as served:
        for name in ("", "liveness", CLASSIFIER):
            assert await health(served, name) == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health(served, "vidi.api.nothing.v1.Nothing")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_and_describes(serve: Any) -> None:
    async def requests() -> Any:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        yield reflection_pb2.ServerReflectionRequest(file_containing_symbol=CLASSIFIER)

    async with serve() as served:
        stub = reflection_pb2_grpc.ServerReflectionStub(served.channel)
        listed, described = [r async for r in stub.ServerReflectionInfo(requests(), timeout=60)]
    names = {s.name for s in listed.list_services_response.service}
    assert {CLASSIFIER, "grpc.health.v1.Health"} <= names
    assert described.file_descriptor_response.file_descriptor_proto


async def test_draining_lets_a_running_call_finish(serve: Any) -> None:
    async with serve() as served:
        running = await served.block()
        drain = asyncio.create_task(served.server.drain(pause=1.0, grace=60.0))
        async with asyncio.timeout(60):
            while await health(served, CLASSIFIER) == SERVING:  # noqa: ASYNC110 - as a load balancer asks
                await asyncio.sleep(0.01)
        assert await health(served, "") == NOT_SERVING
        assert await health(served, "liveness") == SERVING
        served.probe.release.set()
        assert (await running).classification.top_name == "block"
        await drain
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.classify("too late", timeout=5)
    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    assert "too late" not in served.probe.started


async def test_a_call_still_running_when_the_server_stops_finishes(serve: Any) -> None:
    """Past the pause no new call is taken, and the running one still has the grace period."""
    async with serve() as served:
        running = await served.block()
        drain = asyncio.create_task(served.server.drain(pause=0.0, grace=60.0))
        async with grpc.aio.insecure_channel(served.server.address) as other:
            async with asyncio.timeout(60):
                while True:
                    try:
                        stub = health_pb2_grpc.HealthStub(other)
                        await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
                    except grpc.aio.AioRpcError:
                        break
                    await asyncio.sleep(0.01)
        assert not drain.done()
        served.probe.release.set()
        assert (await running).classification.top_name == "block"
        await drain


async def test_a_taken_port_is_a_readable_error(serve: Any) -> None:
    async with serve() as served:
        port = int(served.server.address.rpartition(":")[2])
        with pytest.raises(Unavailable, match=str(port)) as caught:
            async with serve(port=port):
                pass
        with pytest.raises(Unavailable, match=str(port)):
            async with serve(metrics_port=port):
                pass
    assert caught.value.reason == "PORT_TAKEN"


async def test_metrics_count_calls_by_code(serve: Any) -> None:
    async with serve(metrics_port=0) as served:
        await served.classify("fine")
        with pytest.raises(grpc.aio.AioRpcError):
            await served.classify("missing")
        async with httpx.AsyncClient() as http:
            text = (await http.get(served.server.endpoints["metrics"])).text
    method = f'method="/{CLASSIFIER}/Classify"'
    samples = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}
    assert samples[f'vidi_rpc_total{{code="OK",{method}}}'] >= 1
    assert samples[f'vidi_rpc_total{{code="NOT_FOUND",{method}}}'] >= 1
    assert samples[f'vidi_rpc_seconds_bucket{{le="+Inf",{method}}}'] >= 2
    assert samples[f"vidi_rpc_in_flight{{{method}}}"] == 0
    assert samples['vidi_queue_waiting{queue="probe"}'] == 0
