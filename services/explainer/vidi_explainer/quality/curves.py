"""Deletion and insertion curves: whether the output follows the pixels that the map says carry it.

Source: Petsiuk, Das and Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018,
section 4.2. Pixels go, or come, in the order of the map's values, largest first. Ours differs in two things:

- The curve is of the explained output (a logit or a combination of logits), not of a probability, which is flat
  wherever a network is sure.
- A pixel that is deleted becomes the mean of the references, for deletion as for insertion. DeepSHAP says what a film
  has that the references lack, so this asks the map its own question: for a linear network the deletion curve is the
  output less the running sum of the map. A blurred film, as RISE inserts into, would keep what is broad, and opacities
  are broad.

Films between the two are like none that the network learned from, so a curve is to be judged only beside the one for a
random order of pixels, which suffers from that as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidi.errors import InvalidInput
from vidi_explainer.quality.outputs import Film, Outputs

STEPS = 20
MAX_STEPS = 200
_RANDOM_ORDER = 0xDE1E


@dataclass(frozen=True)
class Curve:
    """The explained output while pixels are exchanged.

    Attributes
    ----------
    values
        float64 (steps + 1,), in units of the output: at step k the first k / steps of the pixels are exchanged.
    area
        Area under it over the share of exchanged pixels (0..1), by the trapezoidal rule: the mean output on the way.
    """

    values: npt.NDArray[np.float64]
    area: float


@dataclass(frozen=True)
class DeletionInsertion:
    """The curves of one explained output.

    Attributes
    ----------
    deletion
        From the film to the mean of the references: the lower its area, the better the map.
    insertion
        From the mean of the references to the film: the higher its area, the better the map.
    random_deletion, random_insertion
        The same in a random order.
    """

    deletion: Curve
    insertion: Curve
    random_deletion: Curve
    random_insertion: Curve


def deletion_insertion(
    outputs: Outputs,
    film: Film,
    replacement: Film,
    maps: Sequence[npt.NDArray[np.floating]],
    *,
    steps: int = STEPS,
    seed: int = 0,
) -> tuple[DeletionInsertion, ...]:
    """Measure the curves of every explained output.

    Parameters
    ----------
    outputs
        Computes the explained outputs of films; see `vidi_explainer.quality.outputs.outputs_of`.
    film, replacement
        float32 (height, width) in 0..1: the film, and what deleted pixels become.
    maps
        (height, width), one an output, not smoothed.
    steps
        Number of steps, 1 to 200.
    seed
        Of the random order, which all outputs share.

    Raises
    ------
    InvalidInput
        When `steps` is out of range.
    """
    if not 1 <= steps <= MAX_STEPS:
        raise InvalidInput(f"steps: 1 to {MAX_STEPS}", field="steps")
    shuffled = np.random.default_rng([_RANDOM_ORDER, seed]).permutation(film.size)
    random_deletion = outputs(_exchanged(film, replacement, shuffled, steps))
    random_insertion = outputs(_exchanged(replacement, film, shuffled, steps))
    found = []
    for i, map_ in enumerate(maps):
        order = np.argsort(-np.asarray(map_, np.float64).ravel(), kind="stable")
        found.append(
            DeletionInsertion(
                deletion=_curve(outputs(_exchanged(film, replacement, order, steps))[:, i]),
                insertion=_curve(outputs(_exchanged(replacement, film, order, steps))[:, i]),
                random_deletion=_curve(random_deletion[:, i]),
                random_insertion=_curve(random_insertion[:, i]),
            )
        )
    return tuple(found)


def mean_reference(references: npt.NDArray[np.uint8]) -> Film:
    """Return what deleted pixels become: the mean of references, uint8 (n, height, width), as float32 in 0..1."""
    mean: Film = (references.mean(axis=0, dtype=np.float64) / 255.0).astype(np.float32)
    return mean


def _exchanged(start: Film, end: Film, order: npt.NDArray[np.intp], steps: int) -> Iterator[Film]:
    """Films on the way from `start` to `end`, whose pixels come in `order`; steps + 1 of them, both ends included."""
    for step in range(steps + 1):
        done = order[: round(step * order.size / steps)]
        mixed = start.ravel().copy()
        mixed[done] = end.ravel()[done]
        yield mixed.reshape(start.shape)


def _curve(values: npt.NDArray[np.float64]) -> Curve:
    return Curve(values.copy(), float(np.trapezoid(values, dx=1.0 / (len(values) - 1))))
