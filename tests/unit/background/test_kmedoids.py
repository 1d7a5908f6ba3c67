"""k-medoids: films of the set, the known best ones where they are known, and no single swap that would be better."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from vidi.background import kmedoids
from vidi.background.kmedoids import faster_pam, medoids, total_distance
from vidi.errors import InvalidInput

Crowd = Callable[..., npt.NDArray[np.uint8]]


def line(*points: float) -> npt.NDArray[np.float64]:
    """Distances of points on a line."""
    at = np.array(points)
    return np.asarray(np.abs(at[:, None] - at[None]), np.float64)


def test_the_middles_of_three_clumps_are_found_from_any_start() -> None:
    distances = line(0, 1, 2, 50, 51, 52, 90, 91, 92)
    for seed in range(20):
        chosen = faster_pam(distances, 3, np.random.default_rng(seed))
        assert sorted(chosen) == [1, 4, 7]


def test_one_medoid_is_the_median_and_all_are_all() -> None:
    distances = line(0, 1, 2, 3, 100)
    assert list(faster_pam(distances, 1, np.random.default_rng(0))) == [2], "not the mean's neighbour"
    assert sorted(faster_pam(distances, 5, np.random.default_rng(0))) == [0, 1, 2, 3, 4]


def test_no_single_swap_is_better_and_the_best_is_near() -> None:
    rng = np.random.default_rng(3)
    points = rng.normal(size=(14, 2))
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    best = min(total_distance(distances, np.array(c)) for c in itertools.combinations(range(14), 3))
    totals = []
    for seed in range(8):
        chosen = faster_pam(distances, 3, np.random.default_rng(seed))
        assert len(set(chosen)) == 3
        totals.append(total_distance(distances, chosen))
        for out, candidate in itertools.product(range(3), range(14)):
            swapped = chosen.copy()
            swapped[out] = candidate
            assert total_distance(distances, swapped) >= totals[-1] - 1e-9
    assert min(totals) == pytest.approx(best)


def test_equal_films_end_the_search() -> None:
    assert len(set(faster_pam(np.zeros((6, 6)), 2, np.random.default_rng(0)))) == 2


def test_medoids_are_films_one_of_each_kind(crowd: Crowd) -> None:
    films = crowd(60, kinds=3)
    chosen = medoids(films, count=3, seed=1)
    assert sorted(i % 3 for i in chosen) == [0, 1, 2]
    assert list(chosen) == sorted(chosen)
    np.testing.assert_array_equal(chosen, medoids(films, count=3, seed=1))


def test_distances_of_thumbnails_are_euclidean(crowd: Crowd) -> None:
    points = np.asarray(crowd(5).reshape(5, -1) / 255, np.float32)
    expected: npt.NDArray[np.float32] = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.testing.assert_allclose(kmedoids._distances(points), expected, rtol=1e-4, atol=1e-5)


def test_of_too_many_films_some_are_drawn(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmedoids, "LARGEST", 12)
    films = crowd(60, kinds=3)
    chosen = medoids(films, count=3, seed=1)
    assert len(set(chosen)) == 3
    assert chosen.max() >= 12
    with pytest.raises(InvalidInput):
        medoids(films, count=13)


def test_too_few_films_are_said(crowd: Crowd) -> None:
    for count in (0, 4):
        with pytest.raises(InvalidInput, match="3 films do not give"):
            medoids(crowd(3), count=count)
    with pytest.raises(InvalidInput, match="uint8"):
        medoids(crowd(3).astype(np.float32), count=1)
