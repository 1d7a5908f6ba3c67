"""Networks that learned nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vidi.errors import PreconditionFailed
from vidi.imaging.overlay import SIGMA, smooth
from vidi_explainer.quality.areas import areas
from vidi_explainer.quality.noise_floor import PERCENTILE, combined, network_floors
from vidi_explainer.targets import Target, TargetKind

SHAPE = (32, 32)
FILM = np.ones(SHAPE, np.float32)
NOTHING = np.zeros((1, *SHAPE))
RNG = np.random.default_rng(0)
NOISE = RNG.standard_normal((2, *SHAPE))


def maps_of(network: Any, target: Target | None = None) -> list[np.ndarray]:
    return [output.map for output in network.explain(FILM, target or Target()).outputs]


def floors(maps: list[np.ndarray], network: Any, target: Target | None = None) -> tuple[float, ...]:
    found = network_floors(maps, network, FILM, target or Target())
    assert found is not None
    return found


def constant(linear: Any, *values: float) -> Any:
    """A network whose map of each class is one value everywhere."""
    return linear(np.stack([np.full(SHAPE, value) for value in values]), NOTHING)


def test_each_map_of_noise_gets_the_size_of_the_map_that_it_is_compared_with(linear: Any) -> None:
    maps = maps_of(constant(linear, 3.0, -1.0))
    assert floors(maps, constant(linear, 0.3, 0.7)) == pytest.approx((3.0, 1.0), rel=1e-6)
    assert floors([10 * maps[0], maps[1]], constant(linear, 0.3, 0.7)) == pytest.approx((30.0, 1.0), rel=1e-6)


def test_the_floor_is_the_percentile_over_the_pixels(linear: Any) -> None:
    maps = maps_of(constant(linear, 1.0, 2.0))
    for floor, map_, noise in zip(floors(maps, linear(NOISE, NOTHING)), maps, NOISE, strict=True):
        magnitude = np.abs(smooth(noise, SIGMA))
        expected = np.percentile(magnitude, PERCENTILE) * map_.sum() / magnitude.sum()
        assert floor == pytest.approx(expected, rel=1e-5)


def test_the_change_of_the_output_does_not_matter(linear: Any) -> None:
    """A half that speaks for the class and one against it: turned round, they cancel; the picture is as strong."""
    left = np.zeros(SHAPE)
    left[:, :16] = 1.0
    right = 1.0 - left
    network = linear(NOISE, NOTHING)
    together = floors(maps_of(linear(np.stack([left + right, left]), NOTHING)), network)
    against = floors(maps_of(linear(np.stack([left - right, left]), NOTHING)), network)
    assert against[0] > 0.7 * together[0], "only the seam between the halves cancels"
    assert against[1] == together[1], "the other class does not matter either"


def test_what_cancels_in_the_smoothing_does_not_count(linear: Any) -> None:
    broad = np.tile(np.linspace(1.0, 2.0, SHAPE[1]), (2, SHAPE[0], 1))
    checkerboard = np.indices(SHAPE).sum(0) % 2 * 2.0 - 1.0
    plain, grainy = linear(broad, NOTHING), linear(broad + 5.0 * checkerboard, NOTHING)
    maps = maps_of(constant(linear, 1.0, 2.0))
    assert floors(maps, grainy) == pytest.approx(floors(maps, plain), rel=0.05)


def test_noise_does_not_stand_out_of_noise_and_a_spot_does(linear: Any) -> None:
    noise, spot = RNG.standard_normal(SHAPE), np.zeros(SHAPE)
    spot[8:12, 8:12] = 1.0
    network = linear(NOISE, NOTHING)
    maps = maps_of(linear(np.stack([noise, spot]), NOTHING))
    of_noise, of_spot = (areas(map_, floor) for map_, floor in zip(maps, floors(maps, network), strict=True))
    assert of_noise.mass_above_floor is not None
    assert of_noise.mass_above_floor < 0.2
    assert of_spot.mass_above_floor is not None
    assert of_spot.mass_above_floor > 0.5


def test_one_output_for_class_against_class(linear: Any) -> None:
    versus = Target(TargetKind.CLASS_VS_CLASS, "a", "b")
    maps = maps_of(constant(linear, 3.0, 1.0), versus)
    assert floors(maps, constant(linear, 5.0, 1.0), versus) == pytest.approx((2.0,), rel=1e-6)


def test_a_map_of_nothing_has_a_floor_of_nothing(linear: Any) -> None:
    maps = maps_of(constant(linear, 0.0, 1.0))
    assert floors(maps, constant(linear, 5.0, 1.0))[0] == 0.0
    assert not areas(maps[0], 0.0).stands_out


def test_a_dead_network_is_left_out_and_the_middle_of_the_others_counts(linear: Any) -> None:
    maps = maps_of(constant(linear, 1.0, 1.0))
    for dead in (constant(linear, 0.0, 0.0), constant(linear, 1.0, 0.0)):
        assert network_floors(maps, dead, FILM, Target()) is None
    first, second = combined({7: (1.0, 5.0), 8: None, 9: (100.0, 7.0), 10: (3.0, 6.0)})
    assert (first.value, first.seeds, first.by_seed) == (3.0, (7, 9, 10), (1.0, 100.0, 3.0))
    assert (second.value, second.seeds, second.by_seed) == (6.0, (7, 9, 10), (5.0, 7.0, 6.0))
    assert first.percentile == PERCENTILE
    with pytest.raises(PreconditionFailed, match="randomised") as caught:
        combined({0: None, 1: None})
    assert caught.value.reason == "NO_NOISE_FLOOR"
