"""What a network shows that learned nothing: below that, a map says nothing either.

Source: Adebayo, Gilmer, Muelly, Goodfellow, Hardt and Kim, "Sanity Checks for Saliency Maps", NeurIPS 2018 (model
parameter randomisation test). A map that looks the same after the weights are shuffled shows the film, not the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from vidi.errors import PreconditionFailed
from vidi.imaging.overlay import SIGMA, smooth
from vidi_explainer.attribution import SMALLEST_CHANGE, Attribution
from vidi_explainer.engine import Engine
from vidi_explainer.quality.outputs import Film, never
from vidi_explainer.targets import Target

#: One pixel in a hundred of a network that learned nothing lies above its floor.
PERCENTILE = 99.0
#: Networks that are tried: an odd number, of which the middle one counts, so that one that is odd itself does not.
NETWORKS = 3

#: Opens an engine whose network has the same shape and the same weights, shuffled within each tensor by a seed.
Randomised = Callable[[int], Engine]


@dataclass(frozen=True)
class NoiseFloor:
    """Height of the noise in the smoothed maps of one film.

    Attributes
    ----------
    value
        Median of `by_seed`, in units of the output per pixel.
    percentile
        Percentile of |smoothed map| over all pixels and outputs that is a network's floor.
    seeds
        Seeds of the networks that reacted to the film.
    by_seed
        Each of their floors.
    """

    value: float
    percentile: float
    seeds: tuple[int, ...]
    by_seed: tuple[float, ...]


def network_floor(
    attribution: Attribution,
    randomised: Engine,
    grid: Film,
    target: Target,
    *,
    cancelled: Callable[[], bool] = never,
) -> float | None:
    """Measure the floor that one randomised network gives for a film's maps.

    Its outputs have another size than the model's. Its maps are multiplied so that the mean over the outputs of
    |output - base value| is the model's: both then explain changes of the same size.

    Parameters
    ----------
    attribution
        The model's explanation of the film.
    randomised
        Engine of the network.
    grid
        The film, float32 (height, width) in 0..1.
    target
        What is explained, as in `attribution`.
    cancelled
        As in `Engine.explain`.

    Returns
    -------
    The percentile `PERCENTILE` of |smoothed map|, in units of the output per pixel; None when the network does not
    react to the film: it would be blown up to any height.
    """
    other = randomised.explain(grid, target, cancelled=cancelled)
    reaction = mean_change(other)
    if reaction <= SMALLEST_CHANGE:
        return None
    magnitude = np.abs(np.stack([smooth(output.map, SIGMA) for output in other.outputs])).astype(np.float64)
    return float(np.percentile(magnitude, PERCENTILE)) * mean_change(attribution) / reaction


def combined(floors: Mapping[int, float | None]) -> NoiseFloor:
    """Combine the floors of networks, by their seeds: see `network_floor`.

    Raises
    ------
    PreconditionFailed
        When no network reacted to the film: there is nothing to compare with.
    """
    found = {seed: floor for seed, floor in floors.items() if floor is not None}
    if not found:
        raise PreconditionFailed(
            "no network with randomised weights reacts to this film: there is no noise floor", reason="NO_NOISE_FLOOR"
        )
    return NoiseFloor(float(np.median(list(found.values()))), PERCENTILE, tuple(found), tuple(found.values()))


def mean_change(attribution: Attribution) -> float:
    """Return the mean over the outputs of |output - base value|."""
    return float(np.mean([abs(output.output - output.base_value) for output in attribution.outputs]))
