"""Bidirectional streams: each item has its own fate."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from vidi.api.classifier.v1 import classifier_pb2


def item(request_id: str, name: str) -> classifier_pb2.ClassifyStreamRequest:
    request = classifier_pb2.ClassifyRequest(model={"name": name}, image={"encoded": b"x"})
    return classifier_pb2.ClassifyStreamRequest(request_id=request_id, request=request)


async def test_an_items_error_is_its_answer_and_the_stream_goes_on(serve: Any) -> None:
    invalid = classifier_pb2.ClassifyStreamRequest(request_id="invalid", request={"model": {"name": "no image"}})
    items = [item("1", "fine"), item("2", "missing"), item("3", "boom"), invalid, item("5", "fine")]

    async def requests() -> Any:
        for one in items:
            yield one

    async with serve() as served:
        stream = served.classifier.ClassifyStream(requests(), timeout=60)
        answers = {a.request_id: a async for a in stream}
    assert set(answers) == {"1", "2", "3", "invalid", "5"}
    assert answers["1"].response.classification.top_name == "fine"
    assert answers["5"].HasField("response")
    assert answers["2"].error.code == grpc.StatusCode.NOT_FOUND.value[0]
    assert answers["invalid"].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    internal = answers["3"].error
    assert internal.code == grpc.StatusCode.INTERNAL.value[0]
    assert "DOE" not in str(internal)
    assert served.probe.started.count("fine") == 2


async def test_a_stream_takes_no_more_than_it_has_room_for(serve: Any) -> None:
    async def requests() -> Any:
        for i in range(40):
            yield item(str(i), "block" if i == 0 else "fine")

    async def collect(stream: Any) -> set[str]:
        return {answer.request_id async for answer in stream}

    async with serve(queue_size=64) as served:
        answers = asyncio.create_task(collect(served.classifier.ClassifyStream(requests(), timeout=60)))
        await served.waiting(3)  # with the one that is computed: the four that the servicer allows
        await asyncio.sleep(0.2)  # time in which more would come, if more were taken
        assert served.probe.queue.depth == 3
        served.probe.release.set()
        assert await answers == {str(i) for i in range(40)}
