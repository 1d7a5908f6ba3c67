"""What an engine is, and the one place where engines are named. A new engine joins by a line in `ENGINES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vidi.bundle import Bundle
from vidi.errors import InvalidInput, PreconditionFailed
from vidi.imaging.preprocess import Preprocessing
from vidi_explainer.attribution import Attribution
from vidi_explainer.targets import Target


class Engine(Protocol):
    """Explains films of one model against its references. Knows no RPC.

    `name`, `version` and `precision` are part of every content key: whatever changes a result by more than rounding
    noise changes one of them.
    """

    @property
    def name(self) -> str:
        """Name in `ENGINES`, such as "shap"."""

    @property
    def version(self) -> str:
        """Version, such as "0.51.0"."""

    @property
    def precision(self) -> str:
        """Arithmetic, such as "float32"."""

    @property
    def arithmetic(self) -> str:
        """How it computes and why, for logs and people."""

    @property
    def references(self) -> int:
        """Number of references that are averaged over."""

    @property
    def concurrency(self) -> int:
        """How many calls of `explain` may run at a time; 1 for an engine that is not re-entrant."""

    def explain(
        self,
        grid: npt.NDArray[np.float32],
        target: Target,
        *,
        channels: bool = False,
        per_reference: bool = False,
        cancelled: Callable[[], bool] | None = None,
    ) -> Attribution:
        """Explain one film.

        Parameters
        ----------
        grid
            float32 (height, width) in 0..1, as `Preprocessing.to_grid` returns it.
        target
            What is explained.
        channels
            Whether to return the attributions per input channel too.
        per_reference
            Whether to return each reference's map too.
        cancelled
            Asked between layers by engines that can stop half-way; once it says True, `Cancelled` is raised soon.

        Raises
        ------
        InvalidInput
            When the target names a class that the model lacks, or the grid has another shape.
        PreconditionFailed
            When the engine has no maps per reference.
        Cancelled
            When `cancelled` said so.
        """

    def logits(self, grids: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return the logits (n, classes) of grids (n, height, width), float32 in 0..1.

        Raises
        ------
        InvalidInput
            When the grids have another shape.
        """


def require_grid(shape: tuple[int, ...], preprocessing: Preprocessing) -> None:
    """Raise InvalidInput unless a grid has the height and width of the model's input."""
    expected = (preprocessing.height, preprocessing.width)
    if shape != expected:
        raise InvalidInput(f"a grid of shape {shape} where the model takes {expected}", field="image")


@dataclass(frozen=True)
class EngineOptions:
    """Where and within what an engine works.

    Attributes
    ----------
    device
        "cpu", "cuda" or "cuda:N".
    memory_bytes
        Working memory for one film, beside the network, its rearranged weights, and references' activations in files.
    cache_dir
        Where engines may keep files that can be made again, such as references' activations; None: the system's
        directory for temporary files.
    concurrency
        How many films an engine that is re-entrant explains at a time.
    """

    device: str = "cpu"
    memory_bytes: int = 1 << 30
    cache_dir: Path | None = None
    concurrency: int = 1


#: Engine by name: "module:function", imported when used; the function takes a bundle and options.
ENGINES: Mapping[str, str] = {
    "deepshap": "vidi_explainer.deepshap.engine:open_exact",
    "deepshap-fast": "vidi_explainer.deepshap.engine:open_fast",
    "shap": "vidi_explainer.shap_engine:open_engine",
}

#: What opens the same model with randomised weights, by engine: the function takes a bundle, options and a seed that
#: shuffles each weight tensor. Engines without a line offer none.
RANDOMISED: Mapping[str, str] = {
    "deepshap": "vidi_explainer.deepshap.engine:open_randomised",
    "deepshap-fast": "vidi_explainer.deepshap.engine:open_randomised",
}


def open_engine(name: str, bundle: Bundle, options: EngineOptions | None = None) -> Engine:
    """Open an engine for a bundle.

    Parameters
    ----------
    name
        One of `ENGINES`.
    options
        Of the engine; None: the defaults.

    Raises
    ------
    PreconditionFailed
        When there is no such engine.
    BundleError
        When the bundle is damaged, or its network holds an operation that the engine does not support (named).
    """
    if name not in ENGINES:
        raise PreconditionFailed(f"no explainer engine {name!r}: there is {', '.join(sorted(ENGINES))}")
    module, _, function = ENGINES[name].partition(":")
    factory: Callable[[Bundle, EngineOptions], Engine] = getattr(import_module(module), function)
    return factory(bundle, options or EngineOptions())


def randomised_engines(name: str, bundle: Bundle, options: EngineOptions) -> Callable[[int], Engine] | None:
    """Return what opens a bundle's model with weights shuffled by a seed, or None when the engine offers none.

    Such a network learned nothing: what its maps show is noise (see `vidi_explainer.quality.noise_floor`).

    Parameters
    ----------
    name
        One of `ENGINES`.
    options
        Of the engines that are opened.
    """
    if name not in RANDOMISED:
        return None
    module, _, function = RANDOMISED[name].partition(":")

    def opened(seed: int) -> Engine:
        engine: Engine = getattr(import_module(module), function)(bundle, options, seed)
        return engine

    return opened
