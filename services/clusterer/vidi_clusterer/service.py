"""The clusterer as a service of the suite. Light to import: faiss comes with `open`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from vidi.service import Mounted, Service
from vidi_clusterer.settings import ClustererSettings

NAME = "vidi.api.clusterer.v1.ClustererService"

#: What a response needs in a message beside the clustering itself.
ENVELOPE_BYTES = 1 << 10


@asynccontextmanager
async def open_clusterer(settings: ClustererSettings) -> AsyncIterator[Mounted]:
    """Open the store and the queues."""
    import asyncio

    from vidi.api.clusterer.v1 import clusterer_pb2_grpc
    from vidi.rpc.work import WorkQueue
    from vidi_clusterer.engine import ClusterEngine
    from vidi_clusterer.servicer import ClustererServicer
    from vidi_clusterer.store import ClusteringStore
    from vidi_clusterer.vectors import Budget

    store = await asyncio.to_thread(ClusteringStore, settings.store_dir)
    engine = ClusterEngine(store, max_clustering_bytes=settings.max_message_bytes - ENVELOPE_BYTES)
    work = WorkQueue("clusterer", size=settings.queue_size)
    quick = WorkQueue("clusterer-quick", size=settings.quick_queue_size)
    servicer = ClustererServicer(
        engine,
        store,
        work=work,
        quick=quick,
        budget=Budget(settings.max_vector_bytes),
        concurrency=settings.assign_concurrency,
    )

    def add_to(server: Any) -> None:
        clusterer_pb2_grpc.add_ClustererServiceServicer_to_server(servicer, server)

    try:
        yield Mounted(add_to=add_to, names=(NAME,))
    finally:
        await work.close()
        await quick.close()


SERVICE = Service(name="clusterer", settings=ClustererSettings, open=open_clusterer)
