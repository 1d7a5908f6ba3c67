"""Descriptions: metrics against scikit-learn, baselines against chance, the recommended k against its rule."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from vidi_clusterer import describe
from vidi_clusterer.describe import Agreement, Point


def point(
    k: int, *, count: int = 100, inertia: float = 1.0, homogeneity: float | None = None, chance: float = 0.0
) -> Point:
    sizes = tuple([count // k + count % k] + [count // k] * (k - 1))
    if homogeneity is None:
        return Point(k, inertia, sizes)
    return Point(k, inertia, sizes, Agreement(homogeneity, 0, 0, 0), Agreement(chance, 0, 0, 0))


def test_agreement_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    labels = [str(v) for v in rng.integers(0, 3, 120)]
    clusters = rng.integers(0, 7, 120)
    clusters[:60] = np.array([int(v) for v in labels[:60]])
    found = describe.agreement(labels, clusters)
    assert found.homogeneity == pytest.approx(metrics.homogeneity_score(labels, clusters), abs=1e-9)
    assert found.completeness == pytest.approx(metrics.completeness_score(labels, clusters), abs=1e-9)
    assert found.v_measure == pytest.approx(metrics.v_measure_score(labels, clusters), abs=1e-9)
    assert found.adjusted_mutual_information == pytest.approx(
        metrics.adjusted_mutual_info_score(labels, clusters), abs=1e-9
    )
    assert 0.05 < found.homogeneity < 1


def test_the_random_baseline_is_chance_and_grows_with_k() -> None:
    labels = ["a", "b"] * 60
    few, many = (describe.random_baseline(labels, np.arange(120) % k, 0) for k in (2, 40))
    assert few.homogeneity < 0.03
    assert many.homogeneity > 0.15
    assert abs(few.adjusted_mutual_information) < 0.03
    assert abs(many.adjusted_mutual_information) < 0.05
    assert describe.random_baseline(labels, np.arange(120) % 40, 0) == many


def test_the_smallest_k_within_the_margin_is_recommended() -> None:
    points = [
        point(2, homogeneity=0.5),
        point(5, homogeneity=0.79),
        point(10, homogeneity=0.8),
        point(20, homogeneity=0.805),
    ]
    k, reason = describe.recommend(points)
    assert k == 5
    assert "0.79" in reason
    assert "circular" not in reason
    assert "circular" in describe.recommend(points, circular=True)[1]


def test_homogeneity_that_chance_gives_is_not_recommended() -> None:
    """k = 40 is more homogeneous, but random clusters of these sizes nearly as much."""
    points = [point(5, homogeneity=0.6, chance=0.05), point(40, homogeneity=0.7, chance=0.68)]
    assert describe.recommend(points)[0] == 5


def test_clusters_of_single_films_are_not_recommended() -> None:
    points = [point(2, count=12, homogeneity=0.7, chance=0.1), point(10, count=12, homogeneity=1.0, chance=0.8)]
    assert describe.recommend(points)[0] == 2


def test_without_labels_the_bend_of_the_inertia_is_recommended() -> None:
    inertia = {2: 100.0, 5: 40.0, 10: 30.0, 20: 22.0, 40: 10.0}
    k, reason = describe.recommend([point(k, inertia=v) for k, v in inertia.items()])
    assert k == 5
    assert "no labels" in reason


def test_when_nothing_is_above_chance_the_reason_says_so() -> None:
    points = [point(2, inertia=9, homogeneity=0.01, chance=0.02), point(5, inertia=3, homogeneity=0.1, chance=0.1)]
    k, reason = describe.recommend(points)
    assert k == 2
    assert "better than chance" in reason


def test_one_label_or_one_point_is_no_accident() -> None:
    assert describe.recommend([point(2, inertia=0.0)])[0] == 2
    same = describe.agreement(["a"] * 6, np.arange(6) % 2)
    assert same.homogeneity == 1.0
    single = Point(2, 1.0, (3, 3), same, describe.random_baseline(["a"] * 6, np.arange(6) % 2, 0))
    assert "better than chance" in describe.recommend([single])[1]


def test_a_cluster_is_described() -> None:
    centroids = np.array([[1.0, -2.0, 0.5, 0.25], [0.0, 3.0, -1.0, -1.0]], np.float32)
    clusters = np.array([0, 1, 0, 0, 1, 0, 0, 0, 0])
    distances = np.array([0.5, 9.0, 0.1, 0.7, 1.0, 0.3, 0.2, 0.6, 0.4])
    labels = ["x", "y", "x", "z", "y", "x", "z", "x", "z"]
    first, second = describe.describe(centroids, clusters, distances, labels, 2)
    assert first.size == 7
    assert first.medoids == (2, 6, 5, 8, 0)
    assert first.extremes == (3, 7, 0, 8, 5)
    assert first.labels == (("x", 4), ("z", 3))
    assert first.purity == pytest.approx(4 / 7)
    assert first.mean_distance == pytest.approx(0.4)
    assert first.max_distance == 0.7
    assert first.favorable == (1.0, 0.75)
    assert first.glum == (-2.0, 0.0)
    assert second.labels == (("y", 2),)
    assert second.purity == 1.0
    assert second.medoids == (4, 1)


def test_without_labels_or_equal_blocks_those_parts_stay_empty() -> None:
    (only,) = describe.describe(np.ones((1, 5), np.float32), np.zeros(3, np.int64), np.ones(3), None, 2)
    assert (only.labels, only.purity, only.favorable, only.glum) == ((), 0.0, (), ())
    assert describe.block_sums(np.ones(4, np.float32), 0) == ((), ())
