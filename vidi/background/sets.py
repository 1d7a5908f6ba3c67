"""A set of references with what a bundle says about it: a recipe for programs and a line for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidi.background.kmeans import MINIMUM, centroids, centroids_by_class
from vidi.background.kmedoids import medoids
from vidi.background.synthetic import blurred_mean, normal_phantoms
from vidi.errors import InvalidInput
from vidi.imaging.preprocess import Preprocessing
from vidi.manifest import BackgroundRecipe, BackgroundStrategy


@dataclass(frozen=True)
class Films:
    """Films that a model was trained on.

    Attributes
    ----------
    grids
        uint8 (n, height, width), grey, on the model's grid.
    labels
        int64 (n,): class index of each film.
    classes
        The model's class names.
    patients
        Whether they are films of patients, not phantoms.
    """

    grids: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    patients: bool

    def __post_init__(self) -> None:
        if self.labels.shape != self.grids.shape[:1]:
            raise InvalidInput(f"labels of shape {self.labels.shape} for {len(self.grids)} films", field="labels")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise InvalidInput(f"labels are indices of {len(self.classes)} classes", field="labels")

    @property
    def noun(self) -> str:
        """What they are called in a line for people."""
        return "training films" if self.patients else "training phantoms"


@dataclass(frozen=True)
class References:
    """A set of references.

    Attributes
    ----------
    images
        uint8 (count, height, width).
    recipe
        How they were made, for the manifest's `background_recipe`.
    description
        The same for people, for the manifest's `background_description`.
    """

    images: npt.NDArray[np.uint8]
    recipe: BackgroundRecipe
    description: str

    @property
    def fields(self) -> dict[str, object]:
        """The manifest's fields that speak of the references."""
        return {"background_recipe": self.recipe, "background_description": self.description}


def from_films(
    strategy: BackgroundStrategy, films: Films, *, count: int = 8, minimum: int = MINIMUM, seed: int = 0
) -> References:
    """Make references from training films.

    Parameters
    ----------
    strategy
        Any but "synthetic".
    films
        The films.
    count
        Number of references; 1 for "blurred-mean", a multiple of the number of classes for "kmeans-by-class".
    minimum
        Fewest films that a mean averages.
    seed
        Of the strategy's random choices.

    Raises
    ------
    InvalidInput
        When the films are too few for so many references, a class has none, or count or strategy does not fit.
    PreconditionFailed
        When scikit-learn is needed and not installed.
    """
    classes: tuple[str, ...] = ()
    if strategy == "kmeans":
        images, sizes = centroids(films.grids, count=count, minimum=minimum, seed=seed)
        what = f"{count} k-means centroids of {films.noun}, {_averages(sizes)}"
    elif strategy == "kmeans-by-class":
        images, sizes = centroids_by_class(
            films.grids, films.labels, films.classes, count=count, minimum=minimum, seed=seed
        )
        each = count // len(films.classes)
        classes = tuple(name for name in films.classes for _ in range(each))
        what = f"{count} k-means centroids of {films.noun}, {each} for each class, {_averages(sizes)}"
    elif strategy == "kmedoids":
        chosen = medoids(films.grids, count=count, seed=seed)
        images, sizes = films.grids[chosen], (1,) * count
        classes = tuple(films.classes[label] for label in films.labels[chosen])
        what = f"{count} k-medoids of {films.noun}"
    elif strategy == "blurred-mean":
        if count != 1:
            raise InvalidInput("the blurred mean is a single reference: count is 1", field="count")
        images, sizes = blurred_mean(films.grids, minimum=minimum), (len(films.grids),)
        what = f"the blurred mean of {sizes[0]} {films.noun}"
    else:
        raise InvalidInput(f"strategy {strategy!r} takes no films", field="strategy")
    shows_patients = films.patients and min(sizes) < MINIMUM
    if shows_patients:
        what += "; THEY SHOW PATIENTS: for the site that holds the films, and nobody else"
    elif films.patients:
        what += "; none shows a patient"
    recipe = BackgroundRecipe(
        strategy=strategy,
        count=count,
        seed=seed,
        smallest=min(sizes),
        classes=classes,
        holds_patient_films=shows_patients,
    )
    return References(images, recipe, what)


def from_phantoms(preprocessing: Preprocessing, *, count: int = 8, seed: int = 0) -> References:
    """Make references of phantoms without opacities (strategy "synthetic").

    Parameters
    ----------
    preprocessing
        Of the model.
    count, seed
        See `vidi.background.synthetic.normal_phantoms`.

    Raises
    ------
    InvalidInput
        When count or seed is out of range.
    """
    images = normal_phantoms(preprocessing, count=count, seed=seed)
    recipe = BackgroundRecipe(strategy="synthetic", count=count, seed=seed, smallest=1, holds_patient_films=False)
    return References(images, recipe, f"{count} synthetic films without opacities (vidi.phantoms, seed {seed})")


def _averages(sizes: Sequence[int]) -> str:
    return f"each the average of {min(sizes)} to {max(sizes)}"
