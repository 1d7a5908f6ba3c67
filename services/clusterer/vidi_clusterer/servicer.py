"""ClustererService over gRPC: a thin layer over the engine."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from google.rpc import status_pb2

from vidi.api.clusterer.v1 import clusterer_pb2, clusterer_pb2_grpc
from vidi.errors import InvalidInput
from vidi.rpc.context import remaining
from vidi.rpc.streams import answer
from vidi.rpc.work import WorkQueue
from vidi_clusterer.engine import ClusterEngine
from vidi_clusterer.store import ClusteringStore
from vidi_clusterer.vectors import Budget, Collector

T = TypeVar("T")
Sweep = clusterer_pb2.SweepKRequest
Fit = clusterer_pb2.FitRequest

DEFAULT_PAGE = 100


class ClustererServicer(clusterer_pb2_grpc.ClustererServiceServicer):
    """Serves an engine and its store.

    Parameters
    ----------
    engine, store
        What computes, and where clusterings lie.
    work
        Bounded queue in front of the thread that sweeps and fits.
    quick
        Bounded queue for everything else, so that a lookup need not wait for a sweep.
    budget
        Vector data that all running calls together may hold.
    concurrency
        Batches of one Assign stream that may wait or run at a time.
    """

    def __init__(
        self,
        engine: ClusterEngine,
        store: ClusteringStore,
        *,
        work: WorkQueue,
        quick: WorkQueue,
        budget: Budget,
        concurrency: int,
    ) -> None:
        self._engine = engine
        self._store = store
        self._work = work
        self._quick = quick
        self._budget = budget
        self._concurrency = concurrency

    async def SweepK(self, request_iterator: AsyncIterator[Sweep], context: Any) -> clusterer_pb2.SweepKResponse:
        """Measure a list of k on a stream of vectors."""
        with Collector(self._budget) as collector:
            config = clusterer_pb2.SweepKConfig()
            config.CopyFrom((await _read(request_iterator, collector)).config)
            data = collector.finish()
            return await self._compute(context, lambda stopped: self._engine.sweep(config, data, stopped))

    async def Fit(self, request_iterator: AsyncIterator[Fit], context: Any) -> clusterer_pb2.FitResponse:
        """Fit and store a clustering of a stream of vectors."""
        with Collector(self._budget) as collector:
            config = clusterer_pb2.FitConfig()
            config.CopyFrom((await _read(request_iterator, collector)).config)
            data = collector.finish()
            fitted = await self._compute(context, lambda stopped: self._engine.fit(config, data, stopped))
        return clusterer_pb2.FitResponse(clustering=fitted)

    async def Assign(
        self, request_iterator: AsyncIterator[clusterer_pb2.AssignRequest], context: Any
    ) -> AsyncIterator[clusterer_pb2.AssignResponse]:
        """Assign vectors to a stored clustering; a batch's error becomes its answer."""

        async def handle(item: clusterer_pb2.AssignRequest) -> clusterer_pb2.AssignResponse:
            assignments = await self._quick.run(self._engine.assign, item, timeout=remaining(context))
            return clusterer_pb2.AssignResponse(request_id=item.request_id, assignments=assignments)

        def failed(item: clusterer_pb2.AssignRequest, status: status_pb2.Status) -> clusterer_pb2.AssignResponse:
            return clusterer_pb2.AssignResponse(request_id=item.request_id, error=status)

        async for response in answer(request_iterator, handle, failed, concurrency=self._concurrency):
            yield response

    async def GetClustering(
        self, request: clusterer_pb2.GetClusteringRequest, context: Any
    ) -> clusterer_pb2.GetClusteringResponse:
        """Return a stored clustering."""
        clustering = await self._quick.run(self._store.get, request.id, timeout=remaining(context))
        return clusterer_pb2.GetClusteringResponse(clustering=clustering)

    async def ListClusterings(
        self, request: clusterer_pb2.ListClusteringsRequest, context: Any
    ) -> clusterer_pb2.ListClusteringsResponse:
        """List stored clusterings, newest first."""
        page, token = await self._quick.run(
            self._store.page, request.page_size or DEFAULT_PAGE, request.page_token, timeout=remaining(context)
        )
        return clusterer_pb2.ListClusteringsResponse(clusterings=page, next_page_token=token)

    async def DeleteClustering(
        self, request: clusterer_pb2.DeleteClusteringRequest, context: Any
    ) -> clusterer_pb2.DeleteClusteringResponse:
        """Delete a stored clustering."""
        await self._quick.run(self._store.delete, request.id, timeout=remaining(context))
        return clusterer_pb2.DeleteClusteringResponse()

    async def _compute(self, context: Any, step: Callable[[Callable[[], bool]], T]) -> T:
        """Run in the queue; a caller who leaves meanwhile ends the computation at its next step."""
        left = threading.Event()
        try:
            return await self._work.run(step, left.is_set, timeout=remaining(context))
        finally:
            left.set()


async def _read(requests: AsyncIterator[Any], collector: Collector) -> Any:
    """Read a stream to its end: the config's message is returned, the batches are collected.

    Raises
    ------
    InvalidInput
        When the config does not come first, or comes twice.
    """
    first: Any = None
    async for message in requests:
        kind = message.WhichOneof("message")
        if (first is None) != (kind == "config"):
            raise InvalidInput("the first message, and only that, carries the config", field="config")
        if first is None:
            first = message
        else:
            collector.add(message.batch)
    if first is None:
        raise InvalidInput("an empty stream: the first message carries the config", field="config")
    return first
