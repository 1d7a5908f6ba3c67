"""Calls of the clusterer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import numpy.typing as npt

from vidi.api.clusterer.v1 import clusterer_pb2
from vidi.client.clusters import (
    Assignment,
    Clustering,
    LabelSource,
    Sweep,
    batches,
    kmeans_config,
    provenance_proto,
)
from vidi.client.connection import Connection
from vidi.client.results import Provenance
from vidi.rpc.status import from_status

PAGE = 100


class ClusterCalls(Connection):
    """Sweep k, fit and use clusterings."""

    async def sweep_k(
        self,
        vectors: npt.ArrayLike,
        provenance: Provenance,
        *,
        ks: Sequence[int] = (),
        ids: Sequence[str] | None = None,
        labels: Sequence[str] | None = None,
        label_source: LabelSource = "reference",
        restarts: int = 0,
        max_iterations: int = 0,
        seed: int = 0,
        timeout: float | None = None,
    ) -> Sweep:
        """Measure a list of k.

        Parameters
        ----------
        vectors
            Shape (n, d), floats, finite; such as stacked `Explanation.attribution_vector`. Sent in chunks.
        provenance
            Where they come from: `Explanation.provenance`.
        ks
            Numbers of clusters; empty: those of the paper's Fig. 2.
        ids
            One a vector, unique, never a patient's identifier; None: "0", "1", ...
        labels, label_source
            One a vector or None, and how they came about: agreement with predictions is circular.
        restarts, max_iterations
            0: the server's defaults.
        seed
            The same vectors, parameters and seed give the same answer.
        timeout
            Seconds; None: the client's.

        Raises
        ------
        InvalidInput, Exhausted, Expired, Unavailable
            As clusterer.proto says.
        """
        kmeans = kmeans_config(
            provenance,
            labels=labels,
            label_source=label_source,
            restarts=restarts,
            max_iterations=max_iterations,
            seed=seed,
        )
        config = clusterer_pb2.SweepKConfig(kmeans=kmeans, ks=ks)
        chunks = batches(vectors, ids, labels)

        async def messages() -> AsyncIterator[clusterer_pb2.SweepKRequest]:
            yield clusterer_pb2.SweepKRequest(config=config)
            for chunk in chunks:
                yield clusterer_pb2.SweepKRequest(batch=chunk)

        call = self._stub("clusterer").SweepK(messages(), timeout=self._deadline(timeout))
        return Sweep.from_proto(await self._answer("clusterer", call))

    async def fit(
        self,
        vectors: npt.ArrayLike,
        provenance: Provenance,
        *,
        k: int,
        ids: Sequence[str] | None = None,
        labels: Sequence[str] | None = None,
        label_source: LabelSource = "reference",
        restarts: int = 0,
        max_iterations: int = 0,
        seed: int = 0,
        display_name: str = "",
        timeout: float | None = None,
    ) -> Clustering:
        """Fit and store a clustering of `k` clusters; parameters as `sweep_k`, `display_name` without patient data."""
        kmeans = kmeans_config(
            provenance,
            labels=labels,
            label_source=label_source,
            restarts=restarts,
            max_iterations=max_iterations,
            seed=seed,
        )
        config = clusterer_pb2.FitConfig(kmeans=kmeans, k=k, display_name=display_name)
        chunks = batches(vectors, ids, labels)

        async def messages() -> AsyncIterator[clusterer_pb2.FitRequest]:
            yield clusterer_pb2.FitRequest(config=config)
            for chunk in chunks:
                yield clusterer_pb2.FitRequest(batch=chunk)

        call = self._stub("clusterer").Fit(messages(), timeout=self._deadline(timeout))
        return Clustering.from_proto((await self._answer("clusterer", call)).clustering)

    async def assign(
        self,
        clustering_id: str,
        vectors: npt.ArrayLike,
        provenance: Provenance,
        *,
        ids: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> tuple[Assignment, ...]:
        """Assign vectors to a stored clustering; one answer a vector, in their order.

        Raises
        ------
        NotFound
            No such clustering.
        PreconditionFailed
            The vectors are another model's, background's or feature space's.
        InvalidInput, Exhausted, Expired, Unavailable
            As clusterer.proto says.
        """
        chunks = batches(vectors, ids, None)
        origin = provenance_proto(provenance)

        async def messages() -> AsyncIterator[clusterer_pb2.AssignRequest]:
            for number, chunk in enumerate(chunks):
                yield clusterer_pb2.AssignRequest(
                    request_id=str(number), clustering_id=clustering_id, provenance=origin, batch=chunk
                )

        found: dict[int, list[Assignment]] = {}
        call = self._stub("clusterer").Assign(messages(), timeout=self._deadline(timeout))
        async with aclosing(self._answers("clusterer", call)) as responses:
            async for response in responses:
                if response.HasField("error"):
                    raise from_status(response.error)
                items = response.assignments.assignments
                found[int(response.request_id)] = [Assignment(a.id, a.cluster, a.distance, a.outlier) for a in items]
        return tuple(a for number in sorted(found) for a in found[number])

    async def clustering(self, clustering_id: str, *, timeout: float | None = None) -> Clustering:
        """Return a stored clustering.

        Raises
        ------
        NotFound
            No such clustering.
        """
        request = clusterer_pb2.GetClusteringRequest(id=clustering_id)
        call = self._stub("clusterer").GetClustering(request, timeout=self._deadline(timeout))
        return Clustering.from_proto((await self._answer("clusterer", call)).clustering)

    async def clusterings(self, *, limit: int = 1000, timeout: float | None = None) -> tuple[Clustering, ...]:
        """Return stored clusterings, newest first, at most `limit`; without clusters, centroids and members."""
        found: list[Clustering] = []
        token = ""
        while len(found) < limit:
            request = clusterer_pb2.ListClusteringsRequest(page_size=min(PAGE, limit - len(found)), page_token=token)
            call = self._stub("clusterer").ListClusterings(request, timeout=self._deadline(timeout))
            page = await self._answer("clusterer", call)
            found += [Clustering.from_proto(c) for c in page.clusterings]
            token = page.next_page_token
            if not token:
                break
        return tuple(found)

    async def delete_clustering(self, clustering_id: str, *, timeout: float | None = None) -> None:
        """Delete a stored clustering.

        Raises
        ------
        NotFound
            No such clustering.
        """
        request = clusterer_pb2.DeleteClusteringRequest(id=clustering_id)
        call = self._stub("clusterer").DeleteClustering(request, timeout=self._deadline(timeout))
        await self._answer("clusterer", call)
