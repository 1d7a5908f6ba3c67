"""The way of one request: model, image, key, cache, single flight, queue, engine. Knows no RPC."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from vidi import bundle as bundles
from vidi.api.explainer.v1 import explainer_pb2
from vidi.bundle import Bundle
from vidi.cache import ExplanationCache, SingleFlight
from vidi.errors import Cancelled, Unavailable
from vidi.imaging.geometry import Affine
from vidi.imaging.image_proto import grid_source
from vidi.rpc.work import WorkQueue
from vidi_explainer import metrics
from vidi_explainer.engine import Engine
from vidi_explainer.messages import explanation_key, for_call, stored_response, target_from_proto
from vidi_explainer.targets import Target

#: Makes a response; asks now and then whether anybody still waits for it.
Compute = Callable[[Callable[[], bool]], bytes]


class Explanations:
    """Answers requests from the cache or by an engine.

    Parameters
    ----------
    models
        Verified bundles by name.
    default
        Name of the model of requests that name none.
    engines
        One engine a model, by model name.
    cache
        Where explanations are remembered.
    decoding
        Queue for images.
    computing
        Queue for engines, with no more threads than the engines' `concurrency`. A cached explanation never waits in it.
    """

    def __init__(
        self,
        models: Mapping[str, Bundle],
        default: str,
        engines: Mapping[str, Engine],
        cache: ExplanationCache,
        *,
        decoding: WorkQueue,
        computing: WorkQueue,
    ) -> None:
        self._models = models
        self._default = default
        self._engines = engines
        self._cache = cache
        self._decoding = decoding
        self._computing = computing
        self._flights: SingleFlight[tuple[bytes, bool]] = SingleFlight()
        self._bypasses = itertools.count()
        # Keys that are being computed or stored, each with the number of computations; and those of them to be dropped.
        self._under_way: Counter[str] = Counter()
        self._dropped: set[str] = set()

    async def explain(
        self, request: explainer_pb2.ExplainRequest, *, timeout: float | None = None
    ) -> explainer_pb2.ExplainResponse:
        """Explain one film.

        Parameters
        ----------
        timeout
            Seconds until the caller's deadline; None: none.

        Raises
        ------
        InvalidInput
            When the image is unreadable or not 0..1, or the target names a class that the model lacks.
        NotFound
            When the model is unknown.
        PreconditionFailed
            When a pinned version or digest is not the loaded one.
        Exhausted
            When a queue is full.
        Expired
            When the deadline passed before the work started.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        bundle = bundles.resolve(self._models, request.model, self._default)
        target = target_from_proto(request.target)
        target.plan(bundle.class_names)  # a wrong target is refused before any work
        engine = self._engines[bundle.name]
        channels = request.include_channels

        def prepare() -> tuple[npt.NDArray[np.float32], Affine, str]:
            grid, grid_to_film = bundle.preprocessing.to_grid(grid_source(request.image))
            return grid, grid_to_film, explanation_key(bundle, engine, target, grid, channels=channels)

        grid, map_to_image, key = await self._decoding.run(prepare, timeout=timeout)

        def compute(cancelled: Callable[[], bool]) -> bytes:
            return _compute(bundle, engine, target, grid, key, channels, cancelled)

        if request.bypass_cache:
            alone = f"{key} {next(self._bypasses)}"
            data, hit = await self._flights.run(alone, lambda: self._fresh(key, compute, deadline))
        else:
            # The lookup is part of the flight: what lands between a lookup and its flight is found, not redone.
            data, hit = await self._flights.run(key, lambda: self._found_or_fresh(key, compute, deadline))
        metrics.EXPLANATIONS.labels(bundle.name, "cache" if hit else "engine").inc()
        response = explainer_pb2.ExplainResponse.FromString(data)
        return for_call(response, map_to_image=map_to_image, cache_hit=hit, map_dtype=request.map_dtype)

    async def forget(self, keys: Sequence[str]) -> int:
        """Forget explanations by content key, also those that are being computed now: they are answered, not stored.

        Returns
        -------
        How many the cache held.

        Raises
        ------
        Unavailable
            When the cache does not answer: it may hold them still.
        """
        self._dropped.update(key for key in keys if self._under_way[key])
        forgotten = await self._cache.delete(keys)
        if forgotten is None:
            raise Unavailable("the explanation cache does not answer", reason="CACHE_UNAVAILABLE", retry_after=5.0)
        metrics.FORGOTTEN.inc(forgotten)
        return forgotten

    async def _found_or_fresh(self, key: str, compute: Compute, deadline: float | None) -> tuple[bytes, bool]:
        data = await self._cache.get(key)
        if data is not None and _belongs(data, key):
            return data, True
        return await self._fresh(key, compute, deadline)

    async def _fresh(self, key: str, compute: Compute, deadline: float | None) -> tuple[bytes, bool]:
        self._under_way[key] += 1
        try:
            data = await self._until_nobody_waits(compute, None if deadline is None else deadline - time.monotonic())
            if key not in self._dropped:
                await self._cache.put(key, data)
                if key in self._dropped:  # meanwhile; the two may have reached the store in either order
                    await self._cache.delete([key])
        finally:
            self._under_way[key] -= 1
            if not self._under_way[key]:
                del self._under_way[key]
                self._dropped.discard(key)
        return data, False

    async def _until_nobody_waits(self, compute: Compute, timeout: float | None) -> bytes:
        """Run on the computing queue; when everybody gave up, ask the engine to stop.

        An engine that cannot stop half-way goes on, and its result is kept for whoever asks again. The thread is waited
        for either way: the next film has it only then.
        """
        started, given_up = threading.Event(), threading.Event()

        def run() -> bytes:
            started.set()
            return compute(given_up.is_set)

        work = asyncio.ensure_future(self._computing.run(run, timeout=timeout))
        while True:
            try:
                return await asyncio.shield(work)
            except Cancelled:
                raise asyncio.CancelledError from None
            except asyncio.CancelledError:
                given_up.set()
                task = asyncio.current_task()
                if task is None or not started.is_set() or work.cancelled():
                    work.cancel()
                    raise
                task.uncancel()


def _compute(
    bundle: Bundle,
    engine: Engine,
    target: Target,
    grid: npt.NDArray[np.float32],
    key: str,
    channels: bool,
    cancelled: Callable[[], bool],
) -> bytes:
    start = time.perf_counter()
    attribution = engine.explain(grid, target, channels=channels, cancelled=cancelled)
    seconds = time.perf_counter() - start
    metrics.COMPUTE_SECONDS.labels(bundle.name, engine.name).observe(seconds)
    response = stored_response(bundle, engine, target, key, attribution, seconds)
    return response.SerializeToString(deterministic=True)


def _belongs(data: bytes, key: str) -> bool:
    """Whether a cached value is a response to this key; an older or newer version's layout is not."""
    try:
        return explainer_pb2.ExplainResponse.FromString(data).cache_key == key
    except DecodeError:
        return False
