"""What a set of references says about itself, and the sets that need no films."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest

from vidi.background import Films, from_films, from_phantoms
from vidi.background.synthetic import blurred_mean, normal_phantoms
from vidi.errors import InvalidInput
from vidi.imaging.preprocess import Preprocessing
from vidi.manifest import BackgroundStrategy
from vidi_classifier.cli import Strategy

Crowd = Callable[..., npt.NDArray[np.uint8]]
SMALL = Preprocessing(height=64, width=64)
CLASSES = ("normal", "pneumonia")


def films(crowd: Crowd, n: int = 120, *, kinds: int = 2, patients: bool = True) -> Films:
    return Films(crowd(n, kinds=kinds), np.arange(n, dtype=np.int64) % 2, CLASSES, patients)


def test_centroids_of_many_films_show_no_patient(crowd: Crowd) -> None:
    made = from_films("kmeans", films(crowd), count=2)
    assert made.recipe.model_dump() == {
        "strategy": "kmeans",
        "count": 2,
        "seed": 0,
        "smallest": 60,
        "classes": (),
        "holds_patient_films": False,
    }
    assert made.description == (
        "2 k-means centroids of training films, each the average of 60 to 60; none shows a patient"
    )
    assert made.fields == {"background_recipe": made.recipe, "background_description": made.description}


def test_centroids_of_few_films_of_patients_are_marked(crowd: Crowd) -> None:
    assert from_films("kmeans", films(crowd, 98), count=2, minimum=10).recipe.holds_patient_films
    assert not from_films("kmeans", films(crowd, 98, patients=False), count=2, minimum=10).recipe.holds_patient_films


def test_references_by_class_name_their_classes(crowd: Crowd) -> None:
    made = from_films("kmeans-by-class", films(crowd, 240, kinds=4, patients=False), count=4)
    assert made.recipe.classes == ("normal", "normal", "pneumonia", "pneumonia")
    assert made.recipe.smallest >= 50
    assert "2 for each class" in made.description
    assert "patient" not in made.description


def test_medoids_are_films_and_say_so(crowd: Crowd) -> None:
    pool = films(crowd, 20)
    made = from_films("kmedoids", pool, count=2, seed=3)
    assert all(any((reference == film).all() for film in pool.grids) for reference in made.images)
    assert sorted(made.recipe.classes) == sorted(CLASSES)
    assert (made.recipe.smallest, made.recipe.holds_patient_films) == (1, True)
    assert "THEY SHOW PATIENTS" in made.description
    phantoms = from_films("kmedoids", films(crowd, 20, patients=False), count=2)
    assert not phantoms.recipe.holds_patient_films
    assert "PATIENTS" not in phantoms.description


def test_the_blurred_mean_has_lost_all_edges(crowd: Crowd) -> None:
    pool = films(crowd)
    made = from_films("blurred-mean", pool, count=1)
    assert made.images.shape == (1, 56, 56)
    assert (made.recipe.smallest, made.recipe.holds_patient_films) == (120, False)
    assert abs(float(made.images.mean()) - float(pool.grids.mean())) < 2
    mean = pool.grids.mean(0)
    assert np.abs(np.diff(made.images[0].astype(float))).mean() < 0.1 * np.abs(np.diff(mean)).mean()
    with pytest.raises(InvalidInput, match="single"):
        from_films("blurred-mean", pool, count=2)
    with pytest.raises(InvalidInput, match="at least 50"):
        blurred_mean(pool.grids[:49])


def test_phantoms_without_opacities_come_from_the_seed_alone() -> None:
    made = from_phantoms(SMALL, count=3, seed=5)
    assert made.images.shape == (3, 64, 64)
    assert made.images.dtype == np.uint8
    assert (made.recipe.strategy, made.recipe.seed, made.recipe.holds_patient_films) == ("synthetic", 5, False)
    np.testing.assert_array_equal(made.images, from_phantoms(SMALL, count=3, seed=5).images)
    np.testing.assert_array_equal(made.images[:2], normal_phantoms(SMALL, count=2, seed=5))
    assert (made.images[0] != normal_phantoms(SMALL, count=1, seed=6)[0]).any()
    for wrong in ({"count": 0}, {"seed": -1}, {"seed": 1 << 30}):
        with pytest.raises(InvalidInput):
            normal_phantoms(SMALL, **wrong)


def test_films_and_strategies_must_fit(crowd: Crowd) -> None:
    with pytest.raises(InvalidInput, match="takes no films"):
        from_films("synthetic", films(crowd))
    with pytest.raises(InvalidInput, match="labels of shape"):
        Films(crowd(4), np.zeros(3, np.int64), CLASSES, patients=False)
    with pytest.raises(InvalidInput, match="indices of 2 classes"):
        Films(crowd(4), np.full(4, 2, np.int64), CLASSES, patients=False)


def test_the_command_offers_every_strategy() -> None:
    assert {strategy.value for strategy in Strategy} == set(get_args(BackgroundStrategy))
