"""Deletion and insertion of a linear network, on paper."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vidi.errors import Cancelled, InvalidInput
from vidi_explainer.quality.curves import deletion_insertion, mean_reference
from vidi_explainer.quality.outputs import BATCH, outputs_of
from vidi_explainer.targets import Target, TargetKind

ONES = np.ones((1, 2, 2))
#: With w = 1 and r = 0 the map of the film is the film: f(film) = 4, f(reference) = 0.
FILM = np.array([[-1.0, 4.0], [3.0, -2.0]], np.float32)
NOTHING = np.zeros((2, 2), np.float32)


def single(linear: Any) -> Any:
    engine = linear(ONES, [NOTHING])
    return lambda films: engine.logits(np.stack(list(films)))


def test_the_curve_is_the_output_less_the_running_sum_of_the_map(linear: Any) -> None:
    (found,) = deletion_insertion(single(linear), FILM, NOTHING, [FILM], steps=4)
    np.testing.assert_allclose(found.deletion.values, [4, 4 - 4, 4 - 4 - 3, 4 - 4 - 3 + 1, 0])
    np.testing.assert_allclose(found.insertion.values, [0, 4, 4 + 3, 4 + 3 - 1, 4])
    assert found.deletion.area == pytest.approx((4 / 2 + 0 - 3 - 2 + 0 / 2) / 4)
    assert found.insertion.area == pytest.approx((0 / 2 + 4 + 7 + 6 + 4 / 2) / 4)


def test_a_random_order_lies_between_and_comes_from_the_seed(linear: Any) -> None:
    outputs = single(linear)
    (first,) = deletion_insertion(outputs, FILM, NOTHING, [FILM], steps=4, seed=1)
    (again,) = deletion_insertion(outputs, FILM, NOTHING, [FILM], steps=4, seed=1)
    np.testing.assert_array_equal(first.random_deletion.values, again.random_deletion.values)
    # What one order deletes it also inserts: for a linear network the two add up to f(film) + f(reference).
    np.testing.assert_allclose(first.random_deletion.values + first.random_insertion.values, 4.0)
    areas = [
        deletion_insertion(outputs, FILM, NOTHING, [FILM], steps=4, seed=s)[0].random_deletion.area for s in range(300)
    ]
    assert len(set(areas)) > 10
    assert np.mean(areas) == pytest.approx((4 + 0) / 2, abs=0.2)
    assert min(areas) >= first.deletion.area, "no order deletes faster than the map's own"


def test_steps_that_do_not_divide_the_pixels_reach_both_ends(linear: Any) -> None:
    (found,) = deletion_insertion(single(linear), FILM, NOTHING, [FILM], steps=3)
    assert len(found.deletion.values) == 4
    assert (found.deletion.values[0], found.deletion.values[-1]) == (4, 0)


def test_each_output_in_its_own_order_and_combined_as_the_target_says(linear: Any, classes: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    engine = linear(rng.standard_normal((2, 4, 4)), rng.random((3, 4, 4)))
    film = rng.random((4, 4), dtype=np.float32)
    reference = np.asarray(engine._references.mean(axis=0), np.float32)
    for target in (Target(), Target(TargetKind.CLASS_VS_MEAN), Target(TargetKind.CLASS_VS_CLASS, "a", "b")):
        plan = target.plan(classes)
        maps = [output.map for output in engine.explain(film, target).outputs]
        found = deletion_insertion(outputs_of(engine, plan), film, reference, maps, steps=16)
        assert len(found) == len(plan.names)
        for curves, map_, weights in zip(found, maps, plan.weights, strict=True):
            running = np.concatenate([[0.0], np.cumsum(np.sort(map_.ravel())[::-1])])
            start = weights @ engine.logits(film[None])[0]
            np.testing.assert_allclose(curves.deletion.values, start - running, atol=1e-5)


def test_films_go_through_the_network_in_small_batches_and_stop_when_asked(
    linear: Any, classes: tuple[str, ...]
) -> None:
    engine = linear(np.ones((2, 2, 2)), [NOTHING])
    plan = Target().plan(classes)
    assert outputs_of(engine, plan)([FILM] * (2 * BATCH + 1)).shape == (2 * BATCH + 1, 2)
    assert engine.batches == [BATCH, BATCH, 1]
    with pytest.raises(Cancelled):
        outputs_of(engine, plan, cancelled=lambda: len(engine.batches) >= 4)([FILM] * 50)
    assert len(engine.batches) == 4


@pytest.mark.parametrize("steps", [0, -1, 201])
def test_steps_out_of_range(linear: Any, steps: int) -> None:
    with pytest.raises(InvalidInput, match="steps"):
        deletion_insertion(single(linear), FILM, NOTHING, [FILM], steps=steps)


def test_mean_reference() -> None:
    references = np.stack([np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8)])
    mean = mean_reference(references)
    assert mean.dtype == np.float32
    np.testing.assert_array_equal(mean, np.full((2, 2), 0.5))
