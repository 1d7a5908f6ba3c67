"""Temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", 2017)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax


def fit_temperature(logits: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> float:
    """Return the temperature that makes softmax(logits / temperature) most likely, all classes weighing the same.

    Parameters
    ----------
    logits
        (n, classes), of films that the network was not trained on.
    labels
        (n,), class indices.

    Returns
    -------
    A value in 0.05..20.
    """
    z = np.asarray(logits, np.float64)
    rows = np.arange(len(labels))
    weights = 1.0 / np.bincount(labels)[labels]
    weights /= weights.sum()

    def loss(log_temperature: float) -> float:
        return float(-(weights * log_softmax(z / np.exp(log_temperature), axis=1)[rows, labels]).sum())

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x))
