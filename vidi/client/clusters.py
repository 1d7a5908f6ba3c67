"""What the clusterer answers, as frozen values with numpy arrays; and vectors as it takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vidi import tensors
from vidi.api.clusterer.v1 import clusterer_pb2
from vidi.client.models import ModelRef, jsonable, moment
from vidi.client.results import Float32, Provenance
from vidi.errors import InvalidInput, InvalidTensor
from vidi.settings import MIB

LabelSource = Literal["reference", "predicted"]
_LABEL_SOURCES: dict[LabelSource, clusterer_pb2.LabelSource] = {
    "reference": clusterer_pb2.LABEL_SOURCE_REFERENCE,
    "predicted": clusterer_pb2.LABEL_SOURCE_PREDICTED,
}
_LABEL_SOURCE_NAMES: dict[int, LabelSource] = {code: name for name, code in _LABEL_SOURCES.items()}

#: Vectors of one message: far below the 16 MiB that a server takes, few enough messages.
BATCH_BYTES = 4 * MIB
BATCH_ROWS = 8192


@dataclass(frozen=True)
class Agreement:
    """Agreement of clusters with labels; each in 0..1, the adjusted mutual information at most 1 and 0 by chance."""

    homogeneity: float
    completeness: float
    v_measure: float
    adjusted_mutual_information: float


@dataclass(frozen=True)
class SweepPoint:
    """What one k gave. `random_baseline` is what chance gives for clusters of the same sizes."""

    k: int
    inertia: float
    agreement: Agreement | None
    random_baseline: Agreement | None
    sizes: tuple[int, ...]
    compute_seconds: float


@dataclass(frozen=True)
class Sweep:
    """A sweep over k. `circular`: the labels are the model's own predictions, so agreement says little."""

    points: tuple[SweepPoint, ...]
    recommended_k: int
    reason: str
    backend: str
    count: int
    circular: bool

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return dict(jsonable(self))

    @classmethod
    def from_proto(cls, r: clusterer_pb2.SweepKResponse) -> Sweep:
        """Read the message."""
        points = tuple(
            SweepPoint(
                k=p.k,
                inertia=p.inertia,
                agreement=_agreement(p, "agreement"),
                random_baseline=_agreement(p, "random_baseline"),
                sizes=tuple(p.sizes),
                compute_seconds=p.compute_seconds,
            )
            for p in r.points
        )
        return cls(points, r.recommended_k, r.reason, r.backend, r.count, r.circular)


@dataclass(frozen=True)
class Member:
    """One vector's place: its cluster and Euclidean distance to the centroid."""

    id: str
    cluster: int
    distance: float
    label: str


@dataclass(frozen=True)
class Cluster:
    """One cluster, described; the fields are those of `vidi.api.clusterer.v1.Cluster`."""

    index: int
    size: int
    medoid_ids: tuple[str, ...]
    extreme_ids: tuple[str, ...]
    labels: tuple[tuple[str, int], ...]
    purity: float
    mean_distance: float
    max_distance: float
    favorable_sums: tuple[float, ...]
    glum_sums: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Clustering:
    """A stored clustering.

    Attributes
    ----------
    id, display_name, create_time
        Its name for programs and for people, and when it was made (UTC).
    provenance
        Where the vectors come from; others are refused.
    k, dimension, count, inertia
        Number of clusters, dimension and number of the vectors, sum of squared distances to the nearest centroid.
    restarts, max_iterations, seed, label_source
        Parameters as used.
    agreement, random_baseline
        Agreement with the labels and what chance gives; None without labels.
    clusters, members
        The clusters, largest first, and all members; empty in lists.
    centroids
        Float32 (k, dimension); None in lists. Read-only.
    backend
        What computed it.
    """

    id: str
    display_name: str
    create_time: datetime
    provenance: Provenance
    k: int
    dimension: int
    count: int
    inertia: float
    restarts: int
    max_iterations: int
    seed: int
    label_source: LabelSource | None
    agreement: Agreement | None
    random_baseline: Agreement | None
    clusters: tuple[Cluster, ...]
    centroids: Float32 | None
    members: tuple[Member, ...]
    backend: str

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values, centroids left out."""
        return dict(jsonable(self, frozenset({"centroids"})))

    @classmethod
    def from_proto(cls, c: clusterer_pb2.Clustering) -> Clustering:
        """Read the message."""
        centroids = (
            tensors.decode(c.centroids, field="centroids", ndim=2, dtypes=("float32",)) if c.centroids.data else None
        )
        p = c.kmeans.provenance
        return cls(
            id=c.id,
            display_name=c.display_name,
            create_time=moment(c.create_time.seconds, c.create_time.nanos),
            provenance=Provenance(
                ModelRef.from_proto(p.model), p.background_digest, p.feature_space, p.method, tuple(p.classes)
            ),
            k=c.k,
            dimension=c.dimension,
            count=c.count,
            inertia=c.inertia,
            restarts=c.kmeans.restarts,
            max_iterations=c.kmeans.max_iterations,
            seed=c.kmeans.seed,
            label_source=_LABEL_SOURCE_NAMES.get(c.kmeans.label_source),
            agreement=_agreement(c, "agreement"),
            random_baseline=_agreement(c, "random_baseline"),
            clusters=tuple(_cluster(x) for x in c.clusters),
            centroids=centroids,  # type: ignore[arg-type]
            members=tuple(Member(m.id, m.cluster, m.distance, m.label) for m in c.members),
            backend=c.backend,
        )


@dataclass(frozen=True)
class Assignment:
    """One vector's nearest cluster; `outlier`: farther out than every member that the cluster was fitted on."""

    id: str
    cluster: int
    distance: float
    outlier: bool


def kmeans_config(
    provenance: Provenance,
    *,
    labels: Sequence[str] | None,
    label_source: LabelSource,
    restarts: int,
    max_iterations: int,
    seed: int,
) -> clusterer_pb2.KMeansConfig:
    """Return the message."""
    source = _LABEL_SOURCES[label_source] if labels is not None else clusterer_pb2.LABEL_SOURCE_UNSPECIFIED
    return clusterer_pb2.KMeansConfig(
        provenance=provenance_proto(provenance),
        restarts=restarts,
        max_iterations=max_iterations,
        seed=seed,
        label_source=source,
    )


def provenance_proto(p: Provenance) -> clusterer_pb2.Provenance:
    """Return the message."""
    return clusterer_pb2.Provenance(
        model=p.model.to_proto(),
        background_digest=p.background_digest,
        feature_space=p.feature_space,
        method=p.method,
        classes=p.classes,
    )


def batches(
    vectors: npt.ArrayLike, ids: Sequence[str] | None, labels: Sequence[str] | None
) -> Iterator[clusterer_pb2.VectorBatch]:
    """Cut vectors into messages of at most `BATCH_BYTES` and `BATCH_ROWS`.

    Parameters
    ----------
    vectors
        Shape (n, d), float16, float32 or float64.
    ids
        One a vector; None: "0", "1", ...
    labels
        One a vector; None: none.

    Raises
    ------
    InvalidTensor, InvalidInput
        When it is not a matrix of floats, or ids or labels are not one a vector.
    """
    matrix = np.asarray(vectors)
    if matrix.ndim != 2 or matrix.dtype.kind != "f" or not len(matrix):
        raise InvalidTensor(
            f"vectors are a matrix (count, dimension) of floats, not {matrix.dtype} of shape {matrix.shape}",
            field="vectors",
        )
    names = [str(i) for i in range(len(matrix))] if ids is None else list(ids)
    for field, given in (("ids", names), ("labels", labels)):
        if given is not None and len(given) != len(matrix):
            raise InvalidInput(f"{len(given)} {field} for {len(matrix)} vectors", field=field)
    rows = max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, matrix.nbytes // len(matrix))))
    return (
        clusterer_pb2.VectorBatch(
            ids=names[i : i + rows],
            vectors=tensors.encode(matrix[i : i + rows]),
            labels=labels[i : i + rows] if labels is not None else (),
        )
        for i in range(0, len(matrix), rows)
    )


def _agreement(message: Any, field: str) -> Agreement | None:
    if not message.HasField(field):
        return None
    a = getattr(message, field)
    return Agreement(a.homogeneity, a.completeness, a.v_measure, a.adjusted_mutual_information)


def _cluster(c: clusterer_pb2.Cluster) -> Cluster:
    return Cluster(
        index=c.index,
        size=c.size,
        medoid_ids=tuple(c.medoid_ids),
        extreme_ids=tuple(c.extreme_ids),
        labels=tuple((x.label, x.count) for x in c.labels),
        purity=c.purity,
        mean_distance=c.mean_distance,
        max_distance=c.max_distance,
        favorable_sums=tuple(c.favorable_sums),
        glum_sums=tuple(c.glum_sums),
    )
