"""Maps against a known mask."""

from __future__ import annotations

import numpy as np
import pytest

from vidi.errors import InvalidInput
from vidi.imaging.preprocess import Preprocessing
from vidi.phantoms import PhantomSpec, make
from vidi_explainer.quality.truth import POINTING_TOLERANCE, against_truth, chance, random_map

#: The left 21 columns of 64.
MASK = np.zeros((64, 64), bool)
MASK[:, :21] = True


def point(column: int) -> np.ndarray:
    map_ = np.zeros((64, 64), np.float32)
    map_[32, column] = 1.0
    return map_


def test_share_of_what_is_favorable_inside() -> None:
    map_ = np.zeros((64, 64), np.float32)
    map_[3, 3], map_[3, 40], map_[3, 4], map_[3, 41] = 3.0, 1.0, -5.0, -5.0
    assert against_truth(map_, MASK, {}).map.favorable_inside == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("column", "hit"), [(5, True), (20, True), (20 + int(POINTING_TOLERANCE), True), (28, False), (60, False)]
)
def test_pointing_game(column: int, hit: bool) -> None:
    assert against_truth(point(column), MASK, {}).map.points_inside is hit


def test_the_point_is_that_of_the_smoothed_map() -> None:
    map_ = 6.0 * point(60)  # a spike, and a spot that is larger once both are smoothed
    map_[28:36, 8:16] = 1.0
    assert against_truth(map_, MASK, {}).map.points_inside


def test_nothing_favorable_hits_nothing() -> None:
    score = against_truth(-point(5), MASK, {}).map
    assert (score.favorable_inside, score.points_inside) == (None, False)


def test_rivals_are_judged_alike() -> None:
    found = against_truth(point(60), MASK, {"gradients": point(5), "random": random_map(MASK.shape, 0)})
    assert not found.map.points_inside
    assert found.rivals["gradients"].points_inside
    assert found.rivals["gradients"].favorable_inside == 1.0
    assert found.rivals["random"].favorable_inside == pytest.approx(MASK.mean(), abs=0.03)


def test_random_maps_come_from_the_seed() -> None:
    np.testing.assert_array_equal(random_map((8, 8), 3), random_map((8, 8), 3))
    assert (random_map((8, 8), 3) != random_map((8, 8), 4)).any()


def test_chance_is_the_area_and_the_area_within_the_tolerance() -> None:
    found = chance(MASK)
    assert found.favorable_inside == 21 / 64
    assert found.points_inside == 28 / 64
    assert found.tolerance == POINTING_TOLERANCE


def test_wrong_masks_are_refused() -> None:
    with pytest.raises(InvalidInput, match="no pixel"):
        chance(np.zeros((8, 8), bool))
    with pytest.raises(InvalidInput, match="no pixel"):
        against_truth(point(5), np.zeros((64, 64), bool), {})
    with pytest.raises(InvalidInput, match="shape"):
        against_truth(np.zeros((8, 8), np.float32), MASK, {})


def test_a_map_of_a_phantoms_opacities_is_right() -> None:
    phantom = make(PhantomSpec(5, "medium", 256, 256))
    mask, _ = Preprocessing().to_grid(phantom.opacity_mask.astype(np.float32))
    inside = mask >= 0.5
    score = against_truth(mask, inside, {}).map
    assert score.points_inside
    assert score.favorable_inside is not None
    assert score.favorable_inside > 0.9
