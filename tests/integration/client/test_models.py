"""Classify, explain and cluster against the real services, over sockets."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image as PilImage

from vidi import tensors
from vidi.api.explainer.v1 import explainer_pb2, explainer_pb2_grpc
from vidi.client import AsyncClient, Client, Explanation, ModelRef, Target
from vidi.errors import InvalidInput, NotFound, PreconditionFailed, Unavailable, UnreadableImage, ViDiError

RNG = np.random.default_rng(11)
FILM = RNG.random((64, 48)).astype(np.float32)


@pytest.fixture
def addresses(backends: dict[str, str]) -> dict[str, Any]:
    return {name: backends[name] for name in ("classifier", "explainer", "clusterer")}


async def test_models_are_described(addresses: dict[str, Any]) -> None:
    async with AsyncClient(**addresses) as client:
        models = await client.models()
        default = await client.model()
        assert [m.name for m in models] == ["tiny-pneumonia", "tiny-severity"]
        assert default == models[0]
        assert default.is_default
        assert [c.name for c in default.classes] == ["normal", "pneumonia"]
        assert default.ref.digest.startswith("sha256:")
        assert await client.model(default.ref) == default
        with pytest.raises(NotFound, match="nonsense"):
            await client.model("nonsense")
        with pytest.raises(PreconditionFailed):
            await client.model(ModelRef("tiny-pneumonia", digest="sha256:" + "0" * 64))


async def test_a_film_is_classified_the_same_however_it_is_given(addresses: dict[str, Any], tmp_path: Path) -> None:
    grey = np.round(FILM * 255).astype(np.uint8)
    file = io.BytesIO()
    PilImage.fromarray(grey).save(file, "PNG")
    path = tmp_path / "film.png"
    path.write_bytes(file.getvalue())
    async with AsyncClient(**addresses) as client:
        first = await client.classify(path)
        for image in (str(path), file.getvalue(), grey, grey.astype(np.float32) / np.float32(255)):
            other = await client.classify(image)
            assert other.probabilities == pytest.approx(first.probabilities, abs=1e-6)
    assert sum(first.probabilities.values()) == pytest.approx(1)
    assert first.top_name == max(first.probabilities, key=lambda name: first.probabilities[name])


async def test_errors_have_vidis_types(addresses: dict[str, Any]) -> None:
    async with AsyncClient(**addresses) as client:
        with pytest.raises(UnreadableImage):
            await client.classify(b"not an image at all")
        with pytest.raises(InvalidInput) as caught:
            await client.classify(np.full((32, 32), np.nan, np.float32))
        assert caught.value.violations
        with pytest.raises(NotFound):
            await client.explain(FILM, model="nonsense")
        with pytest.raises(InvalidInput):
            await client.explain(FILM, target=Target("class_vs_class", "normal", "nonsense"))
        with pytest.raises(InvalidInput, match="gateway"):
            await client.result("f1")
        assert (await client.classify(FILM)).scores  # and the next one still works


async def test_an_explanation_holds_what_the_service_sent(addresses: dict[str, Any]) -> None:
    """The client against a plain stub on the same film (the second answer comes from the cache)."""
    async with AsyncClient(**addresses) as client:
        outcome = await client.explain(FILM, include_channels=True)
    async with grpc.aio.insecure_channel(addresses["explainer"]) as channel:
        request = explainer_pb2.ExplainRequest(image={"tensor": tensors.encode(FILM)}, include_channels=True)
        plain = await explainer_pb2_grpc.ExplainerServiceStub(channel).Explain(request, timeout=120)
    assert plain.cache_hit
    assert outcome.cache_key == plain.cache_key
    assert outcome.provenance.model.digest == plain.model.digest
    assert outcome.provenance.classes == ("normal", "pneumonia")
    np.testing.assert_array_equal(outcome.attribution_vector, tensors.decode(plain.attribution_vector))
    assert outcome.attribution_vector.shape == (392,)
    for mine, theirs in zip(outcome.attributions, plain.attributions, strict=True):
        np.testing.assert_array_equal(mine.map, tensors.decode(theirs.map))
        assert mine.channels is not None
        np.testing.assert_allclose(mine.channels.sum(axis=0), mine.map, atol=1e-6)
        assert mine.sum == theirs.sum == pytest.approx(mine.favorable_sum + mine.glum_sum)
    assert outcome.map_to_image(0, 0) == pytest.approx((plain.map_to_image.c, plain.map_to_image.f))
    half = await _explain_half(addresses)
    np.testing.assert_allclose(half.attributions[0].map, outcome.attributions[0].map, atol=2e-3)


async def _explain_half(addresses: dict[str, Any]) -> Explanation:
    async with AsyncClient(**addresses) as client:
        return await client.explain(FILM, map_dtype="float16")


async def test_films_of_a_stream_have_their_own_fates(addresses: dict[str, Any], tmp_path: Path) -> None:
    images: list[Any] = [FILM, tmp_path / "nowhere.png", b"not an image", FILM[::-1].copy(), np.zeros((3, 3, 3))]
    async with AsyncClient(**addresses) as client:
        classified = {a.index: a async for a in client.classify_many(images)}
        explained = {a.index: a async for a in client.explain_many(images[:3])}
        single = await client.classify(FILM)
    assert set(classified) == {0, 1, 2, 3, 4}
    assert {i: type(a.error) for i, a in classified.items() if a.error} == {
        1: NotFound,
        2: UnreadableImage if isinstance(classified[2].error, UnreadableImage) else InvalidInput,
        4: type(classified[4].error),
    }
    assert classified[0].unwrap().probabilities == pytest.approx(single.probabilities, abs=1e-6)
    assert explained[0].unwrap().attributions[0].map.shape == (224, 224)
    assert isinstance(explained[2].error, ViDiError)


async def test_leaving_a_stream_early_is_fine(addresses: dict[str, Any]) -> None:
    async with AsyncClient(**addresses) as client:
        async for answer in client.classify_many([FILM] * 50):
            assert answer.unwrap().scores
            break
        assert (await client.classify(FILM)).scores


async def test_vectors_are_swept_fitted_and_assigned(addresses: dict[str, Any]) -> None:
    async with AsyncClient(**addresses) as client:
        provenance = (await client.explain(FILM)).provenance
        centres = np.repeat([[-5.0], [0.0], [5.0]], 392, axis=1)
        labels = [("a", "b", "c")[i % 3] for i in range(90)]
        vectors = (centres[np.arange(90) % 3] + RNG.normal(0, 0.1, (90, 392))).astype(np.float32)
        ids = [f"film-{i}" for i in range(90)]
        sweep = await client.sweep_k(vectors, provenance, ks=(2, 3, 5), ids=ids, labels=labels, seed=3)
        assert [p.k for p in sweep.points] == [2, 3, 5]
        assert sweep.points[1].agreement is not None
        assert sweep.points[1].agreement.v_measure == pytest.approx(1)
        assert not sweep.circular
        fitted = await client.fit(vectors, provenance, k=3, ids=ids, labels=labels, label_source="predicted", seed=3)
        assert fitted.label_source == "predicted"
        assert fitted.provenance == provenance
        assert {m.id for m in fitted.members} == set(ids)
        assert fitted.centroids is not None
        assert fitted.centroids.shape == (3, 392)
        assigned = await client.assign(fitted.id, vectors, provenance, ids=ids)
        assert [a.id for a in assigned] == ids
        assert {a.id: a.cluster for a in assigned} == {m.id: m.cluster for m in fitted.members}
        assert [c.id for c in await client.clusterings()] == [fitted.id]
        again = await client.clustering(fitted.id)
        assert again.members == fitted.members
        with pytest.raises(NotFound):
            await client.assign("nonsense", vectors, provenance)
        await client.delete_clustering(fitted.id)
        with pytest.raises(NotFound):
            await client.clustering(fitted.id)


async def test_many_vectors_travel_in_messages_that_the_server_takes(addresses: dict[str, Any]) -> None:
    vectors = RNG.normal(0, 1, (2000, 4000)).astype(np.float32)  # 32 MB; a message has at most 16 MiB
    async with AsyncClient(**addresses) as client:
        provenance = (await client.explain(FILM)).provenance
        sweep = await client.sweep_k(vectors, provenance, ks=(2,), restarts=1, max_iterations=1)
    assert sweep.count == 2000


def test_the_sync_client_gives_the_same_answers(addresses: dict[str, Any]) -> None:
    with Client(**addresses) as client:
        assert [m.name for m in client.models()] == ["tiny-pneumonia", "tiny-severity"]
        single = client.classify(FILM)
        assert sorted(a.index for a in client.classify_many([FILM, FILM])) == [0, 1]
        for answer in client.explain_many([FILM, FILM]):
            assert answer.unwrap().model == single.model
            break
        with pytest.raises(NotFound):
            client.model("nonsense")
        assert client.clusterings() == ()
    client.close()
    with pytest.raises(ViDiError, match="closed"):
        client.models()


async def test_a_server_that_is_not_there_is_named() -> None:
    async with AsyncClient(gateway="127.0.0.1:1") as client:
        with pytest.raises(Unavailable, match=r"the explainer at 127\.0\.0\.1:1 cannot be reached"):
            await client.explain(FILM)
        with pytest.raises(Unavailable, match=r"the gateway at 127\.0\.0\.1:1"):
            await client.result("f1")


async def test_a_server_of_another_kind_is_named(addresses: dict[str, Any]) -> None:
    async with AsyncClient(gateway=addresses["classifier"]) as client:
        with pytest.raises(PreconditionFailed, match="does not offer"):
            await client.result("f1")
