"""Whether the references agree about what spoke for an output and what against it.

A DeepSHAP map is the mean of one map a reference (Lundberg and Lee, "A Unified Approach to Interpreting Model
Predictions", 2017). Where single references give the other sign, the mean hides that the answer depends on what the
film is compared with.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def disagreement(per_reference: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return for each pixel the share of references whose own map has the other sign than the mean map.

    Parameters
    ----------
    per_reference
        (references, height, width): each reference's map.

    Returns
    -------
    float64 (height, width) in 0..1. A reference that attributes nothing to a pixel does not disagree there.
    """
    signs = np.sign(per_reference)
    mean_sign = np.sign(per_reference.mean(axis=0, dtype=np.float64))
    share: npt.NDArray[np.float64] = (signs * mean_sign < 0).mean(axis=0)
    return share


def mean_disagreement(per_reference: npt.NDArray[np.floating]) -> float | None:
    """Return the disagreement of a map: the mean over its pixels, weighted by |mean map|.

    Parameters
    ----------
    per_reference
        (references, height, width): each reference's map.

    Returns
    -------
    0 when all references agree, 0.5 for the toss of a coin; None for a map that is zero everywhere.
    """
    weights = np.abs(per_reference.mean(axis=0, dtype=np.float64))
    total = float(weights.sum())
    return float((disagreement(per_reference) * weights).sum() / total) if total > 0.0 else None
