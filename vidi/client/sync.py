"""The synchronous client: `AsyncClient` on an event loop of its own, in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from vidi.client.aio import AsyncClient
from vidi.client.calls_models import MapDtype
from vidi.client.clusters import Assignment, Clustering, LabelSource, Sweep
from vidi.client.films import Cohort, CohortClustering, Film, Job, ObjectKind, Receipt
from vidi.client.images import ImageLike
from vidi.client.models import Model, ModelRef
from vidi.client.quality import Assessment, Measure
from vidi.client.results import Answer, Classification, Explanation, Provenance, Target
from vidi.errors import Cancelled
from vidi.settings import MIB

T = TypeVar("T")
_END: Any = object()


class Client:
    """Calls a running suite and waits for the answers; every error is a `vidi.errors.ViDiError`.

    Methods, parameters and errors are those of `AsyncClient`; streams are plain iterators. It may be shared by threads.
    Use it as a context, or call `close`. See `vidi.client.connection.Connection` for the parameters.

    Examples
    --------
    >>> with Client(gateway="127.0.0.1:50050") as client:  # doctest: +SKIP
    ...     outcome = client.explain("film.png")
    """

    def __init__(
        self,
        *,
        classifier: str = "",
        explainer: str = "",
        clusterer: str = "",
        gateway: str = "",
        timeout: float | None = 300.0,
        max_message_bytes: int = 16 * MIB,
    ) -> None:
        self._client = AsyncClient(
            classifier=classifier,
            explainer=explainer,
            clusterer=clusterer,
            gateway=gateway,
            timeout=timeout,
            max_message_bytes=max_message_bytes,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vidi-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the channels and end the thread; may be called twice."""
        if self._loop.is_closed():
            return
        self._wait(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def models(self, *, timeout: float | None = None) -> tuple[Model, ...]:
        """See `AsyncClient.models`."""
        return self._wait(self._client.models(timeout=timeout))

    def model(self, model: str | ModelRef = "", *, timeout: float | None = None) -> Model:
        """See `AsyncClient.model`."""
        return self._wait(self._client.model(model, timeout=timeout))

    def classify(self, image: ImageLike, *, model: str | ModelRef = "", timeout: float | None = None) -> Classification:
        """See `AsyncClient.classify`."""
        return self._wait(self._client.classify(image, model=model, timeout=timeout))

    def classify_many(
        self, images: Iterable[ImageLike], *, model: str | ModelRef = "", timeout: float | None = None
    ) -> Iterator[Answer[Classification]]:
        """See `AsyncClient.classify_many`."""
        return self._iterate(self._client.classify_many(images, model=model, timeout=timeout))

    def explain(
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
        """See `AsyncClient.explain`."""
        return self._wait(
            self._client.explain(
                image,
                model=model,
                target=target,
                map_dtype=map_dtype,
                include_channels=include_channels,
                bypass_cache=bypass_cache,
                timeout=timeout,
            )
        )

    def explain_many(
        self,
        images: Iterable[ImageLike],
        *,
        model: str | ModelRef = "",
        target: Target | None = None,
        map_dtype: MapDtype = "float32",
        include_channels: bool = False,
        bypass_cache: bool = False,
        timeout: float | None = None,
    ) -> Iterator[Answer[Explanation]]:
        """See `AsyncClient.explain_many`."""
        return self._iterate(
            self._client.explain_many(
                images,
                model=model,
                target=target,
                map_dtype=map_dtype,
                include_channels=include_channels,
                bypass_cache=bypass_cache,
                timeout=timeout,
            )
        )

    def forget(self, cache_keys: Sequence[str], *, timeout: float | None = None) -> int:
        """See `AsyncClient.forget`."""
        return self._wait(self._client.forget(cache_keys, timeout=timeout))

    def assess(
        self,
        image: ImageLike,
        *,
        model: str | ModelRef = "",
        target: Target | None = None,
        measures: Iterable[Measure] = (),
        truth_mask: npt.NDArray[np.generic] | None = None,
        steps: int = 0,
        seed: int = 0,
        timeout: float | None = None,
    ) -> Assessment:
        """See `AsyncClient.assess`."""
        return self._wait(
            self._client.assess(
                image,
                model=model,
                target=target,
                measures=measures,
                truth_mask=truth_mask,
                steps=steps,
                seed=seed,
                timeout=timeout,
            )
        )

    def sweep_k(
        self,
        vectors: npt.ArrayLike,
        provenance: Provenance,
        *,
        ks: Sequence[int] = (),
        ids: Sequence[str] | None = None,
        labels: Sequence[str] | None = None,
        label_source: LabelSource = "reference",
        restarts: int = 0,
        max_iterations: int = 0,
        seed: int = 0,
        timeout: float | None = None,
    ) -> Sweep:
        """See `AsyncClient.sweep_k`."""
        return self._wait(
            self._client.sweep_k(
                vectors,
                provenance,
                ks=ks,
                ids=ids,
                labels=labels,
                label_source=label_source,
                restarts=restarts,
                max_iterations=max_iterations,
                seed=seed,
                timeout=timeout,
            )
        )

    def fit(
        self,
        vectors: npt.ArrayLike,
        provenance: Provenance,
        *,
        k: int,
        ids: Sequence[str] | None = None,
        labels: Sequence[str] | None = None,
        label_source: LabelSource = "reference",
        restarts: int = 0,
        max_iterations: int = 0,
        seed: int = 0,
        display_name: str = "",
        timeout: float | None = None,
    ) -> Clustering:
        """See `AsyncClient.fit`."""
        return self._wait(
            self._client.fit(
                vectors,
                provenance,
                k=k,
                ids=ids,
                labels=labels,
                label_source=label_source,
                restarts=restarts,
                max_iterations=max_iterations,
                seed=seed,
                display_name=display_name,
                timeout=timeout,
            )
        )

    def assign(
        self,
        clustering_id: str,
        vectors: npt.ArrayLike,
        provenance: Provenance,
        *,
        ids: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> tuple[Assignment, ...]:
        """See `AsyncClient.assign`."""
        return self._wait(self._client.assign(clustering_id, vectors, provenance, ids=ids, timeout=timeout))

    def clustering(self, clustering_id: str, *, timeout: float | None = None) -> Clustering:
        """See `AsyncClient.clustering`."""
        return self._wait(self._client.clustering(clustering_id, timeout=timeout))

    def clusterings(self, *, limit: int = 1000, timeout: float | None = None) -> tuple[Clustering, ...]:
        """See `AsyncClient.clusterings`."""
        return self._wait(self._client.clusterings(limit=limit, timeout=timeout))

    def delete_clustering(self, clustering_id: str, *, timeout: float | None = None) -> None:
        """See `AsyncClient.delete_clustering`."""
        self._wait(self._client.delete_clustering(clustering_id, timeout=timeout))

    def submit(
        self,
        dicom: bytes | str | os.PathLike[str],
        *,
        model: str | ModelRef = "",
        timeout: float | None = None,
    ) -> Receipt:
        """See `AsyncClient.submit`."""
        return self._wait(self._client.submit(dicom, model=model, timeout=timeout))

    def result(self, film_id: str, *, model: str | ModelRef = "", timeout: float | None = None) -> Film:
        """See `AsyncClient.result`."""
        return self._wait(self._client.result(film_id, model=model, timeout=timeout))

    def watch(
        self, film_ids: Iterable[str] = (), *, model: str | ModelRef = "", timeout: float | None = None
    ) -> Iterator[Film]:
        """See `AsyncClient.watch`."""
        return self._iterate(self._client.watch(film_ids, model=model, timeout=timeout))

    def download(self, film_id: str, sop_instance_uid: str, kind: ObjectKind, *, timeout: float | None = None) -> bytes:
        """See `AsyncClient.download`."""
        return self._wait(self._client.download(film_id, sop_instance_uid, kind, timeout=timeout))

    def create_job(self, film_ids: Iterable[str], *, model: str | ModelRef = "", timeout: float | None = None) -> Job:
        """See `AsyncClient.create_job`."""
        return self._wait(self._client.create_job(film_ids, model=model, timeout=timeout))

    def job(self, job_id: str, *, timeout: float | None = None) -> Job:
        """See `AsyncClient.job`."""
        return self._wait(self._client.job(job_id, timeout=timeout))

    def watch_job(self, job_id: str, *, timeout: float | None = None) -> Iterator[Job]:
        """See `AsyncClient.watch_job`."""
        return self._iterate(self._client.watch_job(job_id, timeout=timeout))

    def cancel_job(self, job_id: str, *, timeout: float | None = None) -> Job:
        """See `AsyncClient.cancel_job`."""
        return self._wait(self._client.cancel_job(job_id, timeout=timeout))

    def create_cohort(
        self,
        film_ids: Iterable[str],
        *,
        display_name: str = "",
        labels: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Cohort:
        """See `AsyncClient.create_cohort`."""
        return self._wait(
            self._client.create_cohort(film_ids, display_name=display_name, labels=labels, timeout=timeout)
        )

    def cohort(self, cohort_id: str, *, timeout: float | None = None) -> Cohort:
        """See `AsyncClient.cohort`."""
        return self._wait(self._client.cohort(cohort_id, timeout=timeout))

    def cohorts(self, *, limit: int = 1000, timeout: float | None = None) -> tuple[Cohort, ...]:
        """See `AsyncClient.cohorts`."""
        return self._wait(self._client.cohorts(limit=limit, timeout=timeout))

    def delete_cohort(self, cohort_id: str, *, timeout: float | None = None) -> None:
        """See `AsyncClient.delete_cohort`."""
        self._wait(self._client.delete_cohort(cohort_id, timeout=timeout))

    def cluster_cohort(
        self,
        cohort_id: str,
        *,
        k: int = 0,
        seed: int = 0,
        model: str | ModelRef = "",
        timeout: float | None = None,
    ) -> CohortClustering:
        """See `AsyncClient.cluster_cohort`."""
        return self._wait(self._client.cluster_cohort(cohort_id, k=k, seed=seed, model=model, timeout=timeout))

    def _wait(self, call: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_closed():
            call.close()
            raise Cancelled("the client is closed")
        future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C while waiting: the call ends too
            raise

    def _iterate(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        async def following() -> T:
            return await anext(items, _END)

        try:
            while (item := self._wait(following())) is not _END:
                yield item
        finally:
            if not self._loop.is_closed():
                self._wait(items.aclose())
