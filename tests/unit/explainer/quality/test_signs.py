"""References that agree, and references that do not."""

from __future__ import annotations

import numpy as np
import pytest

from vidi_explainer.quality.signs import disagreement, mean_disagreement


def test_share_of_references_with_the_other_sign() -> None:
    # A column a pixel: all agree; two of four disagree; one of four does; one attributes, the others nothing.
    maps = np.array([[[1, 3, -2, 0]], [[1, 3, -2, 0]], [[1, -1, -2, 4]], [[1, -1, 2, 0]]], np.float32)
    np.testing.assert_array_equal(disagreement(maps), [[0.0, 0.5, 0.25, 0.0]])
    assert mean_disagreement(maps) == pytest.approx((0.0 + 0.5 + 0.25 + 0.0) / 4)


def test_pixels_count_by_what_the_mean_map_says_there() -> None:
    maps = np.array([[[7.0, 2.0]], [[7.0, 2.0]], [[7.0, -1.0]]])  # means 7 and 1; disagreement 0 and 1/3
    assert mean_disagreement(maps) == pytest.approx((7 * 0 + 1 / 3) / 8)


def test_coins_disagree_in_nearly_half() -> None:
    maps = np.random.default_rng(0).standard_normal((401, 40, 40))
    assert mean_disagreement(maps) == pytest.approx(0.5, abs=0.04)


def test_a_map_of_nothing_has_no_answer() -> None:
    assert mean_disagreement(np.zeros((3, 4, 4), np.float32)) is None
    cancelling = np.array([[[1.0]], [[-1.0]]])
    assert disagreement(cancelling)[0, 0] == 0.0
    assert mean_disagreement(cancelling) is None
