"""The classifier as a service of the suite. Light to import: torch comes with `open`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from vidi.service import Mounted, Service
from vidi_classifier.settings import ClassifierSettings

NAME = "vidi.api.classifier.v1.ClassifierService"


@asynccontextmanager
async def open_classifier(settings: ClassifierSettings) -> AsyncIterator[Mounted]:
    """Load all bundles and open the inference queue.

    Raises
    ------
    BundleError
        When a bundle is damaged; the service then does not start.
    """
    import asyncio

    import torch

    from vidi.api.classifier.v1 import classifier_pb2_grpc
    from vidi.rpc.work import WorkQueue
    from vidi_classifier.engine import Engine
    from vidi_classifier.servicer import ClassifierServicer

    if settings.torch_threads:
        torch.set_num_threads(settings.torch_threads)
    engine = await asyncio.to_thread(Engine.open, settings.model_dir, settings.default_model, settings.device)
    queue = WorkQueue("classifier", size=settings.queue_size)
    servicer = ClassifierServicer(engine, queue, settings.stream_concurrency)

    def add_to(server: Any) -> None:
        classifier_pb2_grpc.add_ClassifierServiceServicer_to_server(servicer, server)

    try:
        yield Mounted(add_to=add_to, names=(NAME,))
    finally:
        await queue.close()


SERVICE = Service(name="classifier", settings=ClassifierSettings, open=open_classifier)
