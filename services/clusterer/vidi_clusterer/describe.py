"""What clusters hold, in numbers: agreement with labels against chance, a recommended k, members, sums per class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import adjusted_mutual_info_score, homogeneity_completeness_v_measure

Labels = npt.NDArray[np.int64]

#: Shuffles behind a random baseline.
SHUFFLES = 20

#: A k counts as good as the best when its homogeneity above chance is at most this much lower.
MARGIN = 0.02

#: Typical and untypical members that are named.
NAMED = 5


@dataclass(frozen=True)
class Agreement:
    """Agreement of clusters with labels.

    Attributes
    ----------
    homogeneity, completeness, v_measure
        0..1 (Rosenberg and Hirschberg 2007).
    adjusted_mutual_information
        At most 1, 0 by chance (Vinh, Epps and Bailey 2010; arithmetic mean of the entropies).
    """

    homogeneity: float
    completeness: float
    v_measure: float
    adjusted_mutual_information: float


@dataclass(frozen=True)
class Point:
    """What one k gave: inertia in squared units, cluster sizes, agreement and its baseline (None: no labels)."""

    k: int
    inertia: float
    sizes: tuple[int, ...]
    agreement: Agreement | None = None
    baseline: Agreement | None = None


@dataclass(frozen=True)
class Description:
    """One cluster. Members are named by their position in the vectors.

    Attributes
    ----------
    size
        Number of members.
    medoids, extremes
        Up to `NAMED` members nearest to the centroid, nearest first; farthest from it, farthest first.
    labels
        (label, count), most frequent first, then by name.
    purity
        Share of the most frequent label, 0..1; 0 without labels.
    mean_distance, max_distance
        Euclidean, of the members to the centroid.
    favorable, glum
        Sums of the positive and of the negative entries of the centroid per class; empty when the centroid is not made
        of one block a class.
    """

    size: int
    medoids: tuple[int, ...]
    extremes: tuple[int, ...]
    labels: tuple[tuple[str, int], ...]
    purity: float
    mean_distance: float
    max_distance: float
    favorable: tuple[float, ...]
    glum: tuple[float, ...]


def agreement(labels: Sequence[str], clusters: Labels) -> Agreement:
    """Measure how well clusters and labels agree (scikit-learn's definitions)."""
    return _agreement(_codes(labels), clusters)


def random_baseline(labels: Sequence[str], clusters: Labels, seed: int) -> Agreement:
    """Agreement of random clusters of the same sizes: the mean over `SHUFFLES` shuffles of the cluster labels.

    Homogeneity grows with the number of clusters by chance alone; this says by how much.
    """
    codes, rng = _codes(labels), np.random.default_rng(seed)
    shuffled = [astuple(_agreement(codes, rng.permutation(clusters))) for _ in range(SHUFFLES)]
    return Agreement(*(float(value) for value in np.mean(shuffled, axis=0)))


def recommend(points: Sequence[Point], *, circular: bool = False) -> tuple[int, str]:
    """Recommend a k and say why in one sentence.

    With labels the paper's criterion decides, homogeneity, less what random clusters of the same sizes reach: the
    difference falls again where more clusters only split what belongs together. Of all k whose clusters hold two films
    on average, the smallest within `MARGIN` of the best wins. Without labels, or when no k lies above chance: the bend
    of the inertia, which is the k farthest from the straight line between the first and the last (Satopaa et al. 2011).

    Parameters
    ----------
    points
        Ascending in k, at least one.
    circular
        Whether the labels are the model's own predictions.
    """
    count = sum(points[0].sizes)
    candidates = [p for p in points if count >= 2 * p.k] or list(points)
    gains = {p.k: _above_chance(p) for p in candidates if p.agreement is not None}
    best = max(gains.values(), default=0.0)
    if best <= 0.0:
        k = _bend(candidates)
        why = f"k = {k} is where more clusters start to lower the inertia less"
        return k, f"{why}; no k agrees with the labels better than chance." if gains else f"{why}; there are no labels."
    k = next(k for k, gain in gains.items() if gain >= best - MARGIN)
    chosen = next(p for p in candidates if p.k == k)
    assert chosen.agreement is not None
    assert chosen.baseline is not None
    reason = (
        f"k = {k} is the smallest whose homogeneity above that of random clusters comes within {MARGIN:.2f} of the "
        f"best ({best:.2f}): {chosen.agreement.homogeneity:.2f} against {chosen.baseline.homogeneity:.2f}"
    )
    return k, reason + ("; circular, since the labels are the model's own predictions." if circular else ".")


def describe(
    centroids: npt.NDArray[np.float32],
    clusters: Labels,
    distances: npt.NDArray[np.float64],
    labels: Sequence[str] | None,
    classes: int,
) -> list[Description]:
    """Describe every cluster, in the order of the centroids.

    Parameters
    ----------
    centroids
        (k, d).
    clusters, distances
        Cluster of every vector, and Euclidean distance to its centroid.
    labels
        One a vector, or None.
    classes
        Number of classes, in whose order the vector's blocks lie; 0 when unknown.
    """
    order = np.lexsort((np.arange(len(clusters)), distances, clusters))
    ends = np.cumsum(np.bincount(clusters, minlength=len(centroids)))
    described = []
    for centroid, members in zip(centroids, np.split(order, ends[:-1]), strict=True):
        counts = Counter(labels[i] for i in members) if labels is not None else Counter[str]()
        ranked = tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
        favorable, glum = block_sums(centroid, classes)
        described.append(
            Description(
                size=len(members),
                medoids=tuple(int(i) for i in members[:NAMED]),
                extremes=tuple(int(i) for i in members[::-1][:NAMED]),
                labels=ranked,
                purity=ranked[0][1] / len(members) if ranked else 0.0,
                mean_distance=float(distances[members].mean()),
                max_distance=float(distances[members].max()),
                favorable=favorable,
                glum=glum,
            )
        )
    return described


def block_sums(vector: npt.NDArray[np.float32], classes: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Sum the favorable (> 0) and the glum (< 0) entries of every class's block; both empty without equal blocks."""
    if classes < 1 or len(vector) % classes:
        return (), ()
    blocks = vector.astype(np.float64).reshape(classes, -1)
    favorable, glum = np.maximum(blocks, 0.0).sum(axis=1), np.minimum(blocks, 0.0).sum(axis=1)
    return tuple(float(v) for v in favorable), tuple(float(v) for v in glum)


def _codes(labels: Sequence[str]) -> Labels:
    return np.unique(np.asarray(labels, dtype=np.str_), return_inverse=True)[1].astype(np.int64)


def _agreement(codes: Labels, clusters: Labels) -> Agreement:
    homogeneity, completeness, v_measure = homogeneity_completeness_v_measure(codes, clusters)
    adjusted = adjusted_mutual_info_score(codes, clusters)
    # Rounding leaves values such as 1.0000000000000002; the ranges are part of the contract.
    return Agreement(_unit(homogeneity), _unit(completeness), _unit(v_measure), min(float(adjusted), 1.0))


def _unit(value: float) -> float:
    return min(max(float(value), 0.0), 1.0)


def _above_chance(point: Point) -> float:
    """Homogeneity less that of random clusters of the same sizes."""
    assert point.agreement is not None
    assert point.baseline is not None
    return point.agreement.homogeneity - point.baseline.homogeneity


def _bend(points: Sequence[Point]) -> int:
    """The k farthest below the chord from first to last point, both axes scaled to 0..1; else the smallest k."""
    first, last = points[0], points[-1]
    fall, width = first.inertia - last.inertia, last.k - first.k
    if fall <= 0.0 or width == 0:
        return first.k
    depth = [1.0 - (p.k - first.k) / width - (p.inertia - last.inertia) / fall for p in points]
    return points[int(np.argmax(depth))].k
