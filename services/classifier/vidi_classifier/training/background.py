"""DeepSHAP references that show no patient: k-means centroids of training films."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans

from vidi.errors import InvalidInput

SMALL = 28


def centroids(
    grids: npt.NDArray[np.uint8], *, count: int = 8, minimum: int = 50, seed: int = 0
) -> tuple[npt.NDArray[np.uint8], tuple[int, ...]]:
    """Average films that look alike.

    Films are clustered by thumbnails. A cluster of fewer than `minimum` films is never averaged: its films are put
    aside and the rest is clustered again, until every cluster is large enough.

    Parameters
    ----------
    grids
        uint8 (n, height, width).
    count
        Number of references.
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
        When there are too few films.
    """
    thumbnails = _thumbnails(grids)
    kept = np.arange(len(grids))
    while len(kept) >= count * minimum:
        assigned = KMeans(count, n_init=4, random_state=seed).fit_predict(thumbnails[kept])
        sizes = np.bincount(assigned, minlength=count)
        if sizes.min() >= minimum:
            means = [grids[kept[assigned == k]].mean(0, dtype=np.float64) for k in range(count)]
            return np.round(np.stack(means)).astype(np.uint8), tuple(int(n) for n in sizes)
        kept = kept[sizes[assigned] >= minimum]
    raise InvalidInput(f"{len(grids)} films do not give {count} references of at least {minimum} films each")


def _thumbnails(grids: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    n, height, width = grids.shape
    rows, columns = height // SMALL, width // SMALL
    cropped = grids[:, : rows * SMALL, : columns * SMALL].reshape(n, SMALL, rows, SMALL, columns)
    return np.asarray(cropped.mean((2, 4), dtype=np.float32).reshape(n, -1) / 255.0, np.float32)
