"""Full queues, expired and cancelled work, seen from the other side of a socket."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status


async def test_a_full_queue_answers_with_retry_info(serve: Any) -> None:
    async with serve(queue_size=1) as served:
        running = await served.block()
        waiting = asyncio.ensure_future(served.classify("second"))
        await served.waiting(1)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.classify("third")
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        error: Any = caught.value  # grpc types the errors of its aio calls apart
        rich = rpc_status.from_call(error)
        retry = next(d for d in rich.details if d.Is(error_details_pb2.RetryInfo.DESCRIPTOR))
        assert error_details_pb2.RetryInfo.FromString(retry.value).retry_delay.ToMilliseconds() > 0
        served.probe.release.set()
        await running
        assert (await waiting).classification.top_name == "second"
        assert served.probe.started == ["block", "second"]


async def test_expired_work_never_starts(serve: Any) -> None:
    async with serve() as served:
        running = await served.block()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.classify("late", timeout=0.3)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await served.waiting(0)
        served.probe.release.set()
        await running
        await served.classify("after")
        assert served.probe.started == ["block", "after"]


async def test_cancelled_work_never_starts(serve: Any) -> None:
    async with serve() as served:
        running = await served.block()
        call = served.classify("gone")
        pending = asyncio.ensure_future(_outcome(call))
        await served.waiting(1)
        call.cancel()
        await pending
        await served.waiting(0)
        served.probe.release.set()
        await running
        await served.classify("after")
        assert served.probe.started == ["block", "after"]


async def test_items_of_a_cancelled_stream_never_start(serve: Any) -> None:
    from vidi.api.classifier.v1 import classifier_pb2

    async def requests() -> Any:
        for i in range(4):
            request = classifier_pb2.ClassifyRequest(model={"name": f"item{i}"}, image={"encoded": b"x"})
            yield classifier_pb2.ClassifyStreamRequest(request_id=str(i), request=request)

    async with serve() as served:
        running = await served.block()
        stream = served.classifier.ClassifyStream(requests(), timeout=60)
        reading = asyncio.ensure_future(_outcome(stream.read()))
        await served.waiting(4)
        stream.cancel()
        await reading
        await served.waiting(0)
        served.probe.release.set()
        await running
        assert served.probe.started == ["block"]


async def _outcome(call: Any) -> Any:
    try:
        return await call
    except (grpc.RpcError, asyncio.CancelledError) as error:
        return error
