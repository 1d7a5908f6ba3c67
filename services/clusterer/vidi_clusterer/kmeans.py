"""k-means on FAISS (paper, section 3.3): native k-means++ seeding, restarts, exact float64 results.

FAISS seeds (Arthur and Vassilvitskii 2007) and iterates in float32 on centred, scaled vectors. Its result is then
carried to convergence in float64: Lloyd iterations, single-vector exchanges (Hartigan and Wong 1979) where those still
lower the inertia, and a vector of its own for every cluster that ran empty: no cluster is ever empty. One FAISS run
alone is often a worse optimum than scikit-learn's greedy k-means++; several seedings a restart and the exchanges make
up for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from vidi.errors import Cancelled, InvalidInput
from vidi_clusterer.points import Float32, Float64, Points, chunks

Labels = npt.NDArray[np.int64]

#: Vectors, and their distances to all centroids, of at most so many elements are "small": more is tried on them.
SMALL_ELEMENTS = 16_000_000

#: Below so many products an iteration one thread is faster: on a busy machine threads wait long for each other.
THREADED_PRODUCTS = 500_000_000

#: Seedings a restart (small, else large), each followed by `SEEDING_ITERATIONS`; the best one is carried on.
SEEDINGS = (16, 4)
SEEDING_ITERATIONS = 5

#: Smallest relative gain of inertia for which an exchange is made; below it float64 rounding decides.
EXCHANGE_GAIN = 1e-10


@dataclass(frozen=True)
class KMeans:
    """A fitted k-means.

    Attributes
    ----------
    centroids
        float32 (k, d), largest cluster first, in the vectors' units.
    labels
        int64 (n,), cluster of every vector; every cluster has at least one.
    distances
        float64 (n,), Euclidean distance to the own centroid as stored (float32), in the vectors' units.
    inertia
        Sum of the squared distances, computed in float64.
    backend
        What ran, such as "faiss 1.15.1 cpu".
    restart_inertias
        What every restart reached, in float64; the least one won.
    """

    centroids: Float32
    labels: Labels
    distances: Float64
    inertia: float
    backend: str
    restart_inertias: tuple[float, ...]

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Members of every cluster, int64 (k,), largest first."""
        return np.bincount(self.labels, minlength=len(self.centroids)).astype(np.int64)


def fit(
    points: Points,
    k: int,
    *,
    restarts: int = 3,
    max_iterations: int = 100,
    seed: int = 0,
    stopped: Callable[[], bool] = lambda: False,
) -> KMeans:
    """Cluster vectors.

    Parameters
    ----------
    points
        The vectors.
    k
        Number of clusters, 1 to `points.distinct`.
    restarts
        Independent runs, each seeded from `seed`, k and its number; the one of least inertia wins.
    max_iterations
        FAISS's Lloyd iterations a restart at most, and again as many float64 ones.
    seed
        The same vectors, parameters and seed give the same result.
    stopped
        Asked between steps; when it says True, the fit is given up.

    Raises
    ------
    InvalidInput
        When k is not within 1 to the number of different vectors.
    Cancelled
        When `stopped`.
    """
    if not 1 <= k <= points.distinct:
        raise InvalidInput(
            f"k = {k}, but the {points.count} vectors hold {points.distinct} different ones: k must be within "
            f"1 to {points.distinct}",
            field="k",
        )
    best: tuple[float, Float64, Labels] | None = None
    reached = []
    for state in np.random.SeedSequence([seed, k]).spawn(restarts):
        if stopped():
            raise Cancelled("the clustering was given up")
        start = _start(points.scaled, k, state, max_iterations)
        inertia, centroids, labels = _converge(points.scaled, start, max_iterations, stopped)
        reached.append(inertia * points.scale**2)
        if best is None or inertia < best[0]:
            best = inertia, centroids, labels
    assert best is not None
    return _publish(points, best[2], k, tuple(reached))


def assign(vectors: npt.NDArray[np.floating], centroids: Float32) -> tuple[Labels, Float64]:
    """Return the nearest centroid (int64, (n,)) and the Euclidean distance to it (float64, (n,)) of every vector.

    Of equally near centroids the first one is taken.
    """
    shift = centroids.mean(axis=0, dtype=np.float64)
    own = centroids - shift
    labels = np.empty(len(vectors), np.int64)
    for rows in chunks(vectors):
        labels[rows] = _squared_distances(vectors[rows] - shift, own).argmin(axis=1)
    return labels, _own_distances(vectors, centroids.astype(np.float64), labels)


def backend() -> str:
    """What computes here, such as "faiss 1.15.1 cpu"."""
    return f"faiss {faiss.__version__} {'gpu' if _gpus() else 'cpu'}"


def _gpus() -> int:
    """Number of usable GPUs; 0 when FAISS was built without them."""
    return int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0


def _small(x: Float32, k: int) -> bool:
    """Whether there is room and time for the more thorough search."""
    return max(len(x) * k, x.size) <= SMALL_ELEMENTS


def _start(x: Float32, k: int, state: np.random.SeedSequence, iterations: int) -> Float64:
    """Try several seedings for a few iterations and carry the best one on; float64 (k, d)."""
    seeds = [int(word) >> 1 for word in state.generate_state(SEEDINGS[0] if _small(x, k) else SEEDINGS[1])]
    tries = [(_train(x, k, seed, min(SEEDING_ITERATIONS, iterations))[1], seed) for seed in seeds]
    return _train(x, k, min(tries)[1], iterations)[0]


def _train(x: Float32, k: int, seed: int, iterations: int) -> tuple[Float64, float]:
    """One run of FAISS's k-means: centroids, float64 (k, d), and its last inertia in float32.

    FAISS splits the largest cluster where one runs empty, and stops when the inertia stays.
    """
    parameters = faiss.ClusteringParameters()
    parameters.niter = iterations
    parameters.seed = seed
    parameters.init_method = faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS
    parameters.max_points_per_centroid = np.iinfo(np.int32).max  # the default of 256 drops vectors without a word
    parameters.min_points_per_centroid = 1  # the default of 39 prints warnings on small cohorts
    dimension = x.shape[1]
    clustering = faiss.Clustering(dimension, k, parameters)
    index: Any = faiss.IndexFlatL2(dimension)
    if _gpus():
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
    with _threads(x.size * k):
        clustering.train(x, index)
    stats: Any = clustering.iteration_stats  # a wrapped std::vector, whatever the stubs say
    inertia = float(stats.at(stats.size() - 1).obj) if stats.size() else 0.0  # none when k is the number of vectors
    return faiss.vector_to_array(clustering.centroids).reshape(k, dimension).astype(np.float64), inertia


@contextmanager
def _threads(products: int) -> Iterator[None]:
    """Let FAISS use as many threads in this thread as the work is worth."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(before if products >= THREADED_PRODUCTS else 1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _converge(
    x: Float32, centroids: Float64, iterations: int, stopped: Callable[[], bool]
) -> tuple[float, Float64, Labels]:
    """Iterate in float64 until no step lowers the inertia; return inertia, centroids and labels, no cluster empty."""
    k = len(centroids)
    labels = np.full(len(x), -1, np.int64)
    inertia = np.inf
    for _ in range(iterations):
        if stopped():
            raise Cancelled("the clustering was given up")
        nearest, squared = _nearest(x, centroids)
        nearest = _fill_empty(nearest, squared, k)
        if bool((nearest == labels).all()):
            nearest = _exchange(x, labels, k, stopped)
            if bool((nearest == labels).all()):
                break
        labels = nearest
        centroids = _means(x, labels, k)
    inertia = float(np.square(_own_distances(x, centroids, labels)).sum())
    return inertia, centroids, labels


def _nearest(x: Float32, centroids: Float64) -> tuple[Labels, Float64]:
    """Nearest centroid and squared distance to it of every vector."""
    labels, squared = np.empty(len(x), np.int64), np.empty(len(x), np.float64)
    for rows in chunks(x):
        distances = _squared_distances(x[rows].astype(np.float64), centroids)
        labels[rows] = distances.argmin(axis=1)
        squared[rows] = np.take_along_axis(distances, labels[rows, None], axis=1)[:, 0]
    return labels, squared


def _fill_empty(labels: Labels, squared: Float64, k: int) -> Labels:
    """Give every empty cluster the vector that lies farthest from its centroid, out of a cluster that can spare it."""
    sizes = np.bincount(labels, minlength=k)
    empty = np.flatnonzero(sizes == 0)
    if not len(empty):
        return labels
    labels = labels.copy()
    farthest = iter(np.argsort(-squared, kind="stable"))
    for cluster in empty:
        vector = next(i for i in farthest if sizes[labels[i]] > 1)
        sizes[labels[vector]] -= 1
        labels[vector], sizes[cluster] = cluster, 1
    return labels


def _exchange(x: Float32, labels: Labels, k: int, stopped: Callable[[], bool]) -> Labels:
    """Move single vectors to other clusters while that lowers the inertia, which Lloyd's rule alone does not see.

    Moving v from a to b changes the inertia by n_b / (n_b + 1) |v - b|^2 - n_a / (n_a - 1) |v - a|^2, because both
    centroids move with it (Hartigan and Wong 1979).
    """
    if k == 1 or not _small(x, k):
        return labels
    labels = labels.copy()
    wide = x.astype(np.float64)
    sizes = np.bincount(labels, minlength=k).astype(np.float64)
    centroids = _means(x, labels, k)
    norms = np.einsum("ij,ij->i", wide, wide)
    squared = _squared_distances(wide, centroids, norms)
    every = np.arange(len(x))
    threshold = EXCHANGE_GAIN * float(squared[every, labels].sum())
    for _ in range(len(x)):
        if stopped():
            raise Cancelled("the clustering was given up")
        own = sizes[labels]
        loss = np.where(own > 1, own / np.maximum(own - 1, 1) * squared[every, labels], -np.inf)
        gain = loss[:, None] - sizes / (sizes + 1) * squared
        gain[every, labels] = -np.inf
        vector, target = np.unravel_index(int(gain.argmax()), gain.shape)
        if not gain[vector, target] > threshold:
            break
        changed = [labels[vector], target]
        labels[vector] = target
        sizes[changed] += (-1, 1)
        weight = np.array([-1.0, 1.0]) / sizes[changed]
        centroids[changed] += weight[:, None] * (wide[vector] - centroids[changed])
        squared[:, changed] = _squared_distances(wide, centroids[changed], norms)
    return labels


def _publish(points: Points, labels: Labels, k: int, reached: tuple[float, ...]) -> KMeans:
    """Order clusters by size (then by their first vector) and state distances to the centroids as they are stored."""
    sizes = np.bincount(labels, minlength=k)
    first = np.full(k, len(labels), np.int64)
    np.minimum.at(first, labels, np.arange(len(labels)))
    order = np.lexsort((first, -sizes))
    rank = np.empty(k, np.int64)
    rank[order] = np.arange(k)
    labels = rank[labels]
    x = points.vectors
    centroids = _means(x, labels, k).astype(np.float32)
    distances = _own_distances(x, centroids.astype(np.float64), labels)
    return KMeans(centroids, labels, distances, float(np.square(distances).sum()), backend(), reached)


def _means(x: Float32, labels: Labels, k: int) -> Float64:
    """Mean of every cluster's vectors, float64 (k, d)."""
    sums = np.zeros((k, x.shape[1]))
    for rows in chunks(x):
        members = np.zeros((len(labels[rows]), k))
        members[np.arange(len(members)), labels[rows]] = 1.0
        sums += members.T @ x[rows].astype(np.float64)
    return sums / np.bincount(labels, minlength=k)[:, None]


def _squared_distances(x: Float64, centroids: Float64, norms: Float64 | None = None) -> Float64:
    """All squared distances (n, k), never negative; `norms` are the squared norms of x, where they are known."""
    known = np.einsum("ij,ij->i", x, x) if norms is None else norms
    both = known[:, None] + np.einsum("ij,ij->i", centroids, centroids)
    squared: Float64 = np.maximum(both - 2.0 * (x @ centroids.T), 0.0)
    return squared


def _own_distances(x: npt.NDArray[np.floating], centroids: Float64, labels: Labels) -> Float64:
    """Distance of every vector to the centroid of its cluster, without the cancellation of the expanded square."""
    distances = np.empty(len(x))
    for rows in chunks(x):
        distances[rows] = np.linalg.norm(x[rows] - centroids[labels[rows]], axis=1)
    return distances
