"""What a caller is told when it goes wrong; the next call still works."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from vidi import tensors
from vidi.api.common.v1 import common_pb2
from vidi.api.explainer.v1 import explainer_pb2
from vidi.errors import BundleError, PreconditionFailed

Make = Callable[..., explainer_pb2.ExplainRequest]
CODE = grpc.StatusCode


def with_film(film: np.ndarray) -> explainer_pb2.ExplainRequest:
    return explainer_pb2.ExplainRequest(image=common_pb2.Image(tensor=tensors.encode(film)))


def with_tensor(**changes: Any) -> explainer_pb2.ExplainRequest:
    request = with_film(np.zeros((64, 64), np.float32))
    for name, value in changes.items():
        setattr(request.image.tensor, name, value)
    return request


def with_value(value: float) -> explainer_pb2.ExplainRequest:
    film = np.full((64, 64), 0.5, np.float32)
    film[5, 6] = value
    return with_film(film)


def versus(a: str, b: str) -> explainer_pb2.ExplainRequest:
    request = with_film(np.zeros((64, 64), np.float32))
    request.target.CopyFrom(explainer_pb2.Target(kind=explainer_pb2.TARGET_KIND_CLASS_VS_CLASS, class_a=a, class_b=b))
    return request


INVALID = {
    "NaN": (with_value(float("nan")), "NaN", "image.tensor"),
    "infinite": (with_value(float("inf")), "infinite", "image.tensor"),
    "above one": (with_value(1.5), "0 to 1", "image.tensor"),
    "three axes": (with_film(np.zeros((64, 64, 3), np.float32)), "axes", "image.tensor"),
    "bytes": (with_tensor(data=b"123"), "bytes", "image.tensor"),
    "not an image": (
        explainer_pb2.ExplainRequest(image=common_pb2.Image(encoded=b"hello, I am a text file")),
        "PNG or JPEG",
        None,
    ),
    "no image": (explainer_pb2.ExplainRequest(), "image", "image"),
    "unknown class": (versus("covid", "mild"), "mild, medium, severe", "target.class_a"),
    "same class": (versus("mild", "mild"), "itself", "target.class_b"),
    "map type": (
        explainer_pb2.ExplainRequest(
            image=common_pb2.Image(tensor=tensors.encode(np.zeros((64, 64), np.float32))),
            map_dtype=common_pb2.DATA_TYPE_INT32,
        ),
        "map_dtype",
        "map_dtype",
    ),
}


async def test_typed_errors_and_a_server_that_goes_on(serve: Any, request_of: Make, computed: Any) -> None:
    before = computed()
    async with serve() as client:
        for name, (request, says, field) in INVALID.items():
            with pytest.raises(Exception, match=says) as caught:
                await client.explain(request)
            failure: Any = caught.value
            assert failure.code is CODE.INVALID_ARGUMENT, name
            if field is not None:
                assert [v.field for v in failure.details["BadRequest"].field_violations] == [field], name
        with pytest.raises(Exception, match=r"no model named 'nobody'.*small") as caught:
            await client.explain(request_of(model=common_pb2.ModelRef(name="nobody")))
        failure = caught.value
        assert failure.code is CODE.NOT_FOUND
        resource = failure.details["ResourceInfo"]
        assert (resource.resource_type, resource.resource_name) == ("model", "nobody")
        pinned = common_pb2.ModelRef(name="small", digest="sha256:" + "0" * 64)
        with pytest.raises(Exception, match=r"digest .* is pinned") as caught:
            await client.explain(request_of(model=pinned))
        failure = caught.value
        assert failure.code is CODE.FAILED_PRECONDITION
        assert failure.details["ErrorInfo"].reason == "MODEL_DIGEST_NOT_LOADED"
        assert computed() == before
        assert (await client.explain(request_of())).attributions


async def test_full_queue_says_when_to_come_back(serve: Any, request_of: Make) -> None:
    async with serve(queue_size=1, decode_threads=8) as client:
        results = await asyncio.gather(*(client.explain(request_of(100 + i)) for i in range(6)), return_exceptions=True)
        refused: list[Any] = [r for r in results if isinstance(r, Exception)]
        assert refused, "one runs, one waits, the rest is refused"
        for failure in refused:
            assert failure.code is CODE.RESOURCE_EXHAUSTED
            assert failure.details["RetryInfo"].retry_delay.ToMilliseconds() > 0
        assert len(refused) < len(results)
        assert (await client.explain(request_of(100))).attributions


async def test_passed_deadline(serve: Any, request_of: Make) -> None:
    async with serve() as client:
        with pytest.raises(Exception, match=r"(?i)deadline") as caught:
            await client.explain(request_of(200), timeout=0.001)
        failure: Any = caught.value
        assert failure.code is CODE.DEADLINE_EXCEEDED
        assert (await client.explain(request_of(200))).attributions


async def test_service_does_not_start_without_its_models(serve: Any, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="VIDI_MODEL_DIR"):
        async with serve(model_dir=tmp_path / "nothing"):
            pass
    with pytest.raises(PreconditionFailed, match="no explainer engine 'magic'"):
        async with serve(explainer_engine="magic"):
            pass
