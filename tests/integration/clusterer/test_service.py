"""The clusterer over real gRPC: streams, limits, typed errors, restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
import numpy as np
import pytest

from vidi import tensors
from vidi.api.clusterer.v1 import clusterer_pb2 as pb
from vidi.errors import Exhausted, InvalidInput, NotFound, PreconditionFailed, ViDiError
from vidi.rpc.status import from_rpc_error, from_status

Start = Callable[..., AbstractAsyncContextManager[Any]]
Batches = Callable[..., list[pb.VectorBatch]]
DEADLINE = 120.0


def sweep(kmeans: pb.KMeansConfig, batches: list[pb.VectorBatch], ks: tuple[int, ...] = ()) -> list[pb.SweepKRequest]:
    config = pb.SweepKConfig(kmeans=kmeans, ks=ks)
    return [pb.SweepKRequest(config=config), *(pb.SweepKRequest(batch=b) for b in batches)]


def fit(kmeans: pb.KMeansConfig, batches: list[pb.VectorBatch], k: int = 3) -> list[pb.FitRequest]:
    config = pb.FitConfig(kmeans=kmeans, k=k, display_name="test")
    return [pb.FitRequest(config=config), *(pb.FitRequest(batch=b) for b in batches)]


async def error_of(call: Awaitable[Any]) -> ViDiError:
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def test_sweep_fit_list_assign_delete(clusterer: Start, kmeans: pb.KMeansConfig, batches: Batches) -> None:
    async with clusterer() as stub:
        swept = await stub.SweepK(iter(sweep(kmeans, batches())), timeout=DEADLINE)
        assert [p.k for p in swept.points] == [2, 5, 10, 15, 20, 25, 30, 40]
        assert swept.recommended_k == 5
        assert not swept.circular
        clustering = (await stub.Fit(iter(fit(kmeans, batches())), timeout=DEADLINE)).clustering
        assert clustering.agreement.homogeneity == 1.0
        assert [c.size for c in clustering.clusters] == [20, 20, 20]
    async with clusterer() as stub:  # another process would find it as well
        got = await stub.GetClustering(pb.GetClusteringRequest(id=clustering.id), timeout=DEADLINE)
        assert got.clustering == clustering
        newer = (await stub.Fit(iter(fit(kmeans, batches(30), 2)), timeout=DEADLINE)).clustering
        page = await stub.ListClusterings(pb.ListClusteringsRequest(page_size=1), timeout=DEADLINE)
        assert [c.id for c in page.clusterings] == [newer.id]
        rest = await stub.ListClusterings(pb.ListClusteringsRequest(page_token=page.next_page_token), timeout=DEADLINE)
        assert [c.id for c in rest.clusterings] == [clustering.id]
        requests = [
            pb.AssignRequest(request_id=str(i), clustering_id=clustering.id, provenance=kmeans.provenance, batch=batch)
            for i, batch in enumerate(batches())
        ]
        found: dict[str, int] = {}
        async for answer in stub.Assign(iter(requests), timeout=DEADLINE):
            found |= {a.id: a.cluster for a in answer.assignments.assignments}
        assert found == {m.id: m.cluster for m in clustering.members}
        await stub.DeleteClustering(pb.DeleteClusteringRequest(id=clustering.id), timeout=DEADLINE)
        gone = await error_of(stub.GetClustering(pb.GetClusteringRequest(id=clustering.id), timeout=DEADLINE))
        assert isinstance(gone, NotFound)


async def test_a_bad_batch_fails_alone(clusterer: Start, kmeans: pb.KMeansConfig, batches: Batches) -> None:
    async with clusterer() as stub:
        clustering = (await stub.Fit(iter(fit(kmeans, batches(30))), timeout=DEADLINE)).clustering
        good = pb.AssignRequest(
            request_id="good", clustering_id=clustering.id, provenance=kmeans.provenance, batch=batches(10)[0]
        )
        requests = {name: pb.AssignRequest() for name in ("unknown", "model", "nan", "dimension", "rules", "good")}
        for name, request in requests.items():
            request.CopyFrom(good)
            request.request_id = name
        requests["unknown"].clustering_id = "../../etc"
        requests["model"].provenance.model.digest = "sha256:" + "f" * 64
        requests["nan"].batch.vectors.CopyFrom(tensors.encode(np.full((10, 16), np.nan, np.float32)))
        requests["dimension"].batch.CopyFrom(batches(10, 5)[0])
        requests["rules"].provenance.model.digest = ""
        answers = {a.request_id: a async for a in stub.Assign(iter(requests.values()), timeout=DEADLINE)}
    assert len(answers.pop("good").assignments.assignments) == 10
    kinds = {name: type(from_status(answer.error)) for name, answer in answers.items()}
    assert kinds.pop("unknown") is NotFound
    assert kinds.pop("model") is PreconditionFailed
    assert "a" * 64 in answers["model"].error.message
    assert "f" * 64 in answers["model"].error.message
    assert set(kinds) == {"nan", "dimension", "rules"}
    assert all(issubclass(kind, InvalidInput) for kind in kinds.values())


async def test_wrong_streams_are_refused_and_nothing_is_stored(
    clusterer: Start, kmeans: pb.KMeansConfig, batches: Batches
) -> None:
    good = fit(kmeans, batches(30))
    twice = batches(10)[0]
    half = batches(10)[0]
    del half.labels[:]
    wrong: dict[str, list[pb.FitRequest]] = {
        "empty": [],
        "batch first": good[1:],
        "config twice": [good[0], *good],
        "config only": good[:1],
        "neither": [good[0], pb.FitRequest()],
        "same ids": [*good, pb.FitRequest(batch=twice)],
        "labels for some": [good[0], pb.FitRequest(batch=half), *good[2:]],
        "k above n": fit(kmeans, batches(30), 31),
        "k zero": fit(kmeans, batches(30), 0),
        "other dimension": [*good, pb.FitRequest(batch=batches(40, 7)[3])],
    }
    async with clusterer() as stub:
        for name, messages in wrong.items():
            for _ in range(5):
                error = await error_of(stub.Fit(iter(messages), timeout=DEADLINE))
                # grpc's asyncio client loses the server's status when the call ends between two of its writes.
                if "Internal error from Core" not in str(error):
                    break
            assert isinstance(error, InvalidInput), (name, error)
            assert error.violations, name
        assert not (await stub.ListClusterings(pb.ListClusteringsRequest(), timeout=DEADLINE)).clusterings
        unsorted = await stub.SweepK(iter(sweep(kmeans, batches(30), (5, 2))), timeout=DEADLINE)
        assert [p.k for p in unsorted.points] == [2, 5]


async def test_a_stream_that_breaks_off_stores_nothing(
    clusterer: Start, kmeans: pb.KMeansConfig, batches: Batches
) -> None:
    async with clusterer() as stub:

        async def half() -> AsyncIterator[pb.FitRequest]:
            for message in fit(kmeans, batches(30)):
                yield message
            await asyncio.sleep(DEADLINE)

        call = stub.Fit(half(), timeout=DEADLINE)
        await asyncio.sleep(0.5)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not (await stub.ListClusterings(pb.ListClusteringsRequest(), timeout=DEADLINE)).clusterings


async def test_vector_data_is_capped_and_given_back(
    clusterer: Start, kmeans: pb.KMeansConfig, batches: Batches
) -> None:
    async with clusterer(max_vector_bytes=30 * 16 * 4) as stub:
        assert isinstance(await error_of(stub.Fit(iter(fit(kmeans, batches(31))), timeout=DEADLINE)), Exhausted)
        for _ in range(2):
            assert (await stub.Fit(iter(fit(kmeans, batches(30))), timeout=DEADLINE)).clustering.count == 30


async def test_a_caller_who_leaves_ends_the_computation(
    clusterer: Start, kmeans: pb.KMeansConfig, batches: Batches
) -> None:
    kmeans.restarts = 1000
    many = tuple(range(2, 250))
    async with clusterer() as stub:
        call = stub.SweepK(iter(sweep(kmeans, batches(1000), many)), timeout=DEADLINE)
        await asyncio.sleep(1.0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        kmeans.restarts = 1
        again = await stub.SweepK(iter(sweep(kmeans, batches(30), (2,))), timeout=DEADLINE)
        assert again.count == 30
