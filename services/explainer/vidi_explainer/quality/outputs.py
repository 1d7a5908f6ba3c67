"""Explained outputs of many films, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

import numpy as np
import numpy.typing as npt

from vidi.errors import Cancelled
from vidi_explainer.engine import Engine
from vidi_explainer.targets import Plan

Film = npt.NDArray[np.float32]
Map = npt.NDArray[np.float32]
#: Explained outputs, float64 (films, outputs), of films on the model's grid.
Outputs = Callable[[Iterable[Film]], npt.NDArray[np.float64]]

#: Films of one forward pass: few enough that a full VGG-19's activations stay below a gigabyte.
BATCH = 4


def never() -> bool:
    """Nobody gives up."""
    return False


def stop_if(cancelled: Callable[[], bool]) -> None:
    """Raise Cancelled when somebody gave up."""
    if cancelled():
        raise Cancelled("the assessment was given up")


def outputs_of(engine: Engine, plan: Plan, *, cancelled: Callable[[], bool] = never) -> Outputs:
    """Return a function from films to the outputs that a plan explains.

    Parameters
    ----------
    engine
        Computes logits.
    plan
        The outputs as weighted sums of logits.
    cancelled
        Asked before each batch.

    Returns
    -------
    The function; it raises Cancelled when `cancelled` said so.
    """

    def outputs(films: Iterable[Film]) -> npt.NDArray[np.float64]:
        rows, remaining = [], iter(films)
        while batch := list(islice(remaining, BATCH)):
            stop_if(cancelled)
            rows.append(engine.logits(np.stack(batch)) @ plan.weights.T)
        return np.concatenate(rows)

    return outputs
