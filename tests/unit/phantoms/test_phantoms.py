from __future__ import annotations

import numpy as np
import pytest

from vidi.errors import InvalidInput
from vidi.phantoms import GRADES, SEVERITIES, PhantomSpec, cohort, cohort_specs, make


def test_the_same_spec_gives_the_same_film() -> None:
    spec = PhantomSpec(7, "medium", 128, 140)
    a, b = make(spec), make(spec)
    np.testing.assert_array_equal(a.pixels, b.pixels)
    np.testing.assert_array_equal(a.opacity_mask, b.opacity_mask)
    assert not np.array_equal(a.pixels, make(PhantomSpec(8, "medium", 128, 140)).pixels)


def test_shapes_types_and_ranges() -> None:
    film = make(PhantomSpec(1, "severe", 160, 128))
    assert film.pixels.shape == film.opacity_mask.shape == film.lung_mask.shape == (160, 128)
    assert film.pixels.dtype == np.uint16
    assert film.pixels.max() <= 4095
    assert film.grey().dtype == np.float32
    assert 0.15 < film.lung_mask.mean() < 0.5


@pytest.mark.parametrize("severity", SEVERITIES)
def test_opacities_lie_in_the_lungs_and_have_the_extent_that_is_said(severity: str) -> None:
    for seed in range(4):
        film = make(PhantomSpec(seed, severity, 160, 160))  # type: ignore[arg-type]
        assert not (film.opacity_mask & ~film.lung_mask).any()
        measured = film.opacity_mask.sum() / film.lung_mask.sum()
        assert film.extent == pytest.approx(measured)
        low, high = GRADES[severity].extent
        assert low - 0.005 <= film.extent <= high + 0.005
        assert GRADES[severity].density[0] <= film.density <= GRADES[severity].density[1]
        assert GRADES[severity].foci[0] <= film.foci <= GRADES[severity].foci[1]


def test_a_normal_phantom_has_no_opacity() -> None:
    film = make(PhantomSpec(3, "normal", 128, 128))
    assert not film.opacity_mask.any()
    assert (film.extent, film.density, film.foci) == (0.0, 0.0, 0)


def test_opacities_brighten_the_lung_and_nothing_else() -> None:
    """The same body and exposure with and without: the difference is where the mask says."""
    for seed in (1, 2, 3):
        ill, well = (make(PhantomSpec(seed, s, 192, 192)) for s in ("severe", "normal"))
        np.testing.assert_array_equal(ill.lung_mask, well.lung_mask)
        difference = ill.grey() - well.grey()
        inside = difference[ill.opacity_mask].mean()
        outside = np.abs(difference[~ill.lung_mask]).mean()
        assert inside > 0.04
        assert outside < inside / 4


def test_extent_can_be_chosen() -> None:
    film = make(PhantomSpec(3, "medium", 128, 128, extent=0.5))
    assert film.extent == pytest.approx(0.5, abs=0.001)


def test_brightness_does_not_tell_the_severity() -> None:
    """A threshold on the mean grey value sorts mild from severe hardly better than a coin."""
    means = {s: [f.grey().mean() for f in cohort(24, 5, {s: 1.0}, height=96, width=96)] for s in ("mild", "severe")}
    mild, severe = np.array(means["mild"]), np.array(means["severe"])
    auc = (severe[:, None] > mild[None, :]).mean()
    assert 0.25 < auc < 0.8
    assert np.concatenate([mild, severe]).std() > 0.04  # exposure does vary


def test_cohorts_have_the_mix_that_is_asked_for() -> None:
    specs = cohort_specs(30, 1)
    counts = {s: sum(spec.severity == s for spec in specs) for s in SEVERITIES}
    assert counts == {"mild": 10, "medium": 10, "severe": 10}
    assert len({spec.seed for spec in specs}) == 30
    mixed = cohort_specs(10, 1, {"normal": 7, "severe": 3})
    assert sum(spec.severity == "normal" for spec in mixed) == 7
    assert not {s.seed for s in cohort_specs(50, 1)} & {s.seed for s in cohort_specs(50, 2)}
    films = list(cohort(2, 1, height=64, width=64))
    assert [f.spec for f in films] == cohort_specs(2, 1, height=64, width=64)


@pytest.mark.parametrize(
    "arguments",
    [
        {"seed": -1},
        {"seed": 0, "severity": "terrible"},
        {"seed": 0, "height": 32},
        {"seed": 0, "width": 10000},
        {"seed": 0, "extent": 1.5},
    ],
)
def test_senseless_specs_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        PhantomSpec(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("mix", [{}, {"terrible": 1.0}, {"mild": 0.0}, {"mild": -1.0}])
def test_senseless_mixes_are_refused(mix: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        cohort_specs(3, 1, mix)


def test_a_large_film_shows_the_same_body() -> None:
    small, large = (make(PhantomSpec(9, "normal", side, side)) for side in (128, 512))
    halved = large.lung_mask.reshape(128, 4, 128, 4).mean(axis=(1, 3)) > 0.5
    overlap = (halved & small.lung_mask).sum() / (halved | small.lung_mask).sum()
    assert overlap > 0.93
