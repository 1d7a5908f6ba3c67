"""Means of films that look alike: none of few films, the same for the same seed, and equally many a class."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from vidi.background.kmeans import centroids, centroids_by_class
from vidi.errors import InvalidInput, PreconditionFailed

Crowd = Callable[..., npt.NDArray[np.uint8]]


def test_references_are_averages_of_many_films(crowd: Crowd) -> None:
    films = crowd(240)
    # Three films unlike all others, which k-means would make a cluster of their own.
    odd = np.zeros((3, 56, 56), np.uint8)
    references, sizes = centroids(np.concatenate([films, odd]), count=4, minimum=50)
    assert references.shape == (4, 56, 56)
    assert references.dtype == np.uint8
    assert min(sizes) >= 50
    assert sum(sizes) == 240, "the odd ones are put aside"
    distance = np.abs(references[:, None].astype(int) - films[None].astype(int)).mean((2, 3))
    assert distance.min() > 10, "no reference resembles one film"
    with pytest.raises(InvalidInput, match="at least 50"):
        centroids(films[:150], count=4, minimum=50)


def test_the_same_seed_gives_the_same_references(crowd: Crowd) -> None:
    films = crowd(90, kinds=9)
    first, sizes = centroids(films, count=3, minimum=5, seed=4)
    again, sizes_again = centroids(films, count=3, minimum=5, seed=4)
    np.testing.assert_array_equal(first, again)
    assert sizes == sizes_again


def test_a_rare_class_gets_as_many_references_as_a_common_one(crowd: Crowd) -> None:
    films = np.concatenate([crowd(100, kinds=2), crowd(24, kinds=2, seed=1)])
    labels = np.repeat(np.array([0, 1], np.int64), [100, 24])
    shuffled = np.random.default_rng(0).permutation(124)
    references, sizes = centroids_by_class(
        films[shuffled], labels[shuffled], ("common", "rare"), count=4, minimum=12, seed=0
    )
    assert references.shape == (4, 56, 56)
    assert sizes[2:] == (12, 12)
    for index, reference in enumerate(references):
        nearest = np.abs(films.astype(int) - reference.astype(int)).mean((1, 2)).argmin()
        assert labels[nearest] == index // 2, "class after class"
    alone, _ = centroids(films[labels == 1], count=2, minimum=12, seed=0)
    matches = {tuple(r.ravel()) for r in alone} == {tuple(r.ravel()) for r in references[2:]}
    assert matches, "means of films of the class, and of no other"


def test_what_does_not_go_by_class_is_said(crowd: Crowd) -> None:
    films, labels = crowd(60), np.repeat(np.array([0, 1], np.int64), [50, 10])
    with pytest.raises(InvalidInput, match="multiple"):
        centroids_by_class(films, labels, ("a", "b"), count=3, minimum=5)
    with pytest.raises(InvalidInput, match="multiple"):
        centroids_by_class(films, labels, ("a", "b"), count=0, minimum=5)
    with pytest.raises(InvalidInput, match="class 'b': 10 films"):
        centroids_by_class(films, labels, ("a", "b"), count=4, minimum=6)
    with pytest.raises(InvalidInput, match="no film is labelled 'c'"):
        centroids_by_class(films, labels, ("a", "b", "c"), count=3, minimum=5)
    with pytest.raises(InvalidInput, match="labels of shape"):
        centroids_by_class(films, labels[:-1], ("a", "b"), count=2, minimum=5)


@pytest.mark.parametrize(
    "films",
    [np.zeros((90, 56, 56), np.float32), np.zeros((90, 3, 56, 56), np.uint8), np.zeros((90, 20, 56), np.uint8)],
)
def test_films_of_another_shape_or_type_are_refused(films: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(InvalidInput, match="uint8"):
        centroids(films, count=1)


def test_no_films_and_no_references_are_refused(crowd: Crowd) -> None:
    with pytest.raises(InvalidInput):
        centroids(crowd(0), count=1, minimum=0)
    with pytest.raises(InvalidInput):
        centroids(crowd(8), count=0, minimum=1)


def test_without_scikit_learn_the_extra_is_named(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(PreconditionFailed, match=r"vidi\[train\]"):
        centroids(crowd(60), count=1)
