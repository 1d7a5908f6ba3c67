"""Linear networks: all that is measured of them can be computed on paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from vidi.errors import Cancelled, PreconditionFailed
from vidi_explainer.attribution import Attribution, assemble
from vidi_explainer.targets import Target

CLASSES = ("a", "b")


class Linear:
    """f(x) = w x, whose map for a reference r is w (x - r).

    Parameters
    ----------
    weights
        (classes, height, width).
    references
        (references, height, width).
    apart
        Whether it has maps for each reference.
    """

    name = "linear"
    version = "1"
    precision = "float64"
    concurrency = 1

    def __init__(self, weights: npt.ArrayLike, references: npt.ArrayLike, *, apart: bool = True) -> None:
        self.weights = np.asarray(weights, np.float64)
        self._references = np.asarray(references, np.float64)
        self._apart = apart
        self.references = len(self._references)
        self.explained: list[npt.NDArray[np.float32]] = []
        self.batches: list[int] = []

    def explain(
        self,
        grid: npt.NDArray[np.float32],
        target: Target,
        *,
        channels: bool = False,
        per_reference: bool = False,
        cancelled: Callable[[], bool] | None = None,
    ) -> Attribution:
        if per_reference and not self._apart:
            raise PreconditionFailed("engine 'linear' returns the mean over the references only")
        if cancelled is not None and cancelled():
            raise Cancelled("given up")
        self.explained.append(grid)
        plan = target.plan(CLASSES)
        apart = self.weights[:, None] * (grid.astype(np.float64) - self._references)[None]
        mean = apart.mean(axis=1)
        film = np.stack([mean, np.zeros_like(mean), np.zeros_like(mean)], axis=1)
        return assemble(
            plan,
            plan.combine(film),
            self.logits(grid[None])[0],
            self.logits(self._references).mean(axis=0),
            channels=channels,
            per_reference=plan.combine(apart) if per_reference else None,
        )

    def logits(self, grids: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        self.batches.append(len(grids))
        logits: npt.NDArray[np.float64] = np.einsum("khw,nhw->nk", self.weights, grids.astype(np.float64))
        return logits


@pytest.fixture
def linear() -> type[Linear]:
    return Linear


@pytest.fixture
def classes() -> tuple[str, ...]:
    return CLASSES
