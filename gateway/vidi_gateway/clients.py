"""The services as the gateway calls them: typed calls that raise ViDi's errors. The only module here that knows gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import grpc
import numpy as np
import numpy.typing as npt

from vidi import tensors
from vidi.api.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from vidi.api.common.v1 import common_pb2
from vidi.api.explainer.v1 import explainer_pb2, explainer_pb2_grpc
from vidi.rpc.channel import open_channel
from vidi.rpc.status import from_rpc_error
from vidi_gateway.settings import GatewaySettings

T = TypeVar("T")
DESCRIBE_TIMEOUT = 30.0


class Services:
    """Classifier and explainer.

    Open it in the event loop that calls it: a channel belongs to its loop.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        size = settings.max_message_bytes
        self._channels = (
            open_channel(settings.classifier_address, max_message_bytes=size),
            open_channel(settings.explainer_address, max_message_bytes=size),
        )
        self._classifier = classifier_pb2_grpc.ClassifierServiceStub(self._channels[0])
        self._explainer = explainer_pb2_grpc.ExplainerServiceStub(self._channels[1])

    async def model(self, name: str, digest: str = "") -> common_pb2.Model:
        """Describe a loaded model.

        Raises
        ------
        NotFound, PreconditionFailed
            It is not there; another digest is.
        Unavailable
            The classifier does not answer.
        """
        request = classifier_pb2.GetModelRequest(model=common_pb2.ModelRef(name=name, digest=digest))
        return (await _answer(self._classifier.GetModel(request, timeout=DESCRIBE_TIMEOUT))).model

    async def classify(self, model: common_pb2.ModelRef, grid: npt.NDArray[np.float32]) -> classifier_pb2.ClassifyResponse:
        """Classify a film on the model's grid (height, width), float32 in 0..1.

        Raises
        ------
        ViDiError
            What the classifier answered, or Unavailable.
        """
        request = classifier_pb2.ClassifyRequest(model=model, image=common_pb2.Image(tensor=tensors.encode(grid)))
        return await _answer(self._classifier.Classify(request, timeout=self._settings.classify_timeout))

    async def explain(self, model: common_pb2.ModelRef, grid: npt.NDArray[np.float32]) -> explainer_pb2.ExplainResponse:
        """Explain every class's logit for a film on the model's grid (height, width), float32 in 0..1.

        Raises
        ------
        ViDiError
            What the explainer answered, or Unavailable.
        """
        request = explainer_pb2.ExplainRequest(model=model, image=common_pb2.Image(tensor=tensors.encode(grid)))
        return await _answer(self._explainer.Explain(request, timeout=self._settings.explain_timeout))

    async def close(self) -> None:
        """Close the channels."""
        await asyncio.gather(*(channel.close() for channel in self._channels))


async def _answer(call: Awaitable[T]) -> T:
    try:
        return await call
    except grpc.RpcError as e:
        raise from_rpc_error(e) from None
