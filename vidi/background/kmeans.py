"""Means of films that look alike: k-means centroids, over all films or class by class. None shows a single film."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vidi.background.thumbnails import thumbnails
from vidi.errors import InvalidInput, PreconditionFailed

#: Fewest films that a reference averages, so that it shows no patient.
MINIMUM = 50


def centroids(
    grids: npt.NDArray[np.uint8], *, count: int = 8, minimum: int = MINIMUM, seed: int = 0
) -> tuple[npt.NDArray[np.uint8], tuple[int, ...]]:
    """Average films that look alike.

    Films are clustered by thumbnails. A cluster of fewer than `minimum` films is never averaged: its films are put
    aside and the rest is clustered again, until every cluster is large enough.

    Parameters
    ----------
    grids
        uint8 (n, height, width).
    count
        Number of references, at least 1.
    minimum
        Fewest films that a reference averages.
    seed
        Of k-means.

    Returns
    -------
    references
        uint8 (count, height, width).
    sizes
        How many films each averages.

    Raises
    ------
    InvalidInput
        When there are too few films, or they have another shape.
    PreconditionFailed
        When scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import KMeans
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError:
        raise PreconditionFailed("k-means references need scikit-learn: install vidi[train]") from None
    points = thumbnails(grids)
    kept = np.arange(len(grids))
    while count >= 1 and len(kept) >= count * max(minimum, 1):
        # Threads of so small a computation mostly wait for each other, ten times as long on a busy machine.
        with threadpool_limits(1):
            assigned = KMeans(count, n_init=4, random_state=seed).fit_predict(points[kept])
        sizes = np.bincount(assigned, minlength=count)
        if sizes.min() >= minimum:
            means = [grids[kept[assigned == k]].mean(0, dtype=np.float64) for k in range(count)]
            return np.round(np.stack(means)).astype(np.uint8), tuple(int(n) for n in sizes)
        kept = kept[sizes[assigned] >= minimum]
    raise InvalidInput(f"{len(grids)} films do not give {count} references of at least {minimum} films each")


def centroids_by_class(
    grids: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    classes: Sequence[str],
    *,
    count: int = 8,
    minimum: int = MINIMUM,
    seed: int = 0,
) -> tuple[npt.NDArray[np.uint8], tuple[int, ...]]:
    """Average films of one class that look alike; every class gets the same number of references.

    Over all films a rare class may have no reference of its own.

    Parameters
    ----------
    grids, minimum, seed
        As in `centroids`.
    labels
        int64 (n,): class index of each film.
    classes
        Class names.
    count
        Number of references of all classes together, a multiple of their number.

    Returns
    -------
    references
        uint8 (count, height, width), class after class.
    sizes
        How many films each averages.

    Raises
    ------
    InvalidInput
        When `count` is no multiple of the number of classes, a class has too few films or none, or films or labels have
        another shape.
    PreconditionFailed
        When scikit-learn is not installed.
    """
    each, rest = divmod(count, len(classes))
    if rest or each < 1:
        raise InvalidInput(
            f"{count} references do not divide among {len(classes)} classes: give a multiple", field="count"
        )
    if labels.shape != grids.shape[:1]:
        raise InvalidInput(f"labels of shape {labels.shape} for {len(grids)} films", field="labels")
    images: list[npt.NDArray[np.uint8]] = []
    sizes: list[int] = []
    for index, name in enumerate(classes):
        members = grids[labels == index]
        if not len(members):
            raise InvalidInput(f"no film is labelled {name!r}", field="labels")
        try:
            means, counted = centroids(members, count=each, minimum=minimum, seed=seed)
        except InvalidInput as error:
            raise InvalidInput(f"class {name!r}: {error.message}", field="count") from None
        images.append(means)
        sizes.extend(counted)
    return np.concatenate(images), tuple(sizes)
