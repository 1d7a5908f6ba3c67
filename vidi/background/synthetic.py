"""References that no single film went into: phantoms, and the blurred mean of all films."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from vidi.background.kmeans import MINIMUM
from vidi.errors import InvalidInput
from vidi.imaging.preprocess import Preprocessing
from vidi.phantoms import cohort

#: Standard deviation of the blur as a share of a side: what is left says how bright a film is and where its body lies.
BLUR = 1 / 16
# Cohorts of references lie apart from those that models learn from and are measured on: their seeds are small numbers.
_FIRST_COHORT = 1 << 24
_COHORTS = 1 << 30


def normal_phantoms(preprocessing: Preprocessing, *, count: int = 8, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Draw phantoms without opacities on a model's grid; fewer are the first ones of more.

    Parameters
    ----------
    preprocessing
        Of the model.
    count
        Number of references, at least 1.
    seed
        Below 2**30; sets of different seeds share no phantom.

    Returns
    -------
    uint8 (count, height, width).

    Raises
    ------
    InvalidInput
        When count or seed is out of range.
    """
    if count < 1 or not 0 <= seed < _COHORTS:
        raise InvalidInput("synthetic references are at least 1, with a seed of 0 to 2**30 - 1", field="count")
    films = cohort(count, _FIRST_COHORT + seed, {"normal": 1.0})
    grids = [np.round(preprocessing.to_grid(film.grey())[0] * 255.0).astype(np.uint8) for film in films]
    return np.stack(grids)


def blurred_mean(grids: npt.NDArray[np.uint8], *, minimum: int = MINIMUM) -> npt.NDArray[np.uint8]:
    """Return the mean of all films, blurred: uint8 (1, height, width).

    Parameters
    ----------
    grids
        uint8 (n, height, width).
    minimum
        Fewest films to average.

    Raises
    ------
    InvalidInput
        When there are too few films, or they have another shape.
    """
    if grids.dtype != np.uint8 or grids.ndim != 3:
        raise InvalidInput("films are uint8 (n, height, width)", field="grids")
    if len(grids) < max(minimum, 1):
        raise InvalidInput(f"{len(grids)} films do not give a mean of at least {minimum}", field="grids")
    mean = grids.mean(0, dtype=np.float64)
    blurred = gaussian_filter(mean, [BLUR * side for side in mean.shape], mode="nearest")
    return np.asarray(np.round(blurred)[None], np.uint8)
