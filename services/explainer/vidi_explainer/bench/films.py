"""Phantoms for the benchmark: to train on, to measure on, and the references made of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidi.imaging.preprocess import Grid, Preprocessing
from vidi.phantoms import PhantomSpec, cohort_specs, make
from vidi_explainer.bench.progress import shown

#: Cohorts of the benchmark; no model is trained or tested on them elsewhere.
TRAINING_SEED, HELD_OUT_SEED, MEASURED_SEED = 9201, 9202, 9203
#: Phantoms that a reference averages.
ALIKE = 16
THUMBNAIL = 16


@dataclass(frozen=True)
class LabelledFilms:
    """Films on the model's grid, uint8 (n, height, width), and the positions of their classes, int64 (n,)."""

    grids: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


def labelled(
    count: int, seed: int, classes: tuple[str, ...], preprocessing: Preprocessing, *, threads: int = 2
) -> LabelledFilms:
    """Draw a cohort of phantoms of the named severities, equally frequent, with a progress bar on standard error."""
    specs = cohort_specs(count, seed, dict.fromkeys(classes, 1.0))

    def draw(spec: PhantomSpec) -> npt.NDArray[np.uint8]:
        grid, _ = preprocessing.to_grid(make(spec).grey())
        return np.round(grid * 255).astype(np.uint8)

    with ThreadPoolExecutor(threads) as pool:
        drawn = shown(pool.map(draw, specs), f"drawing {count} phantoms", count)
        grids = np.stack(list(drawn))
    return LabelledFilms(grids, np.array([classes.index(spec.severity) for spec in specs], np.int64))


def measured(count: int, preprocessing: Preprocessing) -> list[Grid]:
    """Draw the films to explain: mild, medium and severe alike; the first ones are the same whatever `count` is."""
    # A cohort's films depend on its size: one of a fixed size is cut short, so that cached results stay of use.
    specs = cohort_specs(max(count, 64), MEASURED_SEED)[:count]
    return [preprocessing.to_grid(make(spec).grey())[0] for spec in specs]


def references(grids: npt.NDArray[np.uint8], count: int, *, alike: int = ALIKE) -> npt.NDArray[np.uint8]:
    """Average phantoms that look alike, as the k-means centroids of a model for patients do.

    Each of the first `count` films is averaged with the films whose thumbnails are nearest to its own. Unlike k-means
    this gives as many references as are asked for, each of equally many films, and any few of them are as good as any.

    Parameters
    ----------
    grids
        uint8 (n, height, width), in random order.
    count
        Number of references, at most n.
    alike
        Films that each averages.

    Returns
    -------
    uint8 (count, height, width).
    """
    n, height, width = grids.shape
    rows, columns = height // THUMBNAIL, width // THUMBNAIL
    cropped = grids[:, : rows * THUMBNAIL, : columns * THUMBNAIL].reshape(n, THUMBNAIL, rows, THUMBNAIL, columns)
    thumbnails = cropped.mean((2, 4), dtype=np.float64).reshape(n, -1)
    means = []
    for centre in thumbnails[:count]:
        nearest = np.argsort(((thumbnails - centre) ** 2).sum(1))[:alike]
        means.append(grids[nearest].mean(0, dtype=np.float64))
    return np.round(np.stack(means)).astype(np.uint8)
