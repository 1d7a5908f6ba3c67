"""k-means against scikit-learn and against its own promises."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from vidi.errors import Cancelled, InvalidInput, InvalidTensor
from vidi_clusterer import kmeans, points
from vidi_clusterer.points import prepare


def blobs(n: int, d: int, groups: int, *, seed: int = 0, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian groups (n, d) with uneven axes, and the group of each vector."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % groups
    centres = 3.0 * rng.normal(size=(groups, d)) * rng.random((groups, 1))
    return (centres[truth] + spread * rng.normal(size=(n, d)) * rng.gamma(1, 1, size=d)).astype(np.float32), truth


def exact_inertia(vectors: np.ndarray, centroids: np.ndarray) -> float:
    x, c = vectors.astype(np.float64), centroids.astype(np.float64)
    return float(((x[:, None] - c[None]) ** 2).sum(axis=2).min(axis=1).sum())


@pytest.mark.parametrize(("n", "d"), [(120, 20), (100, 392), (40, 1000)])
def test_separated_groups_are_found_as_scikit_learn_finds_them(n: int, d: int) -> None:
    rng = np.random.default_rng(1)
    truth = np.arange(n) % 4
    vectors = (20.0 * rng.normal(size=(4, d))[truth] + rng.normal(size=(n, d))).astype(np.float32)
    fitted = kmeans.fit(prepare(vectors), 4, seed=1)
    oracle = KMeans(4, n_init=3, random_state=0).fit(vectors)
    assert adjusted_rand_score(truth, fitted.labels) == 1.0
    assert adjusted_rand_score(oracle.labels_, fitted.labels) == 1.0
    assert fitted.inertia == pytest.approx(exact_inertia(vectors, fitted.centroids), rel=1e-9)
    assert fitted.inertia == pytest.approx(oracle.inertia_, rel=1e-5)


def test_inertia_stays_near_scikit_learns_at_equal_restarts() -> None:
    """Overlapping groups, where optima differ by luck: at most 3 % above at worst, and not above on average."""
    ratios = []
    for seed, (n, d, groups) in enumerate([(200, 60, 6), (150, 392, 8), (300, 196, 5)]):
        vectors, _ = blobs(n, d, groups, seed=seed)
        ready = prepare(vectors)
        for k in (2, 5, 10, 25):
            oracle = KMeans(k, n_init=3, max_iter=100, random_state=seed).fit(vectors)
            ratios.append(kmeans.fit(ready, k, restarts=3, seed=seed).inertia / oracle.inertia_)
    assert max(ratios) <= 1.03, ratios
    assert np.mean(ratios) <= 1.0, ratios


def test_the_same_seed_gives_the_same_result_and_the_best_restart_wins() -> None:
    vectors, _ = blobs(150, 40, 7)
    ready = prepare(vectors)
    first, second = (kmeans.fit(ready, 7, restarts=4, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.centroids, second.centroids)
    assert len(first.restart_inertias) == 4
    assert first.inertia == pytest.approx(min(first.restart_inertias), rel=1e-5)


def test_clusters_are_ordered_by_size_and_distances_are_to_the_stored_centroids() -> None:
    vectors, _ = blobs(90, 12, 5)
    fitted = kmeans.fit(prepare(vectors), 5)
    assert list(fitted.sizes) == sorted(fitted.sizes, reverse=True)
    assert fitted.sizes.sum() == 90
    assert fitted.centroids.dtype == np.float32
    for cluster in range(5):
        np.testing.assert_allclose(
            fitted.centroids[cluster], vectors[fitted.labels == cluster].mean(axis=0), rtol=1e-4, atol=1e-5
        )
    labels, distances = kmeans.assign(vectors, fitted.centroids)
    np.testing.assert_array_equal(labels, fitted.labels)
    np.testing.assert_allclose(distances, fitted.distances, rtol=1e-12)


def test_rotation_into_fewer_dimensions_changes_no_distance() -> None:
    vectors, _ = blobs(30, 500, 3)
    ready = prepare(vectors)
    assert ready.scaled.shape == (30, 30)
    wide = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    narrow = np.linalg.norm(ready.scaled[:, None] - ready.scaled[None], axis=2) * ready.scale
    np.testing.assert_allclose(narrow, wide, rtol=1e-4, atol=1e-3)


def test_nothing_is_subsampled() -> None:
    """FAISS's default would look at 256 vectors a cluster: the far group of the last ten could be missed."""
    vectors = np.zeros((3000, 4), np.float32)
    vectors[:, 0] = np.linspace(0, 1, 3000)
    vectors[-10:, 1] = 1000.0
    fitted = kmeans.fit(prepare(vectors), 2)
    assert list(fitted.sizes) == [2990, 10]


@pytest.mark.parametrize("copies", [1, 7])
def test_as_many_clusters_as_different_vectors(copies: int) -> None:
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.normal(size=(9, 5)).astype(np.float32), copies, axis=0)
    ready = prepare(vectors)
    assert ready.distinct == 9
    fitted = kmeans.fit(ready, 9)
    assert list(fitted.sizes) == [copies] * 9
    assert fitted.inertia == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(InvalidInput, match="9 different"):
        kmeans.fit(ready, 10)


def test_no_cluster_is_ever_empty() -> None:
    """A heap of equal vectors and a few others: most seedings land in the heap."""
    rng = np.random.default_rng(3)
    vectors = np.concatenate([np.ones((200, 6)), 1 + 1e-4 * rng.normal(size=(12, 6))]).astype(np.float32)
    ready = prepare(vectors)
    for k in range(1, ready.distinct + 1):
        fitted = kmeans.fit(ready, k, restarts=1)
        assert fitted.sizes.min() >= 1
        assert len(fitted.sizes) == k


def test_one_vector_and_equal_vectors() -> None:
    for vectors in (np.full((1, 3), 2.0), np.full((5, 3), -1.5), np.array([[0.0, -0.0], [-0.0, 0.0]])):
        ready = prepare(vectors)
        assert ready.distinct == 1
        fitted = kmeans.fit(ready, 1)
        assert fitted.inertia == 0.0
        with pytest.raises(InvalidInput):
            kmeans.fit(ready, 2)


@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_neither_scale_nor_offset_of_the_vectors_matters(scale: float, offset: float) -> None:
    rng = np.random.default_rng(4)
    truth = np.arange(60) % 3
    vectors = ((5 * rng.normal(size=(3, 8))[truth] + rng.normal(size=(60, 8)) + offset) * scale).astype(np.float32)
    fitted = kmeans.fit(prepare(vectors), 3)
    assert adjusted_rand_score(truth, fitted.labels) == 1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_values_that_float32_cannot_hold_are_refused(bad: float) -> None:
    vectors = np.ones((4, 3))
    vectors[2, 1] = bad
    with pytest.raises(InvalidTensor):
        prepare(vectors)


@pytest.mark.parametrize("shape", [(3,), (0, 3), (3, 0), (2, 2, 2)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidTensor):
        prepare(np.zeros(shape))


def test_k_below_one_is_refused() -> None:
    with pytest.raises(InvalidInput):
        kmeans.fit(prepare(np.eye(3)), 0)


def test_a_fit_can_be_given_up() -> None:
    vectors, _ = blobs(50, 5, 3)
    with pytest.raises(Cancelled):
        kmeans.fit(prepare(vectors), 3, stopped=lambda: True)


def test_the_large_path_reaches_the_same_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without exchanges, and in many small chunks, as for a million vectors."""
    vectors, truth = blobs(200, 30, 4, spread=0.2)
    small = kmeans.fit(prepare(vectors), 4, restarts=5)
    monkeypatch.setattr(kmeans, "SMALL_ELEMENTS", 0)
    monkeypatch.setattr(points, "CHUNK_BYTES", 8 * 30 * 7)
    large = kmeans.fit(prepare(vectors), 4, restarts=5)
    assert large.inertia == pytest.approx(small.inertia, rel=1e-6)
    assert adjusted_rand_score(truth, large.labels) == pytest.approx(adjusted_rand_score(truth, small.labels))


def test_the_backend_is_named() -> None:
    name, version, device = kmeans.backend().split()
    assert (name, device in {"cpu", "gpu"}) == ("faiss", True)
    assert version[0].isdigit()
