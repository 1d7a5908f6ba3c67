"""The services as the gateway calls them: typed calls that raise ViDi's errors. Only this module knows gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from typing import Any, TypeVar

import grpc
import numpy as np
import numpy.typing as npt
from grpc_health.v1 import health_pb2, health_pb2_grpc

from vidi import tensors
from vidi.api.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from vidi.api.clusterer.v1 import clusterer_pb2, clusterer_pb2_grpc
from vidi.api.common.v1 import common_pb2
from vidi.api.explainer.v1 import explainer_pb2, explainer_pb2_grpc
from vidi.errors import Unavailable
from vidi.rpc.channel import open_channel
from vidi.rpc.status import from_rpc_error
from vidi_gateway.settings import GatewaySettings

T = TypeVar("T")
DESCRIBE_TIMEOUT = 30.0
#: Keys in one ForgetExplanations.
MAX_FORGOTTEN = 1000


class Services:
    """Classifier, explainer and clusterer.

    Open it in the event loop that calls it: a channel belongs to its loop.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._models: dict[str, common_pb2.Model] = {}
        size = settings.max_message_bytes
        self._channels = (
            open_channel(settings.classifier_address, max_message_bytes=size),
            open_channel(settings.explainer_address, max_message_bytes=size),
            open_channel(settings.clusterer_address, max_message_bytes=size),
        )
        self._classifier = classifier_pb2_grpc.ClassifierServiceStub(self._channels[0])
        self._explainer = explainer_pb2_grpc.ExplainerServiceStub(self._channels[1])
        self._clusterer = clusterer_pb2_grpc.ClustererServiceStub(self._channels[2])

    @property
    def channels(self) -> tuple[grpc.aio.Channel, ...]:
        """Channels to classifier, explainer and clusterer, for the pass-through."""
        return self._channels

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
        described: classifier_pb2.GetModelResponse = await answer(
            self._classifier.GetModel(request, timeout=DESCRIBE_TIMEOUT)
        )
        return described.model

    async def models(self) -> list[common_pb2.Model]:
        """Describe all loaded models.

        Raises
        ------
        Unavailable
            The classifier does not answer.
        """
        request = classifier_pb2.ListModelsRequest()
        return list((await answer(self._classifier.ListModels(request, timeout=DESCRIBE_TIMEOUT))).models)

    async def described(self, name: str, digest: str) -> common_pb2.Model:
        """Describe a model by its digest; remembered, since a digest always means the same model.

        Raises
        ------
        NotFound, PreconditionFailed, Unavailable
            As `model`.
        """
        if digest not in self._models:
            self._models[digest] = await self.model(name, digest)
        return self._models[digest]

    async def classify(
        self, model: common_pb2.ModelRef, grid: npt.NDArray[np.float32]
    ) -> classifier_pb2.ClassifyResponse:
        """Classify a film on the model's grid (height, width), float32 in 0..1.

        Raises
        ------
        ViDiError
            What the classifier answered, or Unavailable.
        """
        request = classifier_pb2.ClassifyRequest(model=model, image=common_pb2.Image(tensor=tensors.encode(grid)))
        return await answer(self._classifier.Classify(request, timeout=self._settings.classify_timeout))

    async def explain(self, model: common_pb2.ModelRef, grid: npt.NDArray[np.float32]) -> explainer_pb2.ExplainResponse:
        """Explain every class's logit for a film on the model's grid (height, width), float32 in 0..1.

        Raises
        ------
        ViDiError
            What the explainer answered, or Unavailable.
        """
        request = explainer_pb2.ExplainRequest(model=model, image=common_pb2.Image(tensor=tensors.encode(grid)))
        return await answer(self._explainer.Explain(request, timeout=self._settings.explain_timeout))

    async def forget(self, keys: Sequence[str]) -> int:
        """Make the explainer forget explanations by their content keys (`ExplainResponse.cache_key`, hex).

        Returns
        -------
        How many it remembered. Repeating it does no harm.

        Raises
        ------
        InvalidInput
            Something is no content key.
        Unavailable
            The explainer or its cache does not answer: what it remembers is unknown, try again.
        """
        distinct = list(dict.fromkeys(keys))
        forgotten = 0
        for start in range(0, len(distinct), MAX_FORGOTTEN):
            request = explainer_pb2.ForgetExplanationsRequest(cache_keys=distinct[start : start + MAX_FORGOTTEN])
            answered = await answer(self._explainer.ForgetExplanations(request, timeout=DESCRIBE_TIMEOUT))
            forgotten += answered.forgotten
        return forgotten

    async def sweep_k(
        self, config: clusterer_pb2.SweepKConfig, batches: Iterable[clusterer_pb2.VectorBatch]
    ) -> clusterer_pb2.SweepKResponse:
        """Measure a list of k.

        Raises
        ------
        ViDiError
            What the clusterer answered, or Unavailable.
        """

        async def messages() -> AsyncIterator[clusterer_pb2.SweepKRequest]:
            yield clusterer_pb2.SweepKRequest(config=config)
            for batch in batches:
                yield clusterer_pb2.SweepKRequest(batch=batch)

        return await answer(self._clusterer.SweepK(messages(), timeout=self._settings.cluster_timeout))

    async def fit(
        self, config: clusterer_pb2.FitConfig, batches: Iterable[clusterer_pb2.VectorBatch]
    ) -> clusterer_pb2.FitResponse:
        """Fit and store a clustering.

        Raises
        ------
        ViDiError
            What the clusterer answered, or Unavailable.
        """

        async def messages() -> AsyncIterator[clusterer_pb2.FitRequest]:
            yield clusterer_pb2.FitRequest(config=config)
            for batch in batches:
                yield clusterer_pb2.FitRequest(batch=batch)

        return await answer(self._clusterer.Fit(messages(), timeout=self._settings.cluster_timeout))

    async def healthy(self) -> None:
        """Check that every service says SERVING.

        Raises
        ------
        Unavailable
            Naming one that does not.
        """
        for name, channel in zip(("classifier", "explainer", "clusterer"), self._channels, strict=True):
            check: Any = getattr(health_pb2_grpc.HealthStub(channel), "Check")  # noqa: B009 - its stub types lack it
            answered = await answer(check(health_pb2.HealthCheckRequest(), timeout=DESCRIBE_TIMEOUT))
            if answered.status != health_pb2.HealthCheckResponse.SERVING:
                raise Unavailable(f"the {name} is not serving", reason="NOT_READY")

    async def close(self) -> None:
        """Close the channels."""
        await asyncio.gather(*(channel.close() for channel in self._channels))


async def answer(call: Awaitable[T]) -> T:
    """Await a call of a stub; its errors become ViDi's.

    Raises
    ------
    ViDiError
        What the service answered, or Unavailable.
    """
    try:
        return await call
    except grpc.RpcError as e:
        raise from_rpc_error(e) from None


async def answers(calls: AsyncIterator[T]) -> AsyncIterator[T]:
    """Iterate over a streamed answer of a stub; its errors become ViDi's, as in `answer`."""
    try:
        async for item in calls:
            yield item
    except grpc.RpcError as e:
        raise from_rpc_error(e) from None
