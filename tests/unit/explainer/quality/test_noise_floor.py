"""Networks that learned nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vidi.errors import PreconditionFailed
from vidi.imaging.overlay import SIGMA, smooth
from vidi_explainer.quality.noise_floor import PERCENTILE, combined, mean_change, network_floor
from vidi_explainer.targets import Target, TargetKind

SHAPE = (16, 16)
FILM = np.ones(SHAPE, np.float32)
NOTHING = np.zeros((1, *SHAPE))


def constant(linear: Any, *values: float) -> Any:
    """A network whose map of each class is one value everywhere."""
    return linear(np.stack([np.full(SHAPE, value) for value in values]), NOTHING)


def test_maps_are_scaled_to_explain_a_change_of_the_same_size(linear: Any) -> None:
    model = constant(linear, 3.0, -1.0).explain(FILM, Target())
    assert mean_change(model) == pytest.approx((3 + 1) / 2 * 256)
    # Its own changes are 0.5 x 256 on average, so it is scaled by 4: its larger map becomes 4 x 0.7 everywhere.
    floor = network_floor(model, constant(linear, 0.3, 0.7), FILM, Target())
    assert floor == pytest.approx(4 * 0.7, rel=1e-6)


def test_the_percentile_is_over_all_pixels_and_outputs(linear: Any) -> None:
    rng = np.random.default_rng(0)
    model = constant(linear, 1.0, 1.0).explain(FILM, Target())
    other = linear(rng.standard_normal((2, *SHAPE)), NOTHING)
    maps = [output.map for output in other.explain(FILM, Target()).outputs]
    scale = mean_change(model) / np.mean([abs(map_.sum()) for map_ in maps])
    pooled = np.concatenate([np.abs(smooth(map_, SIGMA)).ravel() for map_ in maps])
    expected = np.percentile(pooled, PERCENTILE) * scale
    assert network_floor(model, other, FILM, Target()) == pytest.approx(expected, rel=1e-5)


def test_one_output_for_class_against_class(linear: Any) -> None:
    versus = Target(TargetKind.CLASS_VS_CLASS, "a", "b")
    model = constant(linear, 3.0, 1.0).explain(FILM, versus)
    assert network_floor(model, constant(linear, 5.0, 1.0), FILM, versus) == pytest.approx(2.0, rel=1e-6)


def test_a_dead_network_is_left_out_and_the_middle_of_the_others_counts(linear: Any) -> None:
    model = constant(linear, 1.0, 1.0).explain(FILM, Target())
    assert network_floor(model, constant(linear, 0.0, 0.0), FILM, Target()) is None
    found = combined({7: 1.0, 8: None, 9: 100.0, 10: 3.0})
    assert (found.value, found.seeds, found.by_seed) == (3.0, (7, 9, 10), (1.0, 100.0, 3.0))
    assert found.percentile == PERCENTILE
    with pytest.raises(PreconditionFailed, match="randomised") as caught:
        combined({0: None, 1: None})
    assert caught.value.reason == "NO_NOISE_FLOOR"
