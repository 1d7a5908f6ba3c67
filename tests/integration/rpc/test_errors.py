"""What a caller with plain gRPC tools sees of an error."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from vidi import tensors
from vidi.api.classifier.v1 import classifier_pb2
from vidi.api.clusterer.v1 import clusterer_pb2
from vidi.errors import InvalidInput
from vidi.rpc.status import from_rpc_error


async def failure(call: Any) -> tuple[grpc.aio.AioRpcError, status_pb2.Status]:
    """Await a call that fails; return the error and its rich status."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error: Any = caught.value  # grpc types the errors of its aio calls apart
    rich = rpc_status.from_call(error)
    assert rich is not None
    assert rich.code == caught.value.code().value[0]
    return caught.value, rich


def detail(status: status_pb2.Status, kind: Any) -> Any:
    """Return the one detail of a type."""
    found = [kind.FromString(d.value) for d in status.details if d.Is(kind.DESCRIPTOR)]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("missing", grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
        ("exists", grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS"),
        ("precondition", grpc.StatusCode.FAILED_PRECONDITION, "DIGEST_NOT_LOADED"),
        ("exhausted", grpc.StatusCode.RESOURCE_EXHAUSTED, "EXHAUSTED"),
        ("tensor", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_TENSOR"),
    ],
)
async def test_errors_carry_code_and_reason(serve: Any, name: str, code: grpc.StatusCode, reason: str) -> None:
    async with serve() as served:
        error, status = await failure(served.classify(name))
    assert error.code() is code
    info = detail(status, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain) == (reason, "vidi")


async def test_errors_carry_their_details(serve: Any) -> None:
    async with serve() as served:
        _, missing = await failure(served.classify("missing"))
        _, exhausted = await failure(served.classify("exhausted"))
        _, tensor = await failure(served.classify("tensor"))
    resource = detail(missing, error_details_pb2.ResourceInfo)
    assert (resource.resource_type, resource.resource_name) == ("model", "missing")
    assert detail(exhausted, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() == 7500
    assert detail(tensor, error_details_pb2.BadRequest).field_violations[0].field == "image.tensor"


async def test_internal_hides_the_cause(serve: Any) -> None:
    async with serve() as served:
        error, status = await failure(served.classify("boom", metadata=(("x-request-id", "abc-1"),)))
    assert error.code() is grpc.StatusCode.INTERNAL
    told = repr(error) + str(status) + repr(error.trailing_metadata())
    assert "DOE" not in told
    assert "1970" not in told
    assert "ValueError" not in told
    assert "abc-1" in status.message
    assert detail(status, error_details_pb2.ErrorInfo).reason == "INTERNAL"


async def test_requests_are_validated_with_field_paths(serve: Any) -> None:
    async with serve() as served:
        no_image = served.classifier.Classify(classifier_pb2.ClassifyRequest(model={"name": "a b"}))
        error, status = await failure(no_image)
        assert served.probe.started == []
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    fields = {v.field for v in detail(status, error_details_pb2.BadRequest).field_violations}
    assert fields == {"model.name", "image"}


async def test_messages_of_a_client_stream_are_validated(serve: Any) -> None:
    good = clusterer_pb2.VectorBatch(ids=["a"], vectors=tensors.encode(np.zeros((1, 2), np.float32)))
    bad = clusterer_pb2.VectorBatch(ids=["a", ""], vectors=tensors.encode(np.zeros((2, 2), np.float32)))

    async def messages(last: clusterer_pb2.VectorBatch) -> Any:
        yield clusterer_pb2.FitRequest(batch=good)
        yield clusterer_pb2.FitRequest(batch=last)

    async with serve() as served:
        assert (await served.clusterer.Fit(messages(good), timeout=60)).clustering.count == 2
        error, status = await failure(served.clusterer.Fit(messages(bad), timeout=60))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [v.field for v in detail(status, error_details_pb2.BadRequest).field_violations] == ["batch.ids[1]"]


async def test_a_message_with_thousands_of_wrong_fields_has_a_readable_answer(serve: Any) -> None:
    async def messages() -> Any:
        ids = [""] * 20_000
        yield clusterer_pb2.FitRequest(batch={"ids": ids, "vectors": tensors.encode(np.zeros((1, 1), np.float32))})

    async with serve() as served:
        error, status = await failure(served.clusterer.Fit(messages(), timeout=60))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "19995 more" in status.message


async def test_an_oversize_message_is_a_readable_error(serve: Any) -> None:
    async with serve(max_message_bytes=1 << 20) as served:
        big = classifier_pb2.ClassifyRequest(image={"encoded": b"x" * (1 << 21)})
        with pytest.raises(grpc.aio.AioRpcError) as sent:
            await served.classifier.Classify(big, timeout=60)
        with pytest.raises(grpc.aio.AioRpcError) as received:
            await served.classifier.ListModels(classifier_pb2.ListModelsRequest(), timeout=60)
        await served.classify("fine")  # the connection survived
    for caught in (sent, received):
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        known = from_rpc_error(caught.value)
        assert isinstance(known, InvalidInput)
        assert known.reason == "MESSAGE_TOO_LARGE"
        assert "1048576" in str(known)


async def test_a_servicers_own_abort_passes(serve: Any) -> None:
    async with serve() as served:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.classifier.GetModel(classifier_pb2.GetModelRequest(), timeout=60)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNAUTHENTICATED, "by hand")


@pytest.mark.parametrize(
    ("offered", "kept"), [("film-42.A", True), ("", False), ("x" * 129, False), ("two words", False)]
)
async def test_request_ids_come_back(serve: Any, offered: str, kept: bool) -> None:
    async with serve() as served:
        call = served.classify("fine", metadata=(("x-request-id", offered),))
        await call
        returned = dict(await call.trailing_metadata())["x-request-id"]
        assert served.probe.request_ids == [returned]
        error, _ = await failure(served.classify("missing", metadata=(("x-request-id", offered),)))
    assert (returned == offered) is kept
    assert len(returned) >= 8
    if kept:
        assert dict(error.trailing_metadata())["x-request-id"] == offered
