"""ExplainerService over gRPC: a thin layer over `Explanations` and `Assessments`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from google.rpc import status_pb2

from vidi.api.explainer.v1 import explainer_pb2, explainer_pb2_grpc
from vidi.rpc.context import remaining
from vidi.rpc.streams import answer
from vidi_explainer.assessments import Assessments
from vidi_explainer.explanations import Explanations


class ExplainerServicer(explainer_pb2_grpc.ExplainerServiceServicer):
    """Serves explanations and what they are worth.

    Parameters
    ----------
    explanations, assessments
        What answers.
    concurrency
        Films of one stream that may wait or run at a time.
    """

    def __init__(self, explanations: Explanations, assessments: Assessments, concurrency: int) -> None:
        self._explanations = explanations
        self._assessments = assessments
        self._concurrency = concurrency

    async def Explain(self, request: explainer_pb2.ExplainRequest, context: Any) -> explainer_pb2.ExplainResponse:
        """Explain one film."""
        return await self._explanations.explain(request, timeout=remaining(context))

    async def ExplainStream(
        self, request_iterator: AsyncIterator[explainer_pb2.ExplainStreamRequest], context: Any
    ) -> AsyncIterator[explainer_pb2.ExplainStreamResponse]:
        """Explain a stream of films; a film's error becomes its answer."""

        async def handle(item: explainer_pb2.ExplainStreamRequest) -> explainer_pb2.ExplainStreamResponse:
            response = await self._explanations.explain(item.request, timeout=remaining(context))
            return explainer_pb2.ExplainStreamResponse(request_id=item.request_id, response=response)

        def failed(
            item: explainer_pb2.ExplainStreamRequest, status: status_pb2.Status
        ) -> explainer_pb2.ExplainStreamResponse:
            return explainer_pb2.ExplainStreamResponse(request_id=item.request_id, error=status)

        async for response in answer(request_iterator, handle, failed, concurrency=self._concurrency):
            yield response

    async def AssessExplanation(
        self, request: explainer_pb2.AssessExplanationRequest, context: Any
    ) -> explainer_pb2.AssessExplanationResponse:
        """Assess the explanation of one film."""
        return await self._assessments.assess(request, timeout=remaining(context))

    async def ForgetExplanations(
        self, request: explainer_pb2.ForgetExplanationsRequest, context: Any
    ) -> explainer_pb2.ForgetExplanationsResponse:
        """Forget explanations by content key."""
        forgotten = await self._explanations.forget(request.cache_keys)
        return explainer_pb2.ForgetExplanationsResponse(forgotten=forgotten, absent=len(request.cache_keys) - forgotten)
