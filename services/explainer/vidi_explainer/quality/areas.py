"""Where a map stands out of the noise: the smallest area that holds half, and four fifths, of what spoke for a class.

Source: the threshold rule of ViDi's safety requirements; a highest-density region (Hyndman, "Computing and Graphing
Highest Density Regions", The American Statistician, 1996) of the favorable part of the displayed map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidi.imaging.overlay import SIGMA, smooth

MASS_SHARES = (0.5, 0.8)


@dataclass(frozen=True)
class Area:
    """The smallest area that holds a share of the favorable mass above the noise floor.

    Attributes
    ----------
    mass_share
        The share that is held, 0..1.
    pixels
        Its size in pixels of the model's grid.
    grid_share
        Its size as a share of the grid, 0..1.
    level
        Smallest value of the smoothed map inside, in units of the output per pixel: where a contour belongs.
    """

    mass_share: float
    pixels: int
    grid_share: float
    level: float


@dataclass(frozen=True)
class Areas:
    """Where the smoothed map of one output stands out.

    Attributes
    ----------
    stands_out
        Whether any pixel lies above the noise floor. If not, no region stands out, and there are no areas.
    mass_above_floor
        Share of the favorable mass of the smoothed map that lies in pixels above the floor, 0..1; None when there is
        no favorable mass.
    areas
        One a share of `MASS_SHARES`.
    """

    stands_out: bool
    mass_above_floor: float | None
    areas: tuple[Area, ...]


def areas(map_: npt.NDArray[np.floating], floor: float) -> Areas:
    """Measure the areas of a map.

    Parameters
    ----------
    map_
        (height, width), not smoothed.
    floor
        Noise floor of smoothed maps, >= 0, in the map's units.
    """
    smoothed = smooth(map_, SIGMA).astype(np.float64)
    favorable = float(smoothed.sum(where=smoothed > 0.0))
    above = np.sort(smoothed[smoothed > max(floor, 0.0)])[::-1]
    held = np.cumsum(above)
    found = []
    for share in MASS_SHARES if above.size else ():
        # The last sum's rounding must not ask for one pixel more than there is.
        pixels = int(np.searchsorted(held, share * held[-1] * (1.0 - 1e-12))) + 1
        found.append(Area(share, pixels, pixels / smoothed.size, float(above[pixels - 1])))
    return Areas(
        stands_out=bool(above.size),
        mass_above_floor=float(above.sum()) / favorable if favorable > 0.0 else None,
        areas=tuple(found),
    )
