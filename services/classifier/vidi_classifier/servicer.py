"""ClassifierService over gRPC: a thin layer over the engine."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from google.rpc import status_pb2

from vidi.api.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from vidi.api.common.v1 import common_pb2
from vidi.bundle import Bundle, to_ref
from vidi.imaging.image_proto import grid_source
from vidi.rpc.context import remaining
from vidi.rpc.streams import answer
from vidi.rpc.work import WorkQueue
from vidi_classifier.engine import Engine, Scores


class ClassifierServicer(classifier_pb2_grpc.ClassifierServiceServicer):
    """Serves an engine.

    Parameters
    ----------
    engine
        The loaded models.
    queue
        Bounded queue in front of the inference thread; decoding happens there too.
    concurrency
        Films of one stream that may wait or run at a time.
    """

    def __init__(self, engine: Engine, queue: WorkQueue, concurrency: int) -> None:
        self._engine = engine
        self._queue = queue
        self._concurrency = concurrency

    async def Classify(self, request: classifier_pb2.ClassifyRequest, context: Any) -> classifier_pb2.ClassifyResponse:
        """Classify one film."""
        return await self._classify(request, context)

    async def ClassifyStream(
        self, request_iterator: AsyncIterator[classifier_pb2.ClassifyStreamRequest], context: Any
    ) -> AsyncIterator[classifier_pb2.ClassifyStreamResponse]:
        """Classify a stream of films; a film's error becomes its answer."""

        async def handle(item: classifier_pb2.ClassifyStreamRequest) -> classifier_pb2.ClassifyStreamResponse:
            response = await self._classify(item.request, context)
            return classifier_pb2.ClassifyStreamResponse(request_id=item.request_id, response=response)

        def failed(
            item: classifier_pb2.ClassifyStreamRequest, status: status_pb2.Status
        ) -> classifier_pb2.ClassifyStreamResponse:
            return classifier_pb2.ClassifyStreamResponse(request_id=item.request_id, error=status)

        async for response in answer(request_iterator, handle, failed, concurrency=self._concurrency):
            yield response

    async def ListModels(
        self, request: classifier_pb2.ListModelsRequest, context: Any
    ) -> classifier_pb2.ListModelsResponse:
        """List the loaded models by name."""
        models = [self._engine.describe(bundle) for _, bundle in sorted(self._engine.models.items())]
        return classifier_pb2.ListModelsResponse(models=models)

    async def GetModel(self, request: classifier_pb2.GetModelRequest, context: Any) -> classifier_pb2.GetModelResponse:
        """Describe one loaded model."""
        return classifier_pb2.GetModelResponse(model=self._engine.describe(self._engine.resolve(request.model)))

    async def _classify(self, request: classifier_pb2.ClassifyRequest, context: Any) -> classifier_pb2.ClassifyResponse:
        bundle = self._engine.resolve(request.model)
        scores, seconds = await self._queue.run(self._compute, bundle, request.image, timeout=remaining(context))
        return classifier_pb2.ClassifyResponse(classification=_to_proto(scores), compute_seconds=seconds)

    def _compute(self, bundle: Bundle, image: common_pb2.Image) -> tuple[Scores, float]:
        start = time.perf_counter()
        scores = self._engine.classify(bundle, grid_source(image))
        return scores, time.perf_counter() - start


def _to_proto(scores: Scores) -> classifier_pb2.Classification:
    names = scores.bundle.class_names
    return classifier_pb2.Classification(
        model=to_ref(scores.bundle),
        scores=[
            classifier_pb2.ClassScore(
                name=name, index=i, probability=float(scores.probabilities[i]), logit=float(scores.logits[i])
            )
            for i, name in enumerate(names)
        ],
        top_index=scores.top,
        top_name=names[scores.top],
        calibrated=scores.bundle.manifest.calibrated,
    )
