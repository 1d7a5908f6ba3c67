"""What is explained."""

from __future__ import annotations

import numpy as np
import pytest

from vidi.errors import InvalidInput
from vidi_explainer.targets import Target, TargetKind

CLASSES = ("mild", "medium", "severe")


def test_logit_by_default() -> None:
    plan = Target().plan(CLASSES)
    assert (plan.names, plan.indices) == (CLASSES, (0, 1, 2))
    np.testing.assert_array_equal(plan.weights, np.eye(3))


def test_class_against_mean_of_the_others() -> None:
    plan = Target(TargetKind.CLASS_VS_MEAN).plan(CLASSES)
    assert (plan.names, plan.indices) == (CLASSES, (0, 1, 2))
    np.testing.assert_allclose(plan.weights @ np.array([1.0, 2.0, 6.0]), [1 - 4, 2 - 3.5, 6 - 1.5])


def test_class_against_class() -> None:
    plan = Target(TargetKind.CLASS_VS_CLASS, "severe", "mild").plan(CLASSES)
    assert (plan.names, plan.indices) == (("severe - mild",), (-1,))
    np.testing.assert_array_equal(plan.weights, [[-1, 0, 1]])


@pytest.mark.parametrize(
    ("target", "field", "says"),
    [
        (Target(TargetKind.CLASS_VS_CLASS, "grave", "mild"), "target.class_a", "mild, medium, severe"),
        (Target(TargetKind.CLASS_VS_CLASS, "mild", ""), "target.class_b", "mild, medium, severe"),
        (Target(TargetKind.CLASS_VS_CLASS, "mild", "mild"), "target.class_b", "itself"),
        (Target(TargetKind.LOGIT, "mild"), "target.class_a", "only class against class"),
        (Target(TargetKind.CLASS_VS_MEAN, "", "mild"), "target.class_b", "only class against class"),
    ],
)
def test_wrong_classes_are_named(target: Target, field: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        target.plan(CLASSES)
    assert [v.field for v in caught.value.violations] == [field]
