"""Areas of maps whose smoothed shape is known: flat ones, and a point, which becomes a Gaussian."""

from __future__ import annotations

import numpy as np
import pytest

from vidi.imaging.overlay import SIGMA, smooth
from vidi_explainer.quality.areas import areas

POINT = np.zeros((81, 81), np.float32)
POINT[40, 40] = 5.0
PEAK = float(smooth(POINT, SIGMA).max())


def test_half_of_a_flat_map_holds_half() -> None:
    found = areas(np.full((8, 8), 2.0, np.float32), 0.0)
    assert found.stands_out
    assert found.mass_above_floor == pytest.approx(1.0)
    assert [(a.mass_share, a.pixels) for a in found.areas] == [(0.5, 32), (0.8, 52)]  # 51.2 pixels are 52
    assert [a.grid_share for a in found.areas] == [32 / 64, 52 / 64]
    assert [a.level for a in found.areas] == pytest.approx([2.0, 2.0])


def test_a_point_is_as_large_as_its_gaussian() -> None:
    # A disc of radius r holds 1 - exp(-r^2 / 2 sigma^2) of a Gaussian; at its edge that is exp(-r^2 / 2 sigma^2) high.
    found = areas(POINT, 0.0)
    for area, share in zip(found.areas, (0.5, 0.8), strict=True):
        assert area.pixels == pytest.approx(2 * np.pi * SIGMA**2 * np.log(1 / (1 - share)), rel=0.03)
        assert area.level == pytest.approx((1 - share) * PEAK, rel=0.1)


def test_only_what_lies_above_the_floor_counts() -> None:
    # Above a quarter of the peak lie three quarters of the mass; half of that is 3/8 of all.
    found = areas(POINT, PEAK / 4)
    assert found.mass_above_floor == pytest.approx(0.75, abs=0.01)
    half, most = found.areas
    assert half.pixels == pytest.approx(2 * np.pi * SIGMA**2 * np.log(1 / (1 - 0.375)), rel=0.04)
    assert most.pixels == pytest.approx(2 * np.pi * SIGMA**2 * np.log(1 / (1 - 0.6)), rel=0.04)
    assert most.level > PEAK / 4


def test_no_region_stands_out() -> None:
    found = areas(POINT, PEAK * 1.0001)
    assert (found.stands_out, found.mass_above_floor, found.areas) == (False, 0.0, ())
    for nothing in (np.zeros((8, 8), np.float32), np.full((8, 8), -1.0, np.float32)):
        empty = areas(nothing, 0.0)
        assert (empty.stands_out, empty.mass_above_floor, empty.areas) == (False, None, ())


def test_what_speaks_against_a_class_takes_no_part() -> None:
    both = POINT.copy()
    both[4, 4] = -50.0
    alone, beside = areas(POINT, PEAK / 4), areas(both, PEAK / 4)
    assert [a.pixels for a in beside.areas] == [a.pixels for a in alone.areas]
