"""A classifier on a real port, called by a client that is not ViDi's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest_asyncio

from vidi.api.classifier.v1 import classifier_pb2_grpc
from vidi.rpc.server import running
from vidi_classifier.service import SERVICE


@pytest_asyncio.fixture
async def classifier(model_dir: Path) -> AsyncIterator[classifier_pb2_grpc.ClassifierServiceStub]:
    """A stub on a plain channel."""
    settings = SERVICE.settings(model_dir=model_dir, default_model="tiny-pneumonia", port=0, grace_seconds=5.0)
    async with running(SERVICE, settings) as server, grpc.aio.insecure_channel(server.address) as channel:
        yield classifier_pb2_grpc.ClassifierServiceStub(channel)
