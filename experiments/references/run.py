"""The sets that are made, the films that are explained against them, and how alike the explanations are."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress

from experiments.references.agreement import Agreement, Explained, Spread, agreement, explained, spread
from vidi.background import Films, References, from_films, from_phantoms
from vidi.bundle import Bundle, replace_background
from vidi.manifest import BackgroundStrategy
from vidi_explainer.engine import open_engine
from vidi_explainer.targets import Target

STRATEGIES: tuple[BackgroundStrategy, ...] = ("kmeans", "kmeans-by-class", "synthetic")
#: A set is enough when its median agreement with the yardstick is this near to that of the largest set.
NEAR = 0.01

Grid = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Spec:
    """A set to make: `count` references by `strategy` with `seed`."""

    strategy: BackgroundStrategy
    count: int
    seed: int


@dataclass(frozen=True)
class Row:
    """A set against the yardstick of its strategy.

    Attributes
    ----------
    references
        Number of references.
    smallest
        Smallest number of films that a reference averages.
    agreement
        With the yardstick.
    residual
        Additivity residual over films and classes; the worst is the largest.
    """

    references: int
    smallest: int
    agreement: Agreement
    residual: Spread


@dataclass(frozen=True)
class Curve:
    """A strategy's sets, by the number of references; the last one is as large as the yardstick."""

    strategy: BackgroundStrategy
    rows: tuple[Row, ...]

    @property
    def enough(self) -> int:
        """Fewest references from which on the median agreement of maps is near to that of the largest set."""
        bar = self.rows[-1].agreement.maps.median - NEAR
        near = itertools.takewhile(lambda row: row.agreement.maps.median >= bar, reversed(self.rows))
        return min(row.references for row in near)


def sizes(largest: int, multiple: int = 1) -> tuple[int, ...]:
    """Powers of two up to `largest`, each as the nearest multiple of `multiple` and at least that, without repeats."""
    powers = [1 << p for p in range(largest.bit_length()) if 1 << p <= largest]
    return tuple(sorted({max(1, round(p / multiple)) * multiple for p in powers}))


def measure(
    strategy: BackgroundStrategy,
    counts: Sequence[int],
    seed: int,
    explain: Callable[[Spec], tuple[References, Sequence[Explained]]],
) -> tuple[Curve, Sequence[Explained]]:
    """Measure one strategy.

    Parameters
    ----------
    strategy, counts, seed
        The sets to make; counts ascending. The yardstick takes the next seed.
    explain
        Makes a set and explains the films against it.

    Returns
    -------
    The curve, and the explanations against the yardstick.
    """
    _, yardstick = explain(Spec(strategy, counts[-1], seed + 1))
    rows = []
    for count in counts:
        references, found = explain(Spec(strategy, count, seed))
        residuals = [residual for film in found for residual in film.residuals]
        rows.append(Row(count, references.recipe.smallest, agreement(found, yardstick), spread(residuals, max)))
    return Curve(strategy, tuple(rows)), yardstick


def explain_against(
    bundle: Bundle, references: References, engine: str, films: Iterable[Grid], folder: Path
) -> Iterator[Explained]:
    """Explain films by an engine that opens a copy of the bundle with these references, made in `folder`."""
    copy = replace_background(bundle.path, folder, references.images, **references.fields)
    opened = open_engine(engine, copy)
    for film in films:
        yield explained(opened.explain(film, Target()))


def run(
    bundle: Bundle,
    pool: Films,
    films: Sequence[Grid],
    *,
    engine: str,
    largest: int,
    minimum: int,
    seed: int,
    strategies: Sequence[BackgroundStrategy] = STRATEGIES,
) -> tuple[list[Curve], dict[tuple[str, str], Agreement]]:
    """Measure all strategies, with a progress bar on standard error.

    Parameters
    ----------
    bundle
        The model.
    pool
        Films that references are made of.
    films
        Films to explain, on the model's grid, 0..1.
    engine
        Name of an explainer engine.
    largest
        References of the largest set.
    minimum
        Fewest films that a centroid averages.
    seed
        Of the sets; yardsticks take the next one.
    strategies
        What is compared.

    Returns
    -------
    Curves in the order of the strategies, and the agreement of every two strategies' yardsticks.
    """
    counts = {s: sizes(largest, len(pool.classes) if s == "kmeans-by-class" else 1) for s in strategies}
    curves: list[Curve] = []
    yardsticks: dict[str, Sequence[Explained]] = {}
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=sum(len(c) + 1 for c in counts.values()) * len(films))

        def explain(spec: Spec) -> tuple[References, Sequence[Explained]]:
            progress.update(bar, description=f"{spec.strategy}, {spec.count}")
            if spec.strategy == "synthetic":
                made = from_phantoms(bundle.preprocessing, count=spec.count, seed=spec.seed)
            else:
                made = from_films(spec.strategy, pool, count=spec.count, minimum=minimum, seed=spec.seed)
            found = []
            with tempfile.TemporaryDirectory() as folder:
                for film in explain_against(bundle, made, engine, films, Path(folder)):
                    found.append(film)
                    progress.advance(bar)
            return made, found

        for strategy in strategies:
            curve, yardsticks[strategy] = measure(strategy, counts[strategy], seed, explain)
            curves.append(curve)
    names = list(yardsticks)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    return curves, {(a, b): agreement(yardsticks[a], yardsticks[b]) for a, b in pairs}
