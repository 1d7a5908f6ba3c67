"""What the report shows of a film."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FilmCard:
    """One film, de-identified.

    Attributes
    ----------
    id
        As in the clustering's members; never a patient's identifier.
    thumbnail
        What the model saw, float32 (h, w) in 0..1, 0 black; None when there is none (a refused film).
    maps
        Attribution map by class, float32 (h, w), logits per pixel: > 0 favorable, < 0 glum. In the model's class order.
    prediction
        The class that the model favours; "" without a result.
    probabilities
        By class, 0..1.
    calibrated
        Whether the probabilities are calibrated.
    label
        Reference label, when there is one.
    residuals
        Relative additivity residual by class.
    warnings
        (code, message), such as ("OUT_OF_POPULATION", "...").
    status
        "done", "refused", "failed", ...
    reason
        Why it is not done.
    """

    id: str
    thumbnail: Grey | None = None
    maps: Mapping[str, Grey] = field(default_factory=dict)
    prediction: str = ""
    probabilities: Mapping[str, float] = field(default_factory=dict)
    calibrated: bool = False
    label: str | None = None
    residuals: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[tuple[str, str]] = ()
    status: str = "done"
    reason: str = ""

    @property
    def done(self) -> bool:
        """Whether there is a result to show."""
        return self.status == "done"
