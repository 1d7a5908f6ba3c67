"""Whether the map follows the film when it changes in a way that no reader would call another film.

Source: Alvarez-Melis and Jaakkola, "On the Robustness of Interpretability Methods", 2018 (explanations of nearly equal
inputs should be nearly equal); rank correlation of maps as in Adebayo et al., "Sanity Checks for Saliency Maps", 2018.

The film on the model's grid is moved by 2 pixels, turned by 2 degrees, or sent through a JPEG file; its map is moved
back and compared with the film's own, on the area that both show.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import map_coordinates
from scipy.stats import rankdata

from vidi.imaging.geometry import Affine
from vidi.imaging.overlay import SIGMA, smooth
from vidi_explainer.engine import Engine
from vidi_explainer.quality.outputs import Film, Map, never
from vidi_explainer.targets import Target

SHIFT_PIXELS = 2
TURN_DEGREES = 2.0
JPEG_QUALITY = 75
#: Standard deviations in pixels that maps are compared at: as they are, and as they are displayed.
SIGMAS = (0.0, SIGMA)


class Perturbation(StrEnum):
    """Ways in which a film is changed."""

    SHIFT = "shift"
    ROTATION = "rotation"
    JPEG = "jpeg"


@dataclass(frozen=True)
class Repeatability:
    """How alike two maps are.

    Attributes
    ----------
    perturbation
        What was done to the film.
    sigma
        Standard deviation of the maps' smoothing in pixels; 0: none.
    rank_correlation
        Spearman's rank correlation over the pixels of the common area, -1..1; None when a map is constant there.
    cosine
        Cosine of the angle between the maps there, -1..1; None when a map is zero there.
    """

    perturbation: Perturbation
    sigma: float
    rank_correlation: float | None
    cosine: float | None


def repeatability(
    engine: Engine,
    grid: Film,
    target: Target,
    maps: Sequence[Map],
    perturbation: Perturbation,
    *,
    cancelled: Callable[[], bool] = never,
) -> tuple[tuple[Repeatability, ...], ...]:
    """Compare the maps of a film with those of the film after a perturbation.

    Parameters
    ----------
    engine
        Explains both.
    grid
        The film, float32 (height, width) in 0..1.
    target
        What is explained.
    maps
        The film's maps, (height, width) each, in the order of the target's outputs.
    perturbation
        What is done to the film.
    cancelled
        As in `Engine.explain`.

    Returns
    -------
    For each output one comparison a smoothing, in the order of `SIGMAS`.
    """
    changed, back, common = perturbed(grid, perturbation)
    others = engine.explain(changed, target, cancelled=cancelled).outputs
    found = []
    for map_, other in zip(maps, others, strict=True):
        # What only one of them shows is taken away before smoothing, which would carry it into the common area.
        mine, theirs = np.where(common, map_, 0.0), np.where(common, back(other.map), 0.0)
        pairs = [(sigma, smooth(mine, sigma)[common], smooth(theirs, sigma)[common]) for sigma in SIGMAS]
        found.append(tuple(Repeatability(perturbation, s, _rank_correlation(a, b), cosine(a, b)) for s, a, b in pairs))
    return tuple(found)


def perturbed(
    grid: Film, perturbation: Perturbation
) -> tuple[Film, Callable[[npt.NDArray[np.floating]], npt.NDArray[np.float64]], npt.NDArray[np.bool_]]:
    """Change a film.

    Parameters
    ----------
    grid
        float32 (height, width) in 0..1.
    perturbation
        What is done. What a move uncovers is filled with the nearest pixel of the film.

    Returns
    -------
    changed
        The changed film, float32 of the same shape.
    back
        Brings a map of the changed film back to the film's pixels.
    common
        bool (height, width): the film's pixels that the changed film shows.
    """
    if perturbation is Perturbation.JPEG:
        return _through_jpeg(grid), lambda map_: map_.astype(np.float64), np.ones(grid.shape, bool)
    height, width = grid.shape
    move = (
        Affine(c=float(SHIFT_PIXELS))
        if perturbation is Perturbation.SHIFT
        else _turn(TURN_DEGREES, (width - 1) / 2, (height - 1) / 2)
    )
    column, row = _at(move, grid.shape)
    slack = 1e-9  # of rounding in a turn
    common = (row >= -slack) & (row <= height - 1 + slack) & (column >= -slack) & (column <= width - 1 + slack)
    changed = _sampled(grid, *_at(move.inverse(), grid.shape)).astype(np.float32)
    return changed, lambda map_: _sampled(map_, column, row), common


def cosine(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> float | None:
    """Return the cosine of the angle between two arrays of equal shape; None when one is zero."""
    x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(np.clip(x @ y / norm, -1.0, 1.0)) if norm > 0.0 else None


def _rank_correlation(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> float | None:
    """Spearman's rank correlation, equal values sharing their mean rank: the cosine of the centred ranks."""
    x, y = (rankdata(values) for values in (a, b))
    return cosine(x - x.mean(), y - y.mean())


def _through_jpeg(grid: Film) -> Film:
    file = io.BytesIO()
    Image.fromarray(np.rint(grid * 255.0).astype(np.uint8)).save(file, "JPEG", quality=JPEG_QUALITY)
    with Image.open(file) as image:
        return np.asarray(image, np.float32) / np.float32(255)


def _turn(degrees: float, x: float, y: float) -> Affine:
    """Turn about a point (column, row)."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return Affine(c, -s, x - c * x + s * y, s, c, y - s * x - c * y)


def _at(transform: Affine, shape: tuple[int, ...]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Columns and rows that a transform sends the pixels of a grid to."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float64)
    t = transform
    return t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f


def _sampled(
    values: npt.NDArray[np.floating], column: npt.NDArray[np.float64], row: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    sampled: npt.NDArray[np.float64] = map_coordinates(
        values.astype(np.float64), (row, column), order=1, mode="nearest"
    )
    return sampled
