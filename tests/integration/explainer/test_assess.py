"""AssessExplanation over gRPC, by both engines; what is measured is checked against the network called directly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch

from vidi import tensors
from vidi.api.common.v1 import common_pb2
from vidi.api.explainer.v1 import explainer_pb2, quality_pb2
from vidi.bundle import Bundle, load
from vidi.models import load_network

CODE = grpc.StatusCode
ADDITIVITY = quality_pb2.MEASURE_ADDITIVITY
SIGNS = quality_pb2.MEASURE_SIGN_DISAGREEMENT
CURVES = quality_pb2.MEASURE_DELETION_INSERTION
REPEATABILITY = quality_pb2.MEASURE_REPEATABILITY
FLOOR = quality_pb2.MEASURE_NOISE_FLOOR
AREAS = quality_pb2.MEASURE_AREAS
TRUTH = quality_pb2.MEASURE_TRUTH

FILM = np.random.default_rng(8).random((64, 64), dtype=np.float32)
MASK = np.zeros((64, 64), np.uint8)
MASK[10:30, 10:30] = 1


def request(*measures: quality_pb2.Measure, **fields: Any) -> explainer_pb2.AssessExplanationRequest:
    image = common_pb2.Image(tensor=tensors.encode(FILM))
    return explainer_pb2.AssessExplanationRequest(**{"image": image, "measures": measures, **fields})


def with_measure(number: int) -> explainer_pb2.AssessExplanationRequest:
    """A request for a measure that this version does not know, as a newer client would send it."""
    return explainer_pb2.AssessExplanationRequest.FromString(request().SerializeToString() + bytes([0x22, 1, number]))


def outputs(bundle: Bundle, film: np.ndarray) -> np.ndarray:
    """Logits of one film by the network itself."""
    with torch.no_grad():
        logits = load_network(bundle)(torch.from_numpy(bundle.preprocessing.to_input(film)[None]))
    return np.asarray(logits.double().numpy()[0])


async def test_what_the_shap_engine_gives(serve: Any, small_models: Path) -> None:
    bundle = load(small_models / "small")
    async with serve(explainer_engine="shap") as client:
        found = await client.assess(request(truth_mask=tensors.encode(MASK), steps=4, seed=3))
        explained = await client.explain(explainer_pb2.ExplainRequest(image=request().image))
    assert (found.model, found.method) == (explained.model, explained.method)
    assert list(found.measures) == [ADDITIVITY, CURVES, REPEATABILITY, TRUTH]
    assert [x.measure for x in found.left_out] == [SIGNS, FLOOR, AREAS]
    assert all("engine 'shap'" in x.reason for x in found.left_out)
    assert not any(output.HasField("noise_floor") for output in found.outputs)
    assert found.truth_chance.favorable_inside == pytest.approx(400 / 4096)
    reference = (bundle.background().mean(axis=0, dtype=np.float64) / 255).astype(np.float32)
    for i, (mine, exact) in enumerate(zip(found.outputs, explained.attributions, strict=True)):
        assert (mine.name, mine.index, mine.output, mine.base_value) == (
            exact.name,
            exact.index,
            exact.output,
            exact.base_value,
        )
        assert mine.additivity_residual == pytest.approx(exact.additivity_residual, abs=1e-5)
        map_ = np.asarray(tensors.decode(exact.map), np.float64)
        half = np.argsort(-map_.ravel(), kind="stable")[: map_.size // 2]
        mixed, back = FILM.ravel().copy(), reference.ravel().copy()
        mixed[half], back[half] = reference.ravel()[half], FILM.ravel()[half]
        deletion, insertion = mine.deletion_insertion.deletion, mine.deletion_insertion.insertion
        expected = [outputs(bundle, film)[i] for film in (FILM, mixed.reshape(64, 64), reference)]
        np.testing.assert_allclose(deletion.values[::2], expected, atol=1e-4)
        assert insertion.values[2] == pytest.approx(outputs(bundle, back.reshape(64, 64))[i], abs=1e-4)
        assert deletion.area == pytest.approx(np.trapezoid(deletion.values, dx=0.25))
        assert all(-1 <= r.rank_correlation <= 1 and -1 <= r.cosine <= 1 for r in mine.repeatability)
        favorable = np.maximum(map_, 0)
        inside = favorable[MASK == 1].sum() / favorable.sum()
        assert mine.truth.map.favorable_inside == pytest.approx(inside, abs=1e-4)


async def test_everything_by_the_deepshap_engine(serve: Any) -> None:
    target = explainer_pb2.Target(kind=explainer_pb2.TARGET_KIND_CLASS_VS_CLASS, class_a="severe", class_b="mild")
    async with serve(explainer_engine="deepshap") as client:
        found = await client.assess(request(truth_mask=tensors.encode(MASK), steps=2, seed=1))
        again = await client.assess(request(FLOOR, seed=1))
        other = await client.assess(request(FLOOR, seed=11))
        versus = await client.assess(request(SIGNS, AREAS, target=target))
    assert found.method.engine == "deepshap"
    assert list(found.measures) == [ADDITIVITY, SIGNS, CURVES, REPEATABILITY, FLOOR, AREAS, TRUTH]
    assert not found.left_out
    for output, same, different in zip(found.outputs, again.outputs, other.outputs, strict=True):
        floor = output.noise_floor
        assert floor.value > 0
        assert list(floor.seeds) == [1, 2, 3]
        assert list(same.noise_floor.by_seed) == pytest.approx(list(floor.by_seed), rel=1e-3)
        assert list(different.noise_floor.by_seed) != list(floor.by_seed)
        assert output.additivity_residual < 1e-3
        assert 0 <= output.sign_disagreement <= 1
        assert output.areas.stands_out == bool(output.areas.areas)
        if output.areas.stands_out:
            half, most = output.areas.areas
            assert half.pixels <= most.pixels
            assert half.level >= most.level > floor.value
    (output,) = versus.outputs
    assert output.name == "severe - mild"
    assert output.HasField("sign_disagreement")
    assert output.HasField("noise_floor"), "areas cannot be read without it"


@pytest.mark.parametrize("measure", [SIGNS, FLOOR, AREAS])
async def test_a_measure_that_the_engine_cannot_give(serve: Any, measure: quality_pb2.Measure) -> None:
    async with serve(explainer_engine="shap") as client:
        with pytest.raises(Exception, match="engine 'shap'") as caught:
            await client.assess(request(measure))
    failure: Any = caught.value
    assert failure.code is CODE.FAILED_PRECONDITION


def bad_requests() -> dict[str, tuple[explainer_pb2.AssessExplanationRequest, str, str]]:
    """What is wrong, what the message says, and the field it names."""
    nan = FILM.copy()
    nan[3, 4] = np.nan
    short = tensors.encode(MASK)
    short.data = short.data[:-1]
    versus = explainer_pb2.Target(kind=explainer_pb2.TARGET_KIND_CLASS_VS_CLASS, class_a="covid", class_b="mild")
    return {
        "shape": (request(truth_mask=tensors.encode(MASK[:32])), "neither the image's", "truth_mask"),
        "axes": (request(truth_mask=tensors.encode(MASK[..., None])), "axes", "truth_mask"),
        "bytes": (request(truth_mask=short), "bytes", "truth_mask"),
        "mask of floats": (request(truth_mask=tensors.encode(nan)), "not accepted", "truth_mask"),
        "empty mask": (request(truth_mask=tensors.encode(0 * MASK)), "no pixel", "truth_mask"),
        "no mask": (request(TRUTH), "truth_mask", "truth_mask"),
        "NaN": (request(image=common_pb2.Image(tensor=tensors.encode(nan))), "NaN", "image.tensor"),
        "no image": (explainer_pb2.AssessExplanationRequest(), "image", "image"),
        "unknown class": (request(target=versus), "mild, medium, severe", "target.class_a"),
        "unknown measure": (with_measure(99), "measures", "measures[0]"),
        "no measure": (request(quality_pb2.MEASURE_UNSPECIFIED), "measures", "measures[0]"),
        "twice": (request(ADDITIVITY, ADDITIVITY), "measures", "measures"),
        "steps": (request(steps=201), "steps", "steps"),
        "seed": (request(seed=-1), "seed", "seed"),
    }


async def test_bad_requests_are_told_what_is_wrong(serve: Any) -> None:
    async with serve(explainer_engine="shap") as client:
        for name, (wrong, says, field) in bad_requests().items():
            with pytest.raises(Exception, match=says) as caught:
                await client.assess(wrong)
            failure: Any = caught.value
            assert failure.code is CODE.INVALID_ARGUMENT, name
            assert [v.field for v in failure.details["BadRequest"].field_violations] == [field], name
        with pytest.raises(Exception, match="no model named 'nobody'") as caught:
            await client.assess(request(model=common_pb2.ModelRef(name="nobody")))
        failure = caught.value
        assert failure.code is CODE.NOT_FOUND
        with pytest.raises(Exception, match=r"(?i)deadline") as caught:
            await client.assess(request(), timeout=0.001)
        failure = caught.value
        assert failure.code is CODE.DEADLINE_EXCEEDED
        assert (await client.assess(request(ADDITIVITY))).outputs
