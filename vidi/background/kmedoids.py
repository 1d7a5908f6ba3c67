"""Films that stand for the films around them: k-medoids. They are films themselves, so for a site's own bundles only.

FasterPAM: E. Schubert and P. Rousseeuw, "Fast and eager k-medoids clustering: O(k) runtime improvement of the PAM,
CLARA, and CLARANS algorithms", Information Systems 101, 2021.
"""

from __future__ import annotations

from itertools import cycle

import numpy as np
import numpy.typing as npt

from vidi.background.thumbnails import thumbnails
from vidi.errors import InvalidInput

#: Most films whose distances are held in memory (268 MB); of more, this many are drawn.
LARGEST = 8192
STARTS = 4
# A swap that gains less than this share is rounding noise, and could be undone and repeated for ever.
_GAIN = 1e-9

Indices = npt.NDArray[np.int64]


def medoids(grids: npt.NDArray[np.uint8], *, count: int = 8, seed: int = 0) -> Indices:
    """Choose the films that are nearest to all others, by the Euclidean distance of thumbnails.

    Parameters
    ----------
    grids
        uint8 (n, height, width). Of more than `LARGEST` films, that many are drawn.
    count
        Number of medoids, 1 to n.
    seed
        Of the starts, the order in which films are tried, and what is drawn.

    Returns
    -------
    int64 (count,): indices of the films, ascending.

    Raises
    ------
    InvalidInput
        When there are too few films, or they have another shape.
    """
    if not 1 <= count <= min(len(grids), LARGEST):
        raise InvalidInput(f"{len(grids)} films do not give {count} medoids", field="count")
    rng = np.random.default_rng([0x3ED0, seed])
    drawn = np.arange(len(grids)) if len(grids) <= LARGEST else rng.choice(len(grids), LARGEST, replace=False)
    distances = _distances(thumbnails(grids[drawn]))
    found = [faster_pam(distances, count, rng) for _ in range(STARTS)]
    best = min(found, key=lambda chosen: total_distance(distances, chosen))
    return np.sort(drawn[best]).astype(np.int64)


def faster_pam(distances: npt.NDArray[np.floating], count: int, rng: np.random.Generator) -> Indices:
    """Swap medoids for better films, from a random start until no single swap lowers the sum of distances.

    Every film is tried in turn in place of every medoid at once, and the best swap that gains is made there and then.

    Parameters
    ----------
    distances
        (n, n), symmetric, zero on the diagonal.
    count
        Number of medoids, 1 to n.
    rng
        Draws the start and the order.

    Returns
    -------
    int64 (count,).
    """
    n = len(distances)
    chosen = rng.choice(n, count, replace=False)
    order = rng.permutation(n)
    nearest, first, second = _nearest(distances, chosen)
    idle = 0
    for candidate in cycle(order):
        change = _changes(distances[candidate], nearest, first, second, count)
        out = int(change.argmin())
        if change[out] < -_GAIN * first.sum():
            chosen[out] = candidate
            nearest, first, second = _nearest(distances, chosen)
            idle = 0
        elif (idle := idle + 1) >= n:
            break
    return chosen.astype(np.int64)


def total_distance(distances: npt.NDArray[np.floating], chosen: Indices) -> float:
    """Return the sum over all films of the distance to the nearest medoid."""
    return float(distances[chosen].min(0).sum(dtype=np.float64))


def _changes(
    reach: npt.NDArray[np.floating],
    nearest: Indices,
    first: npt.NDArray[np.float64],
    second: npt.NDArray[np.float64],
    count: int,
) -> npt.NDArray[np.float64]:
    """Change of the sum of distances if a film at distances `reach` took the place of each medoid: (count,)."""
    # A film nearer to the candidate than to its medoid follows it, whichever medoid goes. Any other film moves only if
    # its own medoid goes: to the candidate or to its second-nearest medoid.
    gain = np.minimum(reach - first, 0.0)
    moved = np.minimum(np.maximum(reach, first), second) - first
    return np.asarray(gain.sum() + np.bincount(nearest, moved, minlength=count), np.float64)


def _nearest(
    distances: npt.NDArray[np.floating], chosen: Indices
) -> tuple[Indices, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Each film's nearest medoid (position in `chosen`), the distance to it, and to the second (infinite if none)."""
    to_chosen = distances[chosen].astype(np.float64)
    nearest = to_chosen.argmin(0)
    films = np.arange(to_chosen.shape[1])
    first = to_chosen[nearest, films]
    to_chosen[nearest, films] = np.inf
    return nearest, first, to_chosen.min(0)


def _distances(points: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Euclidean distances, float32 (n, n)."""
    centred = points - points.mean(0)
    squares = (centred**2).sum(1, dtype=np.float32)
    # In place: for thousands of films this matrix is all that counts.
    distances: npt.NDArray[np.float32] = centred @ centred.T
    distances *= -2.0
    distances += squares[:, None]
    distances += squares
    np.maximum(distances, 0.0, out=distances)
    np.sqrt(distances, out=distances)
    np.fill_diagonal(distances, 0.0)
    return distances
