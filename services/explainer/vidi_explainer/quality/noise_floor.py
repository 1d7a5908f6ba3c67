"""How high a network that learned nothing heaps up the same amount of attribution: lower than that says nothing.

Source: Adebayo, Gilmer, Muelly, Goodfellow, Hardt and Kim, "Sanity Checks for Saliency Maps", NeurIPS 2018 (model
parameter randomisation test). A map that looks the same after the weights are shuffled shows the film, not the model.

Such a network's outputs and maps have a size of their own, so its maps are made as large as the model's first, each to
the total |attribution| of the map that it is compared with, both smoothed. The floor then asks for the shape alone: is
the map more concentrated than noise? Two other measures of size do not serve:

- *The change of the output* is what remains when favorable and glum attribution cancel. Where a film's outputs come out
  near the references' by such a balance, the floor sinks and nearly everything stands out; on a clear film hardly
  anything does.
- *Total |attribution| of the exact map* counts what alternates from pixel to pixel and cancels in the smoothing: in
  shuffled networks far more than in trained ones. Noise of that size is a fraction of the map on the display, and a map
  that is spread as evenly as noise would pass it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidi.errors import PreconditionFailed
from vidi.imaging.overlay import SIGMA, smooth
from vidi_explainer.attribution import SMALLEST_CHANGE
from vidi_explainer.engine import Engine
from vidi_explainer.quality.outputs import Film, Map, never
from vidi_explainer.targets import Target

#: One pixel in a hundred of a network that learned nothing lies above its floor.
PERCENTILE = 99.0
#: Networks that are tried: an odd number, of which the middle one counts, so that one that is odd itself does not.
NETWORKS = 3

#: Opens an engine whose network has the same shape and the same weights, shuffled within each tensor by a seed.
Randomised = Callable[[int], Engine]


@dataclass(frozen=True)
class NoiseFloor:
    """Height of the noise in the smoothed map of one output.

    Attributes
    ----------
    value
        Median of `by_seed`, in units of the output per pixel.
    percentile
        Percentile of |smoothed map| over the pixels that is a network's floor.
    seeds
        Seeds of the networks that reacted to the film.
    by_seed
        Each of their floors.
    """

    value: float
    percentile: float
    seeds: tuple[int, ...]
    by_seed: tuple[float, ...]


def network_floors(
    maps: Sequence[Map],
    randomised: Engine,
    grid: Film,
    target: Target,
    *,
    cancelled: Callable[[], bool] = never,
) -> tuple[float, ...] | None:
    """Measure the floor that one randomised network gives for each of a film's maps.

    Parameters
    ----------
    maps
        The film's maps, (height, width) each, not smoothed, in the order of the target's outputs.
    randomised
        Engine of the network.
    grid
        The film, float32 (height, width) in 0..1.
    target
        What is explained, as in `maps`.
    cancelled
        As in `Engine.explain`.

    Returns
    -------
    For each output the percentile `PERCENTILE` of the network's |smoothed map|, once that sums to what |smoothed map|
    of the model sums to; in units of the output per pixel. None when the network does not react to the film: it would
    be blown up to any height.
    """
    others = randomised.explain(grid, target, cancelled=cancelled).outputs
    floors = []
    for map_, other in zip(maps, others, strict=True):
        noise = _magnitude(other.map)
        total = float(noise.sum())
        if total <= SMALLEST_CHANGE:
            return None
        floors.append(float(np.percentile(noise, PERCENTILE)) * float(_magnitude(map_).sum()) / total)
    return tuple(floors)


def combined(floors: Mapping[int, tuple[float, ...] | None]) -> tuple[NoiseFloor, ...]:
    """Combine the floors of networks, by their seeds, to one an output: see `network_floors`.

    Raises
    ------
    PreconditionFailed
        When no network reacted to the film: there is nothing to compare with.
    """
    found = {seed: by_output for seed, by_output in floors.items() if by_output is not None}
    if not found:
        raise PreconditionFailed(
            "no network with randomised weights reacts to this film: there is no noise floor", reason="NO_NOISE_FLOOR"
        )
    return tuple(
        NoiseFloor(float(np.median(by_seed)), PERCENTILE, tuple(found), by_seed)
        for by_seed in zip(*found.values(), strict=True)
    )


def _magnitude(map_: Map) -> npt.NDArray[np.float64]:
    return np.abs(smooth(map_, SIGMA).astype(np.float64))
