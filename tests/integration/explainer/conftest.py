"""A served explainer, and a client that is not ViDi's own: plain grpc stubs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from prometheus_client import REGISTRY

from vidi import tensors
from vidi.api.common.v1 import common_pb2
from vidi.api.explainer.v1 import explainer_pb2, explainer_pb2_grpc
from vidi.models.tiny import SEVERITIES, write_tiny_bundle
from vidi.rpc.server import running
from vidi.service import find

DETAILS = (
    error_details_pb2.BadRequest,
    error_details_pb2.ResourceInfo,
    error_details_pb2.RetryInfo,
    error_details_pb2.ErrorInfo,
)


class Failure(Exception):
    """A call's google.rpc.Status with its details by type name."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
        self.message = status.message
        self.details: dict[str, Any] = {}
        for packed in status.details:
            for kind in DETAILS:
                if packed.Is(kind.DESCRIPTOR):
                    self.details[kind.DESCRIPTOR.name] = kind.FromString(packed.value)


@dataclass
class Client:
    """Calls from threads, as another program would."""

    stub: Any

    async def explain(
        self, request: explainer_pb2.ExplainRequest, timeout: float = 120.0
    ) -> explainer_pb2.ExplainResponse:
        response: explainer_pb2.ExplainResponse = await self._call(self.stub.Explain, request, timeout)
        return response

    async def assess(
        self, request: explainer_pb2.AssessExplanationRequest, timeout: float = 240.0
    ) -> explainer_pb2.AssessExplanationResponse:
        response: explainer_pb2.AssessExplanationResponse = await self._call(
            self.stub.AssessExplanation, request, timeout
        )
        return response

    async def forget(self, *keys: str) -> explainer_pb2.ForgetExplanationsResponse:
        request = explainer_pb2.ForgetExplanationsRequest(cache_keys=keys)
        response: explainer_pb2.ForgetExplanationsResponse = await self._call(
            self.stub.ForgetExplanations, request, 60.0
        )
        return response

    async def _call(self, method: Any, request: Any, timeout: float) -> Any:
        try:
            return await asyncio.to_thread(method, request, timeout)
        except grpc.RpcError as error:
            call: Any = error
            status = rpc_status.from_call(call)
            if status is None:
                status = status_pb2.Status(code=call.code().value[0], message=call.details())
            raise Failure(status) from None

    async def stream(
        self, requests: list[explainer_pb2.ExplainStreamRequest]
    ) -> list[explainer_pb2.ExplainStreamResponse]:
        return await asyncio.to_thread(lambda: list(self.stub.ExplainStream(iter(requests), 120.0)))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """These networks are so small that threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


Serve = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture(scope="session")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model of 64 x 64 pixels, three classes and three references: "small"."""
    directory = tmp_path_factory.mktemp("small-models")
    write_tiny_bundle(directory / "small", "small", SEVERITIES, seed=3, references=3, size=64)
    return directory


@pytest.fixture
def serve(tmp_path: Path, small_models: Path) -> Serve:
    """Opens an explainer with the given settings; yields a client."""

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[Client]:
        service = find("explainer")
        values = {"model_dir": small_models, "default_model": "small", "data_dir": tmp_path / "data", **settings}
        async with running(service, service.settings(**values)) as server:
            channel = grpc.insecure_channel(server.address, [("grpc.max_receive_message_length", 16 << 20)])
            try:
                yield Client(explainer_pb2_grpc.ExplainerServiceStub(channel))
            finally:
                channel.close()

    return opened


@pytest.fixture
def request_of() -> Callable[..., explainer_pb2.ExplainRequest]:
    def make(seed: int = 0, size: tuple[int, int] = (64, 64), **fields: Any) -> explainer_pb2.ExplainRequest:
        film = np.random.default_rng(seed).random(size, dtype=np.float32)
        return explainer_pb2.ExplainRequest(image=common_pb2.Image(tensor=tensors.encode(film)), **fields)

    return make


@pytest.fixture
def computed() -> Callable[[str], float]:
    """Number of films that an engine explained for a model so far, by the process's metrics."""

    def count(model: str = "small", engine: str = "deepshap") -> float:
        labels = {"model": model, "engine": engine}
        return REGISTRY.get_sample_value("vidi_explain_compute_seconds_count", labels) or 0.0

    return count
