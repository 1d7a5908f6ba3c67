"""Calls of the classifier and the explainer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Literal, TypeVar

from vidi.api.classifier.v1 import classifier_pb2
from vidi.api.common.v1 import common_pb2
from vidi.api.explainer.v1 import explainer_pb2
from vidi.client.connection import Connection, ServiceName
from vidi.client.images import ImageLike, to_image
from vidi.client.models import Model, ModelRef, model_ref
from vidi.client.results import Answer, Classification, Explanation, Target
from vidi.errors import ViDiError
from vidi.rpc.status import from_status

T = TypeVar("T")
MapDtype = Literal["float32", "float16"]
_DTYPES = {"float32": common_pb2.DATA_TYPE_FLOAT32, "float16": common_pb2.DATA_TYPE_FLOAT16}


class ModelCalls(Connection):
    """Classify, explain, and say what models there are."""

    async def models(self, *, timeout: float | None = None) -> tuple[Model, ...]:
        """Return the loaded models, by name."""
        call = self._stub("classifier").ListModels(classifier_pb2.ListModelsRequest(), timeout=self._deadline(timeout))
        return tuple(Model.from_proto(m) for m in (await self._answer("classifier", call)).models)

    async def model(self, model: str | ModelRef = "", *, timeout: float | None = None) -> Model:
        """Return one loaded model; "": the server's default.

        Raises
        ------
        NotFound
            When no model of that name is loaded.
        PreconditionFailed
            When another version or digest is loaded.
        """
        request = classifier_pb2.GetModelRequest(model=model_ref(model))
        call = self._stub("classifier").GetModel(request, timeout=self._deadline(timeout))
        return Model.from_proto((await self._answer("classifier", call)).model)

    async def classify(
        self, image: ImageLike, *, model: str | ModelRef = "", timeout: float | None = None
    ) -> Classification:
        """Classify one film.

        Parameters
        ----------
        image
            Path or bytes of a PNG or JPEG, or a grey array; see `vidi.client.images.to_image`.
        model
            Name or reference; "": the server's default.
        timeout
            Seconds; None: the client's.

        Raises
        ------
        InvalidInput, NotFound, PreconditionFailed, Exhausted, Expired, Unavailable
            As classifier.proto says.
        """
        request = await self._classify_request(image, model)
        call = self._stub("classifier").Classify(request, timeout=self._deadline(timeout))
        return Classification.from_proto(await self._answer("classifier", call))

    async def classify_many(
        self, images: Iterable[ImageLike], *, model: str | ModelRef = "", timeout: float | None = None
    ) -> AsyncGenerator[Answer[Classification], None]:
        """Classify films in one stream; answers come as they are done and name the image's position.

        An image's error is its answer. `timeout` is for the whole stream; None: none.
        """

        async def one(index: int, image: ImageLike) -> classifier_pb2.ClassifyStreamRequest:
            request = await self._classify_request(image, model)
            return classifier_pb2.ClassifyStreamRequest(request_id=str(index), request=request)

        start = self._stub("classifier").ClassifyStream
        async with aclosing(
            self._many("classifier", start, images, one, Classification.from_proto, timeout)
        ) as answers:
            async for answer in answers:
                yield answer

    async def explain(
        self,
        image: ImageLike,
        *,
        model: str | ModelRef = "",
        target: Target | None = None,
        map_dtype: MapDtype = "float32",
        include_channels: bool = False,
        bypass_cache: bool = False,
        timeout: float | None = None,
    ) -> Explanation:
        """Explain one film.

        Parameters
        ----------
        image, model, timeout
            As `classify`.
        target
            What is explained; None: each class's logit.
        map_dtype
            How maps travel: "float32" is exact, "float16" half the size. Maps are float32 here either way.
        include_channels
            Whether to return attributions per input channel as well.
        bypass_cache
            Whether to compute afresh.

        Raises
        ------
        InvalidInput, NotFound, PreconditionFailed, Exhausted, Expired, Unavailable
            As explainer.proto says.
        """
        request = await self._explain_request(image, model, target, map_dtype, include_channels, bypass_cache)
        call = self._stub("explainer").Explain(request, timeout=self._deadline(timeout))
        return Explanation.from_proto(await self._answer("explainer", call))

    async def explain_many(
        self,
        images: Iterable[ImageLike],
        *,
        model: str | ModelRef = "",
        target: Target | None = None,
        map_dtype: MapDtype = "float32",
        include_channels: bool = False,
        bypass_cache: bool = False,
        timeout: float | None = None,
    ) -> AsyncGenerator[Answer[Explanation], None]:
        """Explain films in one stream; as `classify_many` and `explain`."""

        async def one(index: int, image: ImageLike) -> explainer_pb2.ExplainStreamRequest:
            request = await self._explain_request(image, model, target, map_dtype, include_channels, bypass_cache)
            return explainer_pb2.ExplainStreamRequest(request_id=str(index), request=request)

        start = self._stub("explainer").ExplainStream
        async with aclosing(self._many("explainer", start, images, one, Explanation.from_proto, timeout)) as answers:
            async for answer in answers:
                yield answer

    async def forget(self, cache_keys: Sequence[str], *, timeout: float | None = None) -> int:
        """Make the explainer forget explanations; return how many it remembered. Repeating it does no harm.

        Parameters
        ----------
        cache_keys
            `Explanation.cache_key` of each, 1 to 1000, all different.
        timeout
            Seconds; None: the client's.

        Raises
        ------
        InvalidInput
            None, too many, or not keys.
        Unavailable
            The explainer or its cache does not answer, and may remember them still.
        Expired
            As explainer.proto says.
        """
        request = explainer_pb2.ForgetExplanationsRequest(cache_keys=cache_keys)
        call = self._stub("explainer").ForgetExplanations(request, timeout=self._deadline(timeout))
        return int((await self._answer("explainer", call)).forgotten)

    async def _classify_request(self, image: ImageLike, model: str | ModelRef) -> classifier_pb2.ClassifyRequest:
        # Files are read and arrays compressed off the event loop.
        message = await asyncio.to_thread(to_image, image, max_bytes=self._max_message_bytes)
        return classifier_pb2.ClassifyRequest(model=model_ref(model), image=message)

    async def _explain_request(
        self,
        image: ImageLike,
        model: str | ModelRef,
        target: Target | None,
        map_dtype: MapDtype,
        include_channels: bool,
        bypass_cache: bool,
    ) -> explainer_pb2.ExplainRequest:
        message = await asyncio.to_thread(to_image, image, max_bytes=self._max_message_bytes)
        return explainer_pb2.ExplainRequest(
            model=model_ref(model),
            image=message,
            target=None if target is None else target.to_proto(),
            map_dtype=_DTYPES[map_dtype],
            include_channels=include_channels,
            bypass_cache=bypass_cache,
        )

    async def _many(
        self,
        service: ServiceName,
        start: Any,
        images: Iterable[ImageLike],
        one: Callable[[int, ImageLike], Any],
        read: Callable[[Any], T],
        timeout: float | None,
    ) -> AsyncGenerator[Answer[T], None]:
        """Send one request an image; yield answers, and those that never left because the image cannot be sent."""
        unsent: list[Answer[T]] = []

        async def requests() -> AsyncIterator[Any]:
            for index, image in enumerate(images):
                try:
                    request = await one(index, image)
                except ViDiError as error:
                    unsent.append(Answer(index, error=error))
                else:
                    yield request

        async with aclosing(self._answers(service, start(requests(), timeout=timeout))) as responses:
            async for response in responses:
                while unsent:
                    yield unsent.pop()
                index = int(response.request_id)
                if response.HasField("error"):
                    yield Answer(index, error=from_status(response.error))
                else:
                    yield Answer(index, result=read(response.response))
        for answer in unsent:
            yield answer
