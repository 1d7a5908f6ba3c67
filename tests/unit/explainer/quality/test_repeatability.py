"""Films that move, and maps that move with them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vidi_explainer.quality.repeatability import SIGMAS, Perturbation, cosine, perturbed, repeatability
from vidi_explainer.targets import Target

RNG = np.random.default_rng(0)
FILM = RNG.random((48, 40), dtype=np.float32)


class Mapped:
    """An engine whose map is a function of the film."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def explain(self, grid: Any, target: Target, **_: Any) -> Any:
        return SimpleNamespace(outputs=[SimpleNamespace(map=np.asarray(self._function(grid), np.float32))])


def compared(function: Any, map_: Any, perturbation: Perturbation) -> Any:
    engine: Any = Mapped(function)
    (found,) = repeatability(engine, FILM, Target(), [np.asarray(map_, np.float32)], perturbation)
    assert [r.sigma for r in found] == list(SIGMAS)
    assert {r.perturbation for r in found} == {perturbation}
    return found


def test_a_shift_moves_by_two_pixels_and_back_exactly() -> None:
    changed, back, common = perturbed(FILM, Perturbation.SHIFT)
    np.testing.assert_array_equal(changed[:, 2:], FILM[:, :-2])
    np.testing.assert_array_equal(changed[:, :2], np.repeat(FILM[:, :1], 2, axis=1))
    expected = np.ones(FILM.shape, bool)
    expected[:, -2:] = False
    np.testing.assert_array_equal(common, expected)
    np.testing.assert_array_equal(back(changed)[common], FILM[common])


def test_a_turn_keeps_a_ramp_and_loses_the_corners() -> None:
    y, x = np.mgrid[0:48, 0:40].astype(np.float32)
    ramp = (0.01 * x + 0.005 * y).astype(np.float32)  # interpolated without error, wherever it is sampled
    changed, back, common = perturbed(ramp, Perturbation.ROTATION)
    inner = np.zeros_like(common)
    inner[4:-4, 4:-4] = True
    np.testing.assert_allclose(back(changed)[inner], ramp[inner], atol=1e-6)
    assert np.abs(changed - ramp)[inner].max() > 1e-3, "it did turn"
    centre = ramp[23:25, 19:21].mean()
    assert changed[23:25, 19:21].mean() == pytest.approx(centre, abs=1e-6), "about its middle"
    assert not common[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    assert common[2:-2, 2:-2].all()


def test_a_turn_is_by_two_degrees() -> None:
    film = np.zeros((101, 101), np.float32)
    film[50, 90] = 1.0  # 40 to the right of the middle
    changed, _, _ = perturbed(film, Perturbation.ROTATION)
    row, column = (float((changed * np.mgrid[0:101, 0:101][axis]).sum() / changed.sum()) for axis in (0, 1))
    assert np.degrees(np.arctan2(abs(row - 50), column - 50)) == pytest.approx(2.0, abs=0.1)
    assert np.hypot(row - 50, column - 50) == pytest.approx(40, abs=0.1)


def test_jpeg_changes_little_and_moves_nothing() -> None:
    film = np.tile(np.linspace(0, 1, 40, dtype=np.float32), (48, 1))
    changed, back, common = perturbed(film, Perturbation.JPEG)
    assert changed.dtype == np.float32
    assert common.all()
    assert 0 < np.abs(changed - film).max() < 0.05
    np.testing.assert_array_equal(back(changed), changed)


@pytest.mark.parametrize(
    ("perturbation", "least"), [(Perturbation.SHIFT, 1.0), (Perturbation.ROTATION, 0.6), (Perturbation.JPEG, 0.9)]
)
def test_a_map_that_follows_the_film_is_repeatable(perturbation: Perturbation, least: float) -> None:
    # The film is noise: a turn's interpolation and JPEG cost it something.
    for r in compared(lambda film: film - 0.5, FILM - 0.5, perturbation):
        assert r.cosine >= least - 1e-6
        assert r.rank_correlation >= least - 1e-6
        assert r.sigma == 0.0 or r.cosine > 0.99


def test_a_map_that_stays_when_the_film_moves_is_not() -> None:
    fixed = RNG.standard_normal(FILM.shape)
    exact, smoothed = compared(lambda _: fixed, fixed, Perturbation.SHIFT)
    assert abs(exact.cosine) < 0.1
    assert abs(exact.rank_correlation) < 0.1
    assert smoothed.cosine > exact.cosine, "smoothing hides a move of half its width"


def test_ranks_do_not_see_the_size_and_the_cosine_does() -> None:
    exact, _ = compared(lambda film: film**5, FILM, Perturbation.SHIFT)
    assert exact.rank_correlation == pytest.approx(1.0)
    x = FILM[:, :-2].astype(np.float64).ravel()
    assert exact.cosine == pytest.approx(x @ x**5 / np.linalg.norm(x) / np.linalg.norm(x**5), rel=1e-5)
    opposite, _ = compared(lambda film: -film, FILM, Perturbation.SHIFT)
    assert (opposite.rank_correlation, opposite.cosine) == (pytest.approx(-1.0), pytest.approx(-1.0))


def test_constant_and_zero_maps_have_no_answer() -> None:
    for r in compared(lambda film: np.ones_like(film), FILM, Perturbation.SHIFT):
        assert r.cosine is not None
    exact, _ = compared(lambda film: np.ones_like(film), FILM, Perturbation.SHIFT)
    assert exact.rank_correlation is None
    for r in compared(lambda film: np.zeros_like(film), FILM, Perturbation.JPEG):
        assert (r.rank_correlation, r.cosine) == (None, None)


def test_cosine_on_paper() -> None:
    assert cosine(np.array([3.0, 4.0]), np.array([4.0, 3.0])) == pytest.approx(24 / 25)
    assert cosine(np.array([1.0, 0.0]), np.array([0.0, 2.0])) == 0.0
    assert cosine(np.zeros(2), np.ones(2)) is None
