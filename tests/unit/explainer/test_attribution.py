"""Sums, residuals and pooling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidi.errors import InternalError
from vidi_explainer.attribution import assemble, pool
from vidi_explainer.targets import Target, TargetKind

CLASSES = ("a", "b", "c")


def raw(seed: int = 0, size: int = 28) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((3, 3, size, size))


def test_numbers_of_an_exact_attribution() -> None:
    attributions, base = raw(), np.array([0.5, -1.0, 2.0])
    logits = base + attributions.sum(axis=(1, 2, 3))
    result = assemble(Target().plan(CLASSES), attributions, logits, base, channels=True)
    for i, output in enumerate(result.outputs):
        assert (output.name, output.index) == (CLASSES[i], i)
        assert output.map.dtype == np.float32
        np.testing.assert_allclose(output.map, attributions[i].sum(axis=0), rtol=1e-6, atol=1e-6)
        assert output.channels is not None
        np.testing.assert_allclose(output.channels, attributions[i], rtol=1e-6)
        assert output.total == output.map.astype(np.float64).sum()
        assert output.favorable_sum == pytest.approx(output.map[output.map > 0].astype(np.float64).sum(), rel=1e-12)
        assert output.favorable_sum > 0 > output.glum_sum
        assert output.favorable_sum + output.glum_sum == pytest.approx(output.total, abs=1e-9)
        assert (output.output, output.base_value) == (logits[i], base[i])
        assert output.additivity_residual < 1e-6
    np.testing.assert_array_equal(result.logits, logits)


def test_residual_is_what_does_not_add_up() -> None:
    attributions, base = raw(), np.zeros(3)
    logits = attributions.sum(axis=(1, 2, 3))
    output = assemble(Target().plan(CLASSES), attributions * 1.25, logits, base, channels=False).outputs[0]
    assert output.additivity_residual == pytest.approx(0.25, rel=1e-5)
    assert output.channels is None


def test_residual_is_relative_to_at_least_a_millionth() -> None:
    output = assemble(Target().plan(CLASSES), np.full((3, 3, 28, 28), 1e-9), np.ones(3), np.ones(3), channels=False)
    assert output.outputs[0].additivity_residual == pytest.approx(3 * 28 * 28 * 1e-9 / 1e-6, rel=1e-6)


def test_combined_targets_are_combined_attributions() -> None:
    attributions, base = raw(), np.array([0.5, -1.0, 2.0])
    logits = base + attributions.sum(axis=(1, 2, 3))
    maps = attributions.sum(axis=1)
    target = Target(TargetKind.CLASS_VS_CLASS, "c", "a")
    plan = target.plan(CLASSES)
    (versus,) = assemble(plan, plan.combine(attributions), logits, base, channels=False).outputs
    np.testing.assert_allclose(versus.map, maps[2] - maps[0], rtol=1e-5, atol=1e-6)
    assert versus.output == pytest.approx(logits[2] - logits[0])
    assert versus.base_value == pytest.approx(1.5)
    plan = Target(TargetKind.CLASS_VS_MEAN).plan(CLASSES)
    mean = assemble(plan, plan.combine(attributions), logits, base, channels=False).outputs[1]
    np.testing.assert_allclose(mean.map, maps[1] - (maps[0] + maps[2]) / 2, rtol=1e-5, atol=1e-6)
    assert mean.additivity_residual < 1e-5


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_what_is_not_finite_is_no_explanation(broken: float) -> None:
    attributions = raw()
    attributions[1, 2, 3, 4] = broken
    with pytest.raises(InternalError):
        assemble(Target().plan(CLASSES), attributions, np.zeros(3), np.zeros(3), channels=False)
    with pytest.raises(InternalError):
        assemble(Target().plan(CLASSES), raw(), np.array([0.0, broken, 0.0]), np.zeros(3), channels=False)


def test_vector_is_blocks_of_sixteen_in_class_order() -> None:
    attributions = raw(size=224)
    result = assemble(Target().plan(CLASSES), attributions, np.zeros(3), np.zeros(3), channels=False)
    blocks = attributions.sum(axis=1).reshape(3, 14, 16, 14, 16).sum(axis=(2, 4))
    assert result.vector.shape == (3 * 196,)
    assert result.vector.dtype == np.float32
    np.testing.assert_allclose(result.vector, blocks.ravel(), rtol=1e-4, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 1000))
def test_pooling_keeps_the_sum_of_any_shape(height: int, width: int, seed: int) -> None:
    map_ = np.random.default_rng(seed).standard_normal((height, width)).astype(np.float32)
    pooled = pool(map_)
    assert pooled.shape == (14, 14)
    assert pooled.sum(dtype=np.float64) == pytest.approx(map_.sum(dtype=np.float64), abs=1e-4 * height * width**0.5)


def test_pooling_shares_a_pixel_by_area() -> None:
    map_ = np.zeros((21, 14), np.float32)
    map_[1, 0] = 2.0  # rows of cells end at 1.5: half of this pixel lies in each
    pooled = pool(map_)
    assert (pooled[0, 0], pooled[1, 0]) == (1.0, 1.0)
    assert np.count_nonzero(pooled) == 2
