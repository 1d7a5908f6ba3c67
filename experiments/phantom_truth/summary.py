"""From the scores of many films to medians, hits, and differences of pairs, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from experiments.phantom_truth.run import MAP, METHODS, Judged
from vidi_explainer.targets import TargetKind

RESAMPLES = 10_000
CHANCE = "chance"
_BOOTSTRAP = 0xB007

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """One method over all films.

    Attributes
    ----------
    method
        One of `METHODS`, or `CHANCE`.
    exact, smoothed
        Median share of the favorable part inside, 0..1; of chance the mask's share of the grid.
    hits
        Share of films whose map points inside, 0..1; of chance what a random point gives, without an interval.
    """

    method: str
    exact: Interval
    smoothed: Interval
    hits: Interval


@dataclass(frozen=True)
class Difference:
    """The map against a rival, film by film.

    Attributes
    ----------
    rival
        One of `METHODS`, or `CHANCE`.
    exact, smoothed
        Median of the map's share less the rival's.
    exact_higher, smoothed_higher
        Films where the map's share is the larger one.
    hit_alone, rival_alone
        Films where only the map, or only the rival, points inside; None of chance, which points nowhere.
    """

    rival: str
    exact: Interval
    smoothed: Interval
    exact_higher: int
    smoothed_higher: int
    hit_alone: int | None
    rival_alone: int | None


@dataclass(frozen=True)
class Summary:
    """All methods for one explained output, and the map against each of the others."""

    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]


def summarise(films: Sequence[Judged], kind: TargetKind, *, seed: int, resamples: int = RESAMPLES) -> Summary:
    """Summarise the scores of films, at least one.

    Parameters
    ----------
    films
        As judged.
    kind
        Which of their explained outputs.
    seed
        Of the bootstrap.
    resamples
        Of the bootstrap.
    """
    count = len(films)
    picks = np.random.default_rng([_BOOTSTRAP, seed]).integers(count, size=(resamples, count))
    scores = {method: [film.scores[kind][method] for film in films] for method in METHODS}
    area = np.array([film.chance.favorable_inside for film in films])
    exact = {m: np.array([s.exact for s in found]) for m, found in scores.items()} | {CHANCE: area}
    smoothed = {m: np.array([s.smoothed for s in found]) for m, found in scores.items()} | {CHANCE: area}
    hits = {m: np.array([s.hit for s in found]) for m, found in scores.items()}
    thrown = float(np.mean([film.chance.points_inside for film in films]))
    rows = [
        Row(
            method,
            median(exact[method], picks),
            median(smoothed[method], picks),
            share(hits[method]) if method in hits else Interval(thrown, thrown, thrown),
        )
        for method in exact
    ]
    differences = []
    for rival in list(exact)[1:]:
        sharp, soft = exact[MAP] - exact[rival], smoothed[MAP] - smoothed[rival]
        other = hits.get(rival)
        differences.append(
            Difference(
                rival,
                median(sharp, picks),
                median(soft, picks),
                int((sharp > 0.0).sum()),
                int((soft > 0.0).sum()),
                None if other is None else int((hits[MAP] & ~other).sum()),
                None if other is None else int((other & ~hits[MAP]).sum()),
            )
        )
    return Summary(tuple(rows), tuple(differences))


def median(values: Values, picks: npt.NDArray[np.integer]) -> Interval:
    """Return the median of values (n,) and its percentile interval over resamples, positions (resamples, n)."""
    low, high = np.percentile(np.median(values[picks], axis=1), (2.5, 97.5))
    return Interval(float(np.median(values)), float(low), float(high))


def share(hits: npt.NDArray[np.bool_]) -> Interval:
    """Return the share of hits (n,) and Wilson's interval."""
    ends = binomtest(int(hits.sum()), hits.size).proportion_ci(method="wilson")
    return Interval(float(hits.mean()), float(ends.low), float(ends.high))
