"""What is measured, each in the same two steps: a run, which is timed, and the reading of its result, which is not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vidi.bundle import Bundle
from vidi.imaging.preprocess import Grid
from vidi_explainer.attribution import Attribution
from vidi_explainer.engine import EngineOptions, open_engine
from vidi_explainer.targets import Target

SHAP, CAPTUM = "shap.DeepExplainer", "captum.DeepLiftShap"


@dataclass(frozen=True)
class Explained:
    """The maps of one film.

    Attributes
    ----------
    maps
        float64 (classes, height, width): attributions of every logit, summed over channels.
    residual
        Largest additivity residual of the classes, relative to the change of the logit (see `OutputAttribution`).
    """

    maps: npt.NDArray[np.float64]
    residual: float


class Contender(Protocol):
    """Explains every class of films."""

    @property
    def precision(self) -> str:
        """Arithmetic, such as "float32"."""

    def run(self, grid: Grid) -> Any:
        """Explain a film, float32 (height, width) in 0..1. This is what is timed."""

    def read(self, grid: Grid, result: Any) -> Explained:
        """Return the maps of what `run` returned for this film."""


class ViDi:
    """One of ViDi's engines, as services call it.

    Parameters
    ----------
    engine
        Name in `vidi_explainer.engine.ENGINES`.
    bundle
        The network and its references.
    cache
        Where the engine may keep files.
    """

    def __init__(self, engine: str, bundle: Bundle, cache: Path) -> None:
        self._engine = open_engine(engine, bundle, EngineOptions(cache_dir=cache))
        self.precision = self._engine.precision

    def run(self, grid: Grid) -> Attribution:
        """Explain a film (see `Contender`)."""
        return self._engine.explain(grid, Target())

    def read(self, grid: Grid, result: Attribution) -> Explained:
        """Return the maps (see `Contender`)."""
        maps = np.stack([output.map for output in result.outputs]).astype(np.float64)
        return Explained(maps, max(output.additivity_residual for output in result.outputs))


def open_contender(name: str, bundle: Bundle, cache: Path) -> Contender:
    """Open a rival (`SHAP`, `CAPTUM`) or one of ViDi's engines, by its name.

    Raises
    ------
    PreconditionFailed
        When there is no such engine.
    """
    if name in (SHAP, CAPTUM):
        from vidi_explainer.bench import rivals

        return rivals.Shap(bundle) if name == SHAP else rivals.Captum(bundle)
    return ViDi(name, bundle, cache)
