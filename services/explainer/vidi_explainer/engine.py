"""What an engine is, and the one place where engines are named. A new engine joins by a line in `ENGINES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Protocol

import numpy as np
import numpy.typing as npt

from vidi.bundle import Bundle
from vidi.errors import PreconditionFailed
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
    def references(self) -> int:
        """Number of references that are averaged over."""

    @property
    def concurrency(self) -> int:
        """How many calls of `explain` may run at a time; 1 for an engine that is not re-entrant."""

    def explain(self, grid: npt.NDArray[np.float32], target: Target, *, channels: bool = False) -> Attribution:
        """Explain one film.

        Parameters
        ----------
        grid
            float32 (height, width) in 0..1, as `Preprocessing.to_grid` returns it.
        target
            What is explained.
        channels
            Whether to return the attributions per input channel too.

        Raises
        ------
        InvalidInput
            When the target names a class that the model lacks, or the grid has another shape.
        """


#: Engine by name: "module:function", imported when used; the function takes a bundle and a device.
ENGINES: Mapping[str, str] = {"shap": "vidi_explainer.shap_engine:open_engine"}


def open_engine(name: str, bundle: Bundle, device: str = "cpu") -> Engine:
    """Open an engine for a bundle.

    Parameters
    ----------
    name
        One of `ENGINES`.
    device
        "cpu", "cuda" or "cuda:N".

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
    factory: Callable[[Bundle, str], Engine] = getattr(import_module(module), function)
    return factory(bundle, device)
