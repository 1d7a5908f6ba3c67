"""What the clusterer computes, without RPC: sweep, fit and store, assign."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from vidi import tensors
from vidi.api.clusterer.v1 import clusterer_pb2
from vidi.errors import InvalidInput, InvalidTensor, PreconditionFailed
from vidi_clusterer import describe, kmeans
from vidi_clusterer.points import Points, prepare
from vidi_clusterer.store import ClusteringStore
from vidi_clusterer.vectors import VectorSet, decode

#: k of a sweep that names none (paper, Fig. 2).
DEFAULT_KS = (2, 5, 10, 15, 20, 25, 30, 40)
DEFAULT_RESTARTS = 3
DEFAULT_ITERATIONS = 100

#: A vector counts as an outlier only when it lies farther out by more than float64 rounding can explain.
OUTLIER_TOLERANCE = 1e-9


def _never() -> bool:
    return False


class ClusterEngine:
    """Sweeps, fits and assigns; fitted clusterings go to the store."""

    def __init__(self, store: ClusteringStore, *, max_clustering_bytes: int) -> None:
        """`max_clustering_bytes` is the largest clustering that a caller could be sent."""
        self._store = store
        self._max_clustering_bytes = max_clustering_bytes

    def sweep(
        self, config: clusterer_pb2.SweepKConfig, data: VectorSet, stopped: Callable[[], bool] = _never
    ) -> clusterer_pb2.SweepKResponse:
        """Measure every k and recommend one.

        Raises
        ------
        InvalidInput
            When a k is above the number of different vectors, all vectors are equal, or labels have no source.
        Cancelled
            When `stopped`.
        """
        parameters = _as_used(config.kmeans)
        _check_labels(parameters, data)
        points = prepare(data.vectors)
        ks = _ks(config.ks, points)
        circular = _circular(parameters, data)
        response = clusterer_pb2.SweepKResponse(backend=kmeans.backend(), count=points.count, circular=circular)
        measured = []
        for k in ks:
            started = time.perf_counter()
            fitted = _fit(points, k, parameters, stopped)
            agreement, baseline = _agreement(data.labels, fitted, parameters.seed)
            sizes = tuple(int(n) for n in fitted.sizes)
            measured.append(describe.Point(k, fitted.inertia, sizes, agreement, baseline))
            response.points.add(
                k=k,
                inertia=fitted.inertia,
                agreement=_message(agreement),
                random_baseline=_message(baseline),
                sizes=sizes,
                compute_seconds=time.perf_counter() - started,
            )
        response.recommended_k, response.reason = describe.recommend(measured, circular=circular)
        return response

    def fit(
        self, config: clusterer_pb2.FitConfig, data: VectorSet, stopped: Callable[[], bool] = _never
    ) -> clusterer_pb2.Clustering:
        """Fit a clustering, describe it, and store it.

        Raises
        ------
        InvalidInput
            When k is above the number of different vectors, labels have no source, or the clustering would be larger
            than a message.
        Cancelled
            When `stopped`; nothing is stored.
        """
        parameters = _as_used(config.kmeans)
        _check_labels(parameters, data)
        fitted = _fit(prepare(data.vectors), config.k, parameters, stopped)
        agreement, baseline = _agreement(data.labels, fitted, parameters.seed)
        clustering = clusterer_pb2.Clustering(
            display_name=config.display_name,
            kmeans=parameters,
            k=config.k,
            dimension=data.vectors.shape[1],
            count=len(data.ids),
            inertia=fitted.inertia,
            agreement=_message(agreement),
            random_baseline=_message(baseline),
            clusters=_clusters(fitted, data, len(parameters.provenance.classes)),
            centroids=tensors.encode(fitted.centroids),
            backend=fitted.backend,
        )
        labels = data.labels or ("",) * len(data.ids)
        clustering.members.extend(
            clusterer_pb2.Member(id=i, cluster=int(c), distance=float(d), label=label)
            for i, c, d, label in zip(data.ids, fitted.labels, fitted.distances, labels, strict=True)
        )
        clustering.create_time.GetCurrentTime()
        if clustering.ByteSize() > self._max_clustering_bytes:
            raise InvalidInput(
                f"the clustering takes {clustering.ByteSize()} bytes, and messages are limited to "
                f"{self._max_clustering_bytes}: fewer clusters, dimensions or vectors, or a larger limit on both sides",
                field="config.k",
            )
        return self._store.put(clustering)

    def assign(self, request: clusterer_pb2.AssignRequest) -> clusterer_pb2.Assignments:
        """Assign one batch to the clusters of a stored clustering.

        Raises
        ------
        NotFound
            When there is no such clustering.
        PreconditionFailed
            When the vectors are of another provenance.
        InvalidInput, InvalidTensor
            When the vectors have another dimension, or are not finite.
        """
        clustering = self._store.get(request.clustering_id, members=False)
        check_provenance(clustering.kmeans.provenance, request.provenance)
        vectors = decode(request.batch)
        if vectors.shape[1] != clustering.dimension:
            raise InvalidTensor(
                f"batch.vectors: dimension {vectors.shape[1]}, but the clustering has {clustering.dimension}",
                field="batch.vectors",
            )
        centroids = tensors.decode(clustering.centroids).astype(np.float32)
        labels, distances = kmeans.assign(vectors, centroids)
        reach = np.array([c.max_distance for c in clustering.clusters]) * (1.0 + OUTLIER_TOLERANCE)
        outliers = distances > reach[labels] + OUTLIER_TOLERANCE * np.linalg.norm(centroids, axis=1)[labels]
        return clusterer_pb2.Assignments(
            assignments=[
                clusterer_pb2.Assignment(id=i, cluster=int(c), distance=float(d), outlier=bool(o))
                for i, c, d, o in zip(request.batch.ids, labels, distances, outliers, strict=True)
            ]
        )


def check_provenance(expected: clusterer_pb2.Provenance, given: clusterer_pb2.Provenance) -> None:
    """Refuse vectors of another model, other references, another feature space or method, or other classes.

    Raises
    ------
    PreconditionFailed
        Naming both sides of what differs.
    """
    pairs = (
        ("model digest", expected.model.digest, given.model.digest),
        ("background digest", expected.background_digest, given.background_digest),
        ("feature space", expected.feature_space, given.feature_space),
        ("method", expected.method, given.method),
        ("classes", str(list(expected.classes)), str(list(given.classes))),
    )
    differing = [f"{name} {a or 'none'} against {b or 'none'}" for name, a, b in pairs if a != b]
    if differing:
        raise PreconditionFailed(
            "the clustering and the vectors do not belong together (clustering against vectors): "
            + "; ".join(differing),
            reason="PROVENANCE_MISMATCH",
        )


def _as_used(config: clusterer_pb2.KMeansConfig) -> clusterer_pb2.KMeansConfig:
    """The parameters with the defaults filled in."""
    used = clusterer_pb2.KMeansConfig()
    used.CopyFrom(config)
    used.restarts = config.restarts or DEFAULT_RESTARTS
    used.max_iterations = config.max_iterations or DEFAULT_ITERATIONS
    return used


def _check_labels(parameters: clusterer_pb2.KMeansConfig, data: VectorSet) -> None:
    if data.labels and parameters.label_source == clusterer_pb2.LABEL_SOURCE_UNSPECIFIED:
        raise InvalidInput(
            "labels without a label_source: agreement with the model's own predictions is circular, and has to be said",
            field="config.kmeans.label_source",
        )


def _circular(parameters: clusterer_pb2.KMeansConfig, data: VectorSet) -> bool:
    return data.labels is not None and parameters.label_source == clusterer_pb2.LABEL_SOURCE_PREDICTED


def _ks(asked: Sequence[int], points: Points) -> list[int]:
    """The k to try, ascending."""
    if points.distinct < 2:
        raise InvalidInput("a sweep needs at least two different vectors", field="batch.vectors")
    if not asked:
        return [k for k in DEFAULT_KS if k <= points.distinct]
    if max(asked) > points.distinct:
        raise InvalidInput(
            f"k = {max(asked)}, but the {points.count} vectors hold {points.distinct} different ones", field="config.ks"
        )
    return sorted(asked)


def _fit(points: Points, k: int, parameters: clusterer_pb2.KMeansConfig, stopped: Callable[[], bool]) -> kmeans.KMeans:
    return kmeans.fit(
        points,
        k,
        restarts=parameters.restarts,
        max_iterations=parameters.max_iterations,
        seed=parameters.seed,
        stopped=stopped,
    )


def _agreement(
    labels: Sequence[str] | None, fitted: kmeans.KMeans, seed: int
) -> tuple[describe.Agreement | None, describe.Agreement | None]:
    """Agreement with the labels and its random baseline; (None, None) without labels."""
    if labels is None:
        return None, None
    return describe.agreement(labels, fitted.labels), describe.random_baseline(labels, fitted.labels, seed)


def _message(agreement: describe.Agreement | None) -> clusterer_pb2.Agreement | None:
    if agreement is None:
        return None
    return clusterer_pb2.Agreement(
        homogeneity=agreement.homogeneity,
        completeness=agreement.completeness,
        v_measure=agreement.v_measure,
        adjusted_mutual_information=agreement.adjusted_mutual_information,
    )


def _clusters(fitted: kmeans.KMeans, data: VectorSet, classes: int) -> list[clusterer_pb2.Cluster]:
    described = describe.describe(fitted.centroids, fitted.labels, fitted.distances, data.labels, classes)
    return [
        clusterer_pb2.Cluster(
            index=index,
            size=d.size,
            medoid_ids=[data.ids[i] for i in d.medoids],
            extreme_ids=[data.ids[i] for i in d.extremes],
            labels=[clusterer_pb2.LabelCount(label=label, count=count) for label, count in d.labels],
            purity=d.purity,
            mean_distance=d.mean_distance,
            max_distance=d.max_distance,
            favorable_sums=d.favorable,
            glum_sums=d.glum,
        )
        for index, d in enumerate(described)
    ]
