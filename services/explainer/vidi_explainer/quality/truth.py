"""Does the map point to where the opacity is known to be? For phantoms, whose opacities were drawn.

Source: Zhang, Bargal, Lin, Brandt, Shen and Sclaroff, "Top-Down Neural Attention by Excitation Backprop", IJCV 2018,
section 4.1 (the pointing game: a hit when the map's maximum lies on the object, or within 15 pixels of it on films of
some 500 pixels).

A network may rightly use what lies outside the opacity. A low figure says that a map does not outline what was drawn,
not which of the two is wrong; it is worth something only beside chance and beside rival maps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from vidi.errors import InvalidInput
from vidi.imaging.overlay import SIGMA, smooth
from vidi_explainer.quality.outputs import Map

#: Distance in pixels of the model's grid (224 x 224) at which a point still counts as inside: 15 x 224 / 500.
POINTING_TOLERANCE = 7.0
_RANDOM_MAP = 0x7A0D

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TruthScore:
    """One map against the truth.

    Attributes
    ----------
    favorable_inside
        Share of the favorable attribution of the exact map that lies inside the mask, 0..1; None when there is none.
    points_inside
        Whether the largest favorable value of the smoothed map lies inside the mask or within `POINTING_TOLERANCE`
        pixels of it; False when nothing is favorable.
    """

    favorable_inside: float | None
    points_inside: bool


@dataclass(frozen=True)
class TruthAgreement:
    """The map of one output and its rivals against the truth.

    Attributes
    ----------
    map
        The explanation.
    rivals
        Others by name, such as "random".
    """

    map: TruthScore
    rivals: Mapping[str, TruthScore] = field(default_factory=dict)


@dataclass(frozen=True)
class TruthChance:
    """What chance gives.

    Attributes
    ----------
    favorable_inside
        Share of the grid inside the mask, 0..1: what a map without any preference has inside.
    points_inside
        Share of the grid within the tolerance of the mask, 0..1: how often a point thrown at random hits.
    tolerance
        `POINTING_TOLERANCE`, in pixels.
    """

    favorable_inside: float
    points_inside: float
    tolerance: float


def chance(mask: Mask) -> TruthChance:
    """Return what chance gives for a mask (height, width) with at least one pixel inside.

    Raises
    ------
    InvalidInput
        When the mask is empty.
    """
    return TruthChance(float(mask.mean()), float(_near(mask).mean()), POINTING_TOLERANCE)


def against_truth(
    map_: npt.NDArray[np.floating], mask: Mask, rivals: Mapping[str, npt.NDArray[np.floating]]
) -> TruthAgreement:
    """Compare a map and its rivals with the truth.

    Parameters
    ----------
    map_
        (height, width), not smoothed.
    mask
        bool (height, width): where the truth is; at least one pixel.
    rivals
        Maps of the same shape by name: `random_map`, plain gradients, ...

    Raises
    ------
    InvalidInput
        When the mask is empty, or a map has another shape.
    """
    near = _near(mask)
    scores = {name: _score(rival, mask, near) for name, rival in rivals.items()}
    return TruthAgreement(_score(map_, mask, near), scores)


def random_map(shape: tuple[int, ...], seed: int) -> Map:
    """Return a map without meaning: standard normal, float32, of a shape."""
    return np.random.default_rng([_RANDOM_MAP, seed]).standard_normal(shape).astype(np.float32)


def _near(mask: Mask) -> Mask:
    """The mask grown by the tolerance."""
    if not mask.any():
        raise InvalidInput("truth_mask: no pixel of the model's grid lies inside", field="truth_mask")
    distance: npt.NDArray[np.float64] = distance_transform_edt(~mask)
    return distance <= POINTING_TOLERANCE


def _score(map_: npt.NDArray[np.floating], mask: Mask, near: Mask) -> TruthScore:
    if map_.shape != mask.shape:
        raise InvalidInput(f"a map of shape {map_.shape} where the truth has {mask.shape}", field="truth_mask")
    favorable = np.maximum(map_.astype(np.float64), 0.0)
    total = float(favorable.sum())
    smoothed = smooth(map_, SIGMA)
    top = int(smoothed.argmax())
    return TruthScore(
        favorable_inside=float(favorable.sum(where=mask)) / total if total > 0.0 else None,
        points_inside=bool(smoothed.flat[top] > 0.0 and near.flat[top]),
    )
