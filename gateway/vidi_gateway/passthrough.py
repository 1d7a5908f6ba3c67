"""The three services, callable through the gateway's port: how other systems call classify, explain and cluster.

Requests are validated, logged and metered here like the gateway's own, then handed on with the caller's deadline;
errors come back with the type and details that the service gave them. The services' own ports stay inside.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from vidi.api.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from vidi.api.clusterer.v1 import clusterer_pb2, clusterer_pb2_grpc
from vidi.api.explainer.v1 import explainer_pb2, explainer_pb2_grpc
from vidi.errors import Unavailable
from vidi.rpc.context import remaining
from vidi_gateway.clients import answer, answers


class ClassifierForwarder(classifier_pb2_grpc.ClassifierServiceServicer):
    """Hands ClassifierService on."""

    def __init__(self, channel: Any) -> None:
        self._stub: Any = classifier_pb2_grpc.ClassifierServiceStub(channel)

    async def Classify(self, request: classifier_pb2.ClassifyRequest, context: Any) -> classifier_pb2.ClassifyResponse:
        """See classifier.proto."""
        return await answer(self._stub.Classify(request, **_onward(context)))

    def ClassifyStream(
        self, request_iterator: AsyncIterator[classifier_pb2.ClassifyStreamRequest], context: Any
    ) -> AsyncIterator[classifier_pb2.ClassifyStreamResponse]:
        """See classifier.proto."""
        return answers(self._stub.ClassifyStream(request_iterator, **_onward(context)))

    async def ListModels(
        self, request: classifier_pb2.ListModelsRequest, context: Any
    ) -> classifier_pb2.ListModelsResponse:
        """See classifier.proto."""
        return await answer(self._stub.ListModels(request, **_onward(context)))

    async def GetModel(self, request: classifier_pb2.GetModelRequest, context: Any) -> classifier_pb2.GetModelResponse:
        """See classifier.proto."""
        return await answer(self._stub.GetModel(request, **_onward(context)))


class ExplainerForwarder(explainer_pb2_grpc.ExplainerServiceServicer):
    """Hands ExplainerService on."""

    def __init__(self, channel: Any) -> None:
        self._stub: Any = explainer_pb2_grpc.ExplainerServiceStub(channel)

    async def Explain(self, request: explainer_pb2.ExplainRequest, context: Any) -> explainer_pb2.ExplainResponse:
        """See explainer.proto."""
        return await answer(self._stub.Explain(request, **_onward(context)))

    def ExplainStream(
        self, request_iterator: AsyncIterator[explainer_pb2.ExplainStreamRequest], context: Any
    ) -> AsyncIterator[explainer_pb2.ExplainStreamResponse]:
        """See explainer.proto."""
        return answers(self._stub.ExplainStream(request_iterator, **_onward(context)))

    async def AssessExplanation(
        self, request: explainer_pb2.AssessExplanationRequest, context: Any
    ) -> explainer_pb2.AssessExplanationResponse:
        """See explainer.proto."""
        return await answer(self._stub.AssessExplanation(request, **_onward(context)))

    async def ForgetExplanations(
        self, request: explainer_pb2.ForgetExplanationsRequest, context: Any
    ) -> explainer_pb2.ForgetExplanationsResponse:
        """See explainer.proto."""
        return await answer(self._stub.ForgetExplanations(request, **_onward(context)))


class ClustererForwarder(clusterer_pb2_grpc.ClustererServiceServicer):
    """Hands ClustererService on."""

    def __init__(self, channel: Any) -> None:
        self._stub: Any = clusterer_pb2_grpc.ClustererServiceStub(channel)

    async def SweepK(
        self, request_iterator: AsyncIterator[clusterer_pb2.SweepKRequest], context: Any
    ) -> clusterer_pb2.SweepKResponse:
        """See clusterer.proto."""
        return await answer(self._stub.SweepK(request_iterator, **_onward(context)))

    async def Fit(
        self, request_iterator: AsyncIterator[clusterer_pb2.FitRequest], context: Any
    ) -> clusterer_pb2.FitResponse:
        """See clusterer.proto."""
        return await answer(self._stub.Fit(request_iterator, **_onward(context)))

    def Assign(
        self, request_iterator: AsyncIterator[clusterer_pb2.AssignRequest], context: Any
    ) -> AsyncIterator[clusterer_pb2.AssignResponse]:
        """See clusterer.proto."""
        return answers(self._stub.Assign(request_iterator, **_onward(context)))

    async def GetClustering(
        self, request: clusterer_pb2.GetClusteringRequest, context: Any
    ) -> clusterer_pb2.GetClusteringResponse:
        """See clusterer.proto."""
        return await answer(self._stub.GetClustering(request, **_onward(context)))

    async def ListClusterings(
        self, request: clusterer_pb2.ListClusteringsRequest, context: Any
    ) -> clusterer_pb2.ListClusteringsResponse:
        """See clusterer.proto."""
        return await answer(self._stub.ListClusterings(request, **_onward(context)))

    async def DeleteClustering(
        self, request: clusterer_pb2.DeleteClusteringRequest, context: Any
    ) -> clusterer_pb2.DeleteClusteringResponse:
        """See clusterer.proto."""
        return await answer(self._stub.DeleteClustering(request, **_onward(context)))


#: Marks a call that a gateway handed on.
FORWARDED_BY = "x-vidi-forwarded"


def _onward(context: Any) -> dict[str, Any]:
    """Return how a call is handed on: with the caller's deadline, and marked.

    Raises
    ------
    Unavailable
        When it was handed on already: a service's address leads to a gateway, perhaps this one, and the call would go
        round for ever.
    """
    if any(key == FORWARDED_BY for key, _ in context.invocation_metadata() or ()):
        raise Unavailable("a service's address in the settings leads to a gateway", reason="FORWARDING_LOOP")
    return {"timeout": remaining(context), "metadata": ((FORWARDED_BY, "1"),)}


#: Full name of a forwarded service, how it is registered, and what forwards it; in the order of `Services.channels`.
FORWARDED: tuple[tuple[str, Callable[[Any, Any], None], Callable[[Any], Any]], ...] = (
    (
        "vidi.api.classifier.v1.ClassifierService",
        classifier_pb2_grpc.add_ClassifierServiceServicer_to_server,
        ClassifierForwarder,
    ),
    (
        "vidi.api.explainer.v1.ExplainerService",
        explainer_pb2_grpc.add_ExplainerServiceServicer_to_server,
        ExplainerForwarder,
    ),
    (
        "vidi.api.clusterer.v1.ClustererService",
        clusterer_pb2_grpc.add_ClustererServiceServicer_to_server,
        ClustererForwarder,
    ),
)


def add_forwarders(server: Any, channels: Sequence[Any]) -> None:
    """Register all forwarders on a gRPC server."""
    for (_name, register, forwarder), channel in zip(FORWARDED, channels, strict=True):
        register(forwarder(channel), server)
