"""ClassifierService over real sockets."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from PIL import Image

from vidi import tensors
from vidi.api.classifier.v1 import classifier_pb2
from vidi.api.common.v1 import common_pb2
from vidi.bundle import discover

TIMEOUT = 60.0


def film(seed: int = 0, shape: tuple[int, int] = (224, 224)) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).random(shape, np.float32)


def of(grey: np.ndarray[Any, Any], **model: str) -> classifier_pb2.ClassifyRequest:
    image = common_pb2.Image(tensor=tensors.encode(grey))
    return classifier_pb2.ClassifyRequest(model=common_pb2.ModelRef(**model), image=image)


def png(grey: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.round(grey * 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


async def refused(call: Any) -> tuple[grpc.StatusCode, status_pb2.Status]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    metadata = dict(caught.value.trailing_metadata() or ())
    status = status_pb2.Status()
    raw = metadata.get("grpc-status-details-bin", b"")
    status.ParseFromString(raw if isinstance(raw, bytes) else raw.encode())
    return caught.value.code(), status


def details(status: status_pb2.Status, kind: type[Any]) -> Any:
    for item in status.details:
        if item.Is(kind.DESCRIPTOR):
            found = kind()
            item.Unpack(found)
            return found
    raise AssertionError(f"no {kind.__name__} in {[d.type_url for d in status.details]}")


async def test_a_film_gets_all_classes(classifier: Any, model_dir: Path) -> None:
    answer = await classifier.Classify(of(film()), timeout=TIMEOUT)
    found = answer.classification
    assert [(s.index, s.name) for s in found.scores] == [(0, "normal"), (1, "pneumonia")]
    assert sum(s.probability for s in found.scores) == pytest.approx(1.0)
    assert found.top_name == max(found.scores, key=lambda s: s.probability).name
    assert found.model.name == "tiny-pneumonia"
    assert found.model.digest == discover(model_dir)["tiny-pneumonia"].digest
    assert not found.calibrated
    assert answer.compute_seconds > 0


async def test_a_file_and_its_pixels_get_the_same_answer(classifier: Any) -> None:
    grey = np.round(film(1, (300, 260)) * 255) / np.float32(255)
    as_file = classifier_pb2.ClassifyRequest(image=common_pb2.Image(encoded=png(grey)))
    one = await classifier.Classify(as_file, timeout=TIMEOUT)
    two = await classifier.Classify(of(grey), timeout=TIMEOUT)
    assert [s.logit for s in one.classification.scores] == pytest.approx(
        [s.logit for s in two.classification.scores], abs=1e-5
    )


async def test_models_are_listed_and_described(classifier: Any, model_dir: Path) -> None:
    listed = (await classifier.ListModels(classifier_pb2.ListModelsRequest(), timeout=TIMEOUT)).models
    assert [(m.ref.name, m.is_default) for m in listed] == [("tiny-pneumonia", True), ("tiny-severity", False)]
    request = classifier_pb2.GetModelRequest(model=common_pb2.ModelRef(name="tiny-severity"))
    model = (await classifier.GetModel(request, timeout=TIMEOUT)).model
    assert model.ref.digest == discover(model_dir)["tiny-severity"].digest
    assert model == listed[1]
    default = (await classifier.GetModel(classifier_pb2.GetModelRequest(), timeout=TIMEOUT)).model
    assert default.ref.name == "tiny-pneumonia"


async def test_an_unknown_model_is_not_found(classifier: Any) -> None:
    code, status = await refused(classifier.Classify(of(film(), name="resnet"), timeout=TIMEOUT))
    assert code == grpc.StatusCode.NOT_FOUND
    assert details(status, error_details_pb2.ResourceInfo).resource_name == "resnet"
    request = classifier_pb2.GetModelRequest(model=common_pb2.ModelRef(name="resnet"))
    code, _ = await refused(classifier.GetModel(request, timeout=TIMEOUT))
    assert code == grpc.StatusCode.NOT_FOUND


async def test_a_pinned_digest_must_be_loaded(classifier: Any, model_dir: Path) -> None:
    models = discover(model_dir)
    right = of(film(), name="tiny-severity", digest=models["tiny-severity"].digest)
    assert (await classifier.Classify(right, timeout=TIMEOUT)).classification.model.name == "tiny-severity"
    wrong = of(film(), name="tiny-severity", digest=models["tiny-pneumonia"].digest)
    code, _ = await refused(classifier.Classify(wrong, timeout=TIMEOUT))
    assert code == grpc.StatusCode.FAILED_PRECONDITION


def _with_nan() -> classifier_pb2.ClassifyRequest:
    grey = film()
    grey[3, 4] = np.nan
    return of(grey)


def _too_short() -> classifier_pb2.ClassifyRequest:
    request = of(film())
    request.image.tensor.data = request.image.tensor.data[:-4]
    return request


BAD = {
    "nan": _with_nan(),
    "too short": _too_short(),
    "three axes": of(np.zeros((1, 224, 224), np.float32)),
    "out of range": of(film() * 300),
    "too small": of(film(0, (8, 8))),
    "text": classifier_pb2.ClassifyRequest(image=common_pb2.Image(encoded=b"not an image")),
    "truncated": classifier_pb2.ClassifyRequest(image=common_pb2.Image(encoded=png(film())[:500])),
    "no film": classifier_pb2.ClassifyRequest(),
    "no source": classifier_pb2.ClassifyRequest(image=common_pb2.Image()),
}


@pytest.mark.parametrize("name", sorted(BAD))
async def test_a_bad_film_is_a_typed_error_and_the_next_one_works(classifier: Any, name: str) -> None:
    code, status = await refused(classifier.Classify(BAD[name], timeout=TIMEOUT))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert details(status, error_details_pb2.BadRequest).field_violations
    assert (await classifier.Classify(of(film()), timeout=TIMEOUT)).classification.scores


async def test_a_stream_answers_every_film_but_the_bad_ones(classifier: Any) -> None:
    good = {f"film-{i}": of(film(i)) for i in range(6)}
    bad = {name: BAD[name] for name in ("nan", "text", "no film")} | {"model": of(film(), name="resnet")}
    order = ["film-0", "nan", "film-1", "film-2", "text", "no film", "film-3", "model", "film-4", "film-5"]

    async def requests() -> AsyncIterator[classifier_pb2.ClassifyStreamRequest]:
        for name in order:
            request = good.get(name) or bad[name]
            yield classifier_pb2.ClassifyStreamRequest(request_id=name, request=request)

    answers = {a.request_id: a async for a in classifier.ClassifyStream(requests(), timeout=TIMEOUT)}
    assert sorted(answers) == sorted(order)
    for name, request in good.items():
        alone = await classifier.Classify(request, timeout=TIMEOUT)
        assert answers[name].response.classification == alone.classification, "an answer depends on its company"
    codes = {name: answers[name].error.code for name in bad}
    invalid = code_pb2.INVALID_ARGUMENT
    assert codes == {"nan": invalid, "text": invalid, "no film": invalid, "model": code_pb2.NOT_FOUND}


async def test_a_deadline_that_has_passed_starts_no_work(classifier: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await classifier.Classify(of(film()), timeout=0.0)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert (await classifier.Classify(of(film()), timeout=TIMEOUT)).classification.scores
