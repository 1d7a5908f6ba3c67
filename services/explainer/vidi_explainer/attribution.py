"""What an engine returns: maps of the explained outputs, and whether they add up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidi.errors import InternalError
from vidi_explainer.targets import Plan

#: Cells a side of the attribution vector.
CELLS = 14
#: Smallest change of an output that a residual is relative to.
SMALLEST_CHANGE = 1e-6


@dataclass(frozen=True)
class OutputAttribution:
    """The attribution of one explained output.

    Attributes
    ----------
    name, index
        As in `Plan`.
    map
        float32 (height, width), summed over channels, in units of the output (logit); > 0 favorable, < 0 glum.
    total
        Sum of `map`, accumulated in float64.
    favorable_sum, glum_sum
        Sums of its positive (>= 0) and negative (<= 0) part; together `total` but for rounding.
    output
        The explained output of this film.
    base_value
        Mean of the explained output over the references.
    additivity_residual
        |total - (output - base_value)| / max(|output - base_value|, 1e-6); 0 is exact.
    channels
        float32 (3, height, width), or None when not asked for.
    per_reference
        float32 (references, height, width): each reference's own map; `map` is their mean. None when not asked for.
    """

    name: str
    index: int
    map: npt.NDArray[np.float32]
    total: float
    favorable_sum: float
    glum_sum: float
    output: float
    base_value: float
    additivity_residual: float
    channels: npt.NDArray[np.float32] | None = None
    per_reference: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Attribution:
    """An explanation of one film.

    Attributes
    ----------
    outputs
        In the order of the plan.
    logits
        float64 (classes,): the film's logits in class order.
    """

    outputs: tuple[OutputAttribution, ...]
    logits: npt.NDArray[np.float64]

    @property
    def vector(self) -> npt.NDArray[np.float32]:
        """The maps sum-pooled to 14 x 14 in the order of `outputs`, row major: float32 (196 x outputs,)."""
        return np.concatenate([pool(output.map).ravel() for output in self.outputs])


def assemble(
    plan: Plan,
    attributions: npt.NDArray[np.floating],
    logits: npt.NDArray[np.floating],
    base_logits: npt.NDArray[np.floating],
    *,
    channels: bool,
    per_reference: npt.NDArray[np.floating] | None = None,
) -> Attribution:
    """Make an explanation from attributions of every explained output.

    Parameters
    ----------
    plan
        The outputs to explain.
    attributions
        (outputs, 3, height, width): attribution of each output to each input value; (outputs, 1, height, width), summed
        over channels, where `channels` is not asked for.
    logits
        (classes,) of the film.
    base_logits
        (classes,): means over the references.
    channels
        Whether to keep the attributions per channel.
    per_reference
        (outputs, references, height, width): each reference's own map, summed over channels; None: not kept.

    Raises
    ------
    InternalError
        When a number is not finite: such a map is shown to nobody and remembered nowhere.
    """
    if not all(np.isfinite(values).all() for values in (attributions, logits, base_logits)):
        raise InternalError("an attribution is not finite")
    exact = attributions.astype(np.float64, copy=False)
    logits64 = logits.astype(np.float64)
    base64 = base_logits.astype(np.float64)
    outputs = []
    for i, (name, index, weights) in enumerate(zip(plan.names, plan.indices, plan.weights, strict=True)):
        per_channel = exact[i]
        map_ = per_channel.sum(axis=0).astype(np.float32)
        total = float(map_.sum(dtype=np.float64))
        output, base_value = float(weights @ logits64), float(weights @ base64)
        change = output - base_value
        outputs.append(
            OutputAttribution(
                name=name,
                index=index,
                map=map_,
                total=total,
                favorable_sum=float(map_.sum(where=map_ > 0, dtype=np.float64)),
                glum_sum=float(map_.sum(where=map_ < 0, dtype=np.float64)),
                output=output,
                base_value=base_value,
                additivity_residual=abs(total - change) / max(abs(change), SMALLEST_CHANGE),
                channels=per_channel.astype(np.float32) if channels else None,
                per_reference=None if per_reference is None else per_reference[i].astype(np.float32, copy=False),
            )
        )
    return Attribution(tuple(outputs), logits64)


def pool(map_: npt.NDArray[np.floating], cells: int = CELLS) -> npt.NDArray[np.float32]:
    """Sum a map over a grid of cells of equal size; a pixel across an edge is shared by area, so that the sum survives.

    Parameters
    ----------
    map_
        (height, width), of any size.
    cells
        Cells a side.

    Returns
    -------
    float32 (cells, cells).
    """
    rows, columns = (_shares(size, cells) for size in map_.shape)
    return np.asarray(rows @ map_.astype(np.float64) @ columns.T, dtype=np.float32)


def _shares(size: int, cells: int) -> npt.NDArray[np.float64]:
    """Share of each of `size` pixels in each cell, (cells, size); columns sum to 1."""
    edges = np.arange(cells + 1) * size / cells
    pixels = np.arange(size)
    start, end = edges[:-1, None], edges[1:, None]
    shares: npt.NDArray[np.float64] = np.minimum(end, pixels + 1) - np.maximum(start, pixels)
    return np.clip(shares, 0.0, 1.0)
