"""The films, their maps and rivals, and how each scores against the mask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from experiments.phantom_truth.rivals import Gradients
from vidi import tensors
from vidi.bundle import Bundle
from vidi.imaging.overlay import smooth
from vidi.phantoms import PhantomFilm
from vidi_explainer.engine import Engine
from vidi_explainer.quality.curves import mean_reference
from vidi_explainer.quality.outputs import Film, Map
from vidi_explainer.quality.truth import Mask, TruthChance, TruthScore, against_truth, chance, random_map
from vidi_explainer.quality_messages import truth_on_grid
from vidi_explainer.targets import Target, TargetKind

LABEL = "severe"
TARGETS = (Target(), Target(TargetKind.CLASS_VS_MEAN))
MAP, GRADIENT, PRODUCT, RANDOM = "DeepSHAP", "|gradient|", "gradient x difference", "random"
METHODS = (MAP, GRADIENT, PRODUCT, RANDOM)


@dataclass(frozen=True)
class Score:
    """One map against the mask.

    Attributes
    ----------
    exact, smoothed
        Share of the favorable part inside the mask, 0..1; 0 when nothing is favorable.
    hit
        Whether it points inside: see `vidi_explainer.quality.truth.TruthScore`.
    """

    exact: float
    smoothed: float
    hit: bool


@dataclass(frozen=True)
class Judged:
    """A film and all of its scores.

    Attributes
    ----------
    seed, extent
        Of the phantom; see `vidi.phantoms.PhantomFilm`.
    favours
        Name of the class with the largest logit.
    chance
        What chance gives.
    scores
        By what is explained, then by method, in the order of `METHODS`.
    """

    seed: int
    extent: float
    favours: str
    chance: TruthChance
    scores: Mapping[TargetKind, Mapping[str, Score]]


@dataclass(frozen=True)
class Shown:
    """What a contact sheet shows of a film: all on the model's grid, (height, width); the map not smoothed."""

    grid: Film
    mask: Mask
    map: Map


def judge(
    bundle: Bundle, engine: Engine, phantoms: Iterable[PhantomFilm], *, seed: int
) -> Iterator[tuple[Judged, Shown]]:
    """Explain phantoms and compare the maps of class severe with their masks.

    Parameters
    ----------
    bundle
        A model with the class `LABEL`.
    engine
        Explains it.
    phantoms
        Films with opacities.
    seed
        Of the random maps; the next film takes the next one.

    Returns
    -------
    For each film its scores, and what can be shown of it: the map of the first of `TARGETS`.

    Raises
    ------
    ValueError
        When the model lacks the class.
    """
    index = bundle.class_names.index(LABEL)
    gradients, reference = Gradients(bundle), mean_reference(bundle.background())
    for number, phantom in enumerate(phantoms):
        grey = phantom.grey()
        grid, _ = bundle.preprocessing.to_grid(grey)
        mask = truth_on_grid(tensors.encode(phantom.opacity_mask.astype(np.uint8)), grey.shape, bundle.preprocessing)
        noise = random_map(mask.shape, seed + number)
        scores, maps = {}, []
        for target in TARGETS:
            found = engine.explain(grid, target)
            maps.append(found.outputs[index].map)
            gradient = gradients.of(grid, target.plan(bundle.class_names).weights[index])
            rivals = (np.abs(gradient), gradient * (grid - reference), noise)
            scores[target.kind] = scored(mask, dict(zip(METHODS, (maps[-1], *rivals), strict=True)))
        favours = bundle.class_names[int(found.logits.argmax())]
        judged = Judged(phantom.spec.seed, phantom.extent, favours, chance(mask), scores)
        yield judged, Shown(grid, mask, maps[0])


def scored(mask: Mask, maps: Mapping[str, Map]) -> dict[str, Score]:
    """Score maps by method, `MAP` among them, against a mask with at least one pixel inside."""
    exact, smoothed = _agreement(mask, maps), _agreement(mask, {name: smooth(map_) for name, map_ in maps.items()})
    return {
        name: Score(
            exact[name].favorable_inside or 0.0, smoothed[name].favorable_inside or 0.0, exact[name].points_inside
        )
        for name in maps
    }


def _agreement(mask: Mask, maps: Mapping[str, Map]) -> dict[str, TruthScore]:
    found = against_truth(maps[MAP], mask, {name: map_ for name, map_ in maps.items() if name != MAP})
    return {MAP: found.map, **found.rivals}
