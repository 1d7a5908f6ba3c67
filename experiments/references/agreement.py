"""How alike two explanations of one film are: ranks of pixels and cells, and where the favorable area lies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from vidi.imaging.overlay import smooth
from vidi_explainer.attribution import Attribution, pool
from vidi_explainer.quality.areas import MASS_SHARES, areas

#: Share of the favorable mass that the compared areas hold.
SHARE = MASS_SHARES[0]


@dataclass(frozen=True)
class Explained:
    """What is compared of one film's explanation.

    Attributes
    ----------
    maps
        float32 (classes, height, width), smoothed as they are displayed.
    vectors
        float32 (classes, 196): the maps' sums over 14 x 14 cells.
    area
        bool (height, width): the smallest area that holds half of the favorable mass of the top class's displayed map.
    residuals
        Additivity residual of each class.
    """

    maps: npt.NDArray[np.float32]
    vectors: npt.NDArray[np.float32]
    area: npt.NDArray[np.bool_]
    residuals: tuple[float, ...]


@dataclass(frozen=True)
class Spread:
    """Median and worst of a measure over films and classes."""

    median: float
    worst: float


@dataclass(frozen=True)
class Agreement:
    """How alike two sets of explanations are.

    Attributes
    ----------
    maps
        Spearman's rank correlation of the displayed maps, over films and classes.
    vectors
        The same of the attribution vectors.
    area
        Overlap (Dice) of the top class's favorable areas, 0..1, over films.
    """

    maps: Spread
    vectors: Spread
    area: Spread


def explained(attribution: Attribution) -> Explained:
    """Take from an explanation of all classes what is compared."""
    outputs = attribution.outputs
    maps = np.stack([smooth(output.map) for output in outputs])
    top = int(attribution.logits.argmax())
    level = next((a.level for a in areas(outputs[top].map, 0.0).areas if a.mass_share == SHARE), np.inf)
    return Explained(
        maps,
        np.stack([pool(output.map).ravel() for output in outputs]),
        maps[top] >= level,
        tuple(output.additivity_residual for output in outputs),
    )


def agreement(some: Sequence[Explained], others: Sequence[Explained]) -> Agreement:
    """Compare explanations of the same films, in the same order.

    Raises
    ------
    ValueError
        When there are none, or not equally many.
    """
    pairs = list(zip(some, others, strict=True))
    maps = [rank_correlation(x, y) for a, b in pairs for x, y in zip(a.maps, b.maps, strict=True)]
    vectors = [rank_correlation(x, y) for a, b in pairs for x, y in zip(a.vectors, b.vectors, strict=True)]
    return Agreement(spread(maps), spread(vectors), spread([overlap(a.area, b.area) for a, b in pairs]))


def spread(values: Sequence[float], worst: Callable[[Sequence[float]], float] = min) -> Spread:
    """Return the median and the worst value: the smallest, or what `worst` takes (ValueError when there is none)."""
    return Spread(float(np.median(values)), float(worst(values)))


def rank_correlation(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> float:
    """Return Spearman's rank correlation, -1..1; 0 where an array is constant and ranks nothing."""
    if np.ptp(a) == 0.0 or np.ptp(b) == 0.0:
        return 0.0
    return float(spearmanr(a.ravel(), b.ravel()).statistic)


def overlap(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    """Return Dice's coefficient, 0..1; two empty areas are equal."""
    size = int(a.sum()) + int(b.sum())
    return 2.0 * int((a & b).sum()) / size if size else 1.0
