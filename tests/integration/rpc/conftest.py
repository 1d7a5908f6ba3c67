"""A small, real service over the classifier's proto, served on a loopback socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc
import pytest

from vidi.api.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from vidi.api.clusterer.v1 import clusterer_pb2, clusterer_pb2_grpc
from vidi.errors import AlreadyExists, Exhausted, InvalidTensor, NotFound, PreconditionFailed
from vidi.rpc.context import remaining, request_id
from vidi.rpc.server import Running, running
from vidi.rpc.streams import answer
from vidi.rpc.work import WorkQueue
from vidi.service import Mounted, Service
from vidi.settings import ServiceSettings

NAMES = ("vidi.api.classifier.v1.ClassifierService", "vidi.api.clusterer.v1.ClustererService")


class Probe(classifier_pb2_grpc.ClassifierServiceServicer, clusterer_pb2_grpc.ClustererServiceServicer):
    """Does what the model's name says; one computation thread."""

    def __init__(self, size: int) -> None:
        self.queue = WorkQueue("probe", size=size)
        self.started: list[str] = []
        self.request_ids: list[str] = []
        self.blocked = threading.Event()
        self.release = threading.Event()

    async def Classify(self, request: Any, context: Any) -> Any:
        self.request_ids.append(request_id())
        name = request.model.name
        await self.queue.run(self._compute, name, timeout=remaining(context))
        return classifier_pb2.ClassifyResponse(classification=classifier_pb2.Classification(top_name=name))

    async def ClassifyStream(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:
        async def handle(item: Any) -> Any:
            response = await self.Classify(item.request, context)
            return classifier_pb2.ClassifyStreamResponse(request_id=item.request_id, response=response)

        def failed(item: Any, status: Any) -> Any:
            return classifier_pb2.ClassifyStreamResponse(request_id=item.request_id, error=status)

        async for response in answer(request_iterator, handle, failed, concurrency=4):
            yield response

    async def ListModels(self, request: Any, context: Any) -> Any:
        big = classifier_pb2.ListModelsResponse()
        big.models.add(training_data="x" * 3_000_000)
        return big

    async def GetModel(self, request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "by hand")

    async def Fit(self, request_iterator: Any, context: Any) -> Any:
        count = 0
        async for message in request_iterator:
            count += len(message.batch.ids)
        return clusterer_pb2.FitResponse(clustering=clusterer_pb2.Clustering(count=count))

    def _compute(self, name: str) -> None:
        self.started.append(name)
        match name:
            case "block":
                self.blocked.set()
                assert self.release.wait(60)
            case "boom":
                raise ValueError("patient DOE^JANE 1970-01-31")
            case "missing":
                raise NotFound("model", name, hint="known: a, b")
            case "exists":
                raise AlreadyExists("film", "f1", "other pixels")
            case "precondition":
                raise PreconditionFailed("another digest is loaded", reason="DIGEST_NOT_LOADED")
            case "exhausted":
                raise Exhausted("the disk is full", retry_after=7.5)
            case "tensor":
                raise InvalidTensor("image.tensor: holds NaN", field="image.tensor")


class Served:
    """A running probe and plain gRPC access to it."""

    def __init__(self, probe: Probe, server: Running, channel: grpc.aio.Channel) -> None:
        self.probe = probe
        self.server = server
        self.channel = channel
        self.classifier = classifier_pb2_grpc.ClassifierServiceStub(channel)
        self.clusterer = clusterer_pb2_grpc.ClustererServiceStub(channel)

    def classify(self, name: str, **options: Any) -> Any:
        """Start a Classify call."""
        request = classifier_pb2.ClassifyRequest(model={"name": name}, image={"encoded": b"x"})
        return self.classifier.Classify(request, **{"timeout": 60, **options})

    async def block(self) -> Any:
        """Occupy the computation thread; return the running call."""
        call = self.classify("block")
        assert await asyncio.to_thread(self.probe.blocked.wait, 60)
        return call

    async def waiting(self, count: int) -> None:
        """Wait until so many requests wait in the queue."""
        async with asyncio.timeout(60):
            while self.probe.queue.depth != count:  # noqa: ASYNC110 - the queue tells nobody
                await asyncio.sleep(0.01)


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture
def serve() -> Serve:
    """Return a context that serves a probe; keywords are settings."""

    @asynccontextmanager
    async def open_served(**overrides: Any) -> AsyncIterator[Served]:
        settings = ServiceSettings(**{"grace_seconds": 60.0, **overrides})
        probe = Probe(settings.queue_size)

        @asynccontextmanager
        async def open_probe(_settings: Any) -> AsyncIterator[Mounted]:
            def add_to(server: Any) -> None:
                classifier_pb2_grpc.add_ClassifierServiceServicer_to_server(probe, server)
                clusterer_pb2_grpc.add_ClustererServiceServicer_to_server(probe, server)

            yield Mounted(add_to=add_to, names=NAMES)
            await probe.queue.close()

        service = Service("probe", ServiceSettings, open_probe)
        try:
            async with running(service, settings) as server, grpc.aio.insecure_channel(server.address) as channel:
                yield Served(probe, server, channel)
                probe.release.set()
        finally:
            probe.release.set()

    return open_served
