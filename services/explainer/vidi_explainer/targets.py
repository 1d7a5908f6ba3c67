"""What a map adds up to: the logit of a class, a class against the mean of the others, or class A against class B.

Attributions by DeepSHAP are linear in the output that is explained: the rescale rule (Shrikumar et al. 2017) multiplies
the gradient of that output back through the network. A map of any weighted sum of logits is that weighted sum of their
maps, so that an engine may explain logits and combine their maps, or explain the sums at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from vidi.errors import InvalidInput


class TargetKind(StrEnum):
    """Kinds of explained output; the values stand in content keys."""

    LOGIT = "logit"
    CLASS_VS_MEAN = "class_vs_mean"
    CLASS_VS_CLASS = "class_vs_class"


@dataclass(frozen=True)
class Plan:
    """The outputs to explain of one model.

    Attributes
    ----------
    names
        One name an output: the class, or "A - B".
    indices
        Positions of the classes in the model's output; -1 for "A - B".
    weights
        float64 (outputs, classes): each output as a weighted sum of logits.
    """

    names: tuple[str, ...]
    indices: tuple[int, ...]
    weights: npt.NDArray[np.float64]

    def combine(self, attributions: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return attributions of the outputs (outputs, ...) from those of every logit (classes, ...)."""
        return np.tensordot(self.weights, attributions.astype(np.float64, copy=False), axes=1)


@dataclass(frozen=True)
class Target:
    """What is explained.

    Attributes
    ----------
    kind
        Kind of output.
    class_a, class_b
        Class names, for `TargetKind.CLASS_VS_CLASS` only.
    """

    kind: TargetKind = TargetKind.LOGIT
    class_a: str = ""
    class_b: str = ""

    def plan(self, classes: Sequence[str]) -> Plan:
        """Return the outputs for a model with these classes.

        Raises
        ------
        InvalidInput
            When a class is unknown, both are the same, or classes are named where none are asked for.
        """
        count = len(classes)
        if self.kind is not TargetKind.CLASS_VS_CLASS:
            for field, name in (("class_a", self.class_a), ("class_b", self.class_b)):
                if name:
                    path = f"target.{field}"
                    raise InvalidInput(f"{path}: only class against class takes a class", field=path)
            weights = np.eye(count)
            if self.kind is TargetKind.CLASS_VS_MEAN:
                weights -= (1.0 - np.eye(count)) / (count - 1)
            return Plan(tuple(classes), tuple(range(count)), weights)
        a, b = (self._index(classes, field) for field in ("class_a", "class_b"))
        if a == b:
            raise InvalidInput("target.class_b: a class against itself explains nothing", field="target.class_b")
        row = np.zeros((1, count))
        row[0, a], row[0, b] = 1.0, -1.0
        return Plan((f"{self.class_a} - {self.class_b}",), (-1,), row)

    def _index(self, classes: Sequence[str], field: str) -> int:
        name = getattr(self, field)
        if name not in classes:
            known = ", ".join(classes)
            raise InvalidInput(
                f"target.{field}: the model has no class {name!r}; it has {known}", field=f"target.{field}"
            )
        return list(classes).index(name)
