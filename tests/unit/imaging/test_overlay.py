from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vidi.errors import InvalidInput
from vidi.imaging.geometry import Affine
from vidi.imaging.overlay import RECIPE, colorize, compose, overlay, smooth
from vidi.imaging.preprocess import Preprocessing

RNG = np.random.default_rng(0)
MAP = RNG.standard_normal((224, 224)).astype(np.float32) * 1e-3


@pytest.mark.parametrize("sigma", [0.0, 0.5, 4.0, 8.0])
def test_smoothing_keeps_sums(sigma: float) -> None:
    edge = np.zeros((224, 224), np.float32)
    edge[0, 0] = edge[223, 100] = 1.0
    for exact in (MAP, edge, np.abs(MAP)):
        assert float(smooth(exact, sigma).astype(np.float64).sum()) == pytest.approx(
            float(exact.astype(np.float64).sum()), abs=2e-5
        )


def test_smoothing_is_a_gaussian_of_four_pixels() -> None:
    point = np.zeros((101, 101), np.float32)
    point[50, 50] = 1.0
    blurred = smooth(point).astype(np.float64)
    offsets = np.arange(101) - 50
    assert float((blurred.sum(axis=0) * offsets**2).sum()) == pytest.approx(16.0, rel=0.01)
    assert "sigma 4 px" in RECIPE
    with pytest.raises(InvalidInput):
        smooth(point, 8.5)


def test_colours_are_symmetric_and_zero_centred() -> None:
    values = np.array([[-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]])
    rgba = colorize(values, 1.0).astype(int)[0]
    alpha = rgba[:, 3]
    assert alpha[3] == 0
    assert list(alpha) == list(alpha[::-1])
    assert alpha[0] == alpha[1] > alpha[2] > 0
    assert (rgba[4:, 0] > rgba[4:, 2]).all()  # favorable: red above blue
    assert (rgba[:3, 2] > rgba[:3, 0]).all()  # glum: blue above red
    with pytest.raises(InvalidInput):
        colorize(values, 0.0)


def test_colours_are_told_apart_by_the_colour_blind() -> None:
    """Simulated protanopia and deuteranopia (Viénot et al. 1999, linear RGB): the two ends stay far apart."""
    ends = (colorize(np.array([[1.0, -1.0, 0.5, -0.5]]), 1.0)[0, :, :3] / 255.0) ** 2.2
    protan = np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]])
    deutan = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
    for vision in (protan, deutan):
        seen = np.clip(ends @ vision.T, 0.0, 1.0)
        assert np.abs(seen[0] - seen[1]).max() > 0.3
        assert np.abs(seen[2] - seen[3]).max() > 0.3


def test_nothing_is_masked_away() -> None:
    """Attribution in a dark corner, far from any lung, is shown like any other."""
    film = np.zeros((300, 260), np.float32)
    grid, to_film = Preprocessing().to_grid(film)
    values = np.zeros(grid.shape, np.float32)
    values[2:8, 2:8] = values[110:116, 110:116] = 0.5
    shown = overlay(film, values, to_film, 1.0).astype(int)
    corner = shown[5, 5]
    middle = shown[round(112.5 * 300 / 224), round(112.5 * 260 / 224)]
    np.testing.assert_array_equal(corner, middle)
    assert corner.max() > 60


def test_overlay_lands_where_the_grid_came_from() -> None:
    film = np.full((400, 200), 0.2, np.float32)
    for geometry in ("squash", "letterbox"):
        grid, to_film = Preprocessing(geometry=geometry).to_grid(film)
        row, column = 60, 110
        values = np.zeros(grid.shape, np.float32)
        values[row - 2 : row + 3, column - 2 : column + 3] = 1.0
        changed = np.abs(overlay(film, values, to_film, 1.0).astype(int) - 51).sum(axis=2)
        ys, xs = np.nonzero(changed > changed.max() / 2)
        x, y = to_film(column, row)
        assert ys.mean() == pytest.approx(y, abs=1.0), geometry
        assert xs.mean() == pytest.approx(x, abs=1.0), geometry


def test_overlay_of_nothing_is_the_film() -> None:
    film = RNG.random((64, 80)).astype(np.float32)
    shown = overlay(film, np.zeros((224, 224)), Affine.between_grids((224, 224), (64, 80)), 1.0)
    np.testing.assert_array_equal(
        shown, np.repeat(np.rint(255 * film.astype(float))[..., None], 3, axis=2).astype(np.uint8)
    )


def _composed(classes: int = 2, shape: tuple[int, int] = (256, 220), **options: Any) -> np.ndarray:
    film = np.linspace(0, 1, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    maps = [(f"class{i}", 1.0 / classes, MAP * (i + 1)) for i in range(classes)]
    arguments: dict[str, Any] = {
        "scale": 1e-3,
        "grid_to_film": Affine.between_grids((224, 224), shape),
        "title": ["ViDi 0.1.0", "Model favours its class 'class1': 0.93 (not calibrated)"],
    }
    return compose(film, maps, **{**arguments, **options})


@pytest.mark.parametrize("classes", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", [(256, 220), (64, 600), (600, 64)])
def test_panels_of_all_shapes(classes: int, shape: tuple[int, int]) -> None:
    rgb = _composed(classes, shape)
    assert rgb.dtype == np.uint8
    assert rgb.shape[2] == 3
    # Nothing touches the margin: nothing is cut off.
    background = rgb[0, 0]
    for border in (rgb[:8], rgb[-8:], rgb[:, :8], rgb[:, -8:]):
        assert (border == background).all()


def test_panels_are_deterministic() -> None:
    assert _composed().tobytes() == _composed().tobytes()


@pytest.mark.parametrize(
    "options",
    [
        {"watermark": "OUTSIDE INTENDED USE"},
        {"side_labels": ("R", "L")},
        {"calibrated": False},
        {"scale": 2e-3},
        {"scale": 0.0},
        {"sigma": 2.0},
        {"title": ["other"]},
    ],
)
def test_everything_said_is_seen(options: dict[str, Any]) -> None:
    a, b = _composed(), _composed(**options)
    assert a.shape != b.shape or not np.array_equal(a, b)


def test_long_titles_wrap_and_push_the_rest_down() -> None:
    short, long = _composed(), _composed(title=["a", "b", "OUT_OF_POPULATION: " + "very long words " * 40, "x" * 900])
    assert long.shape[1] == short.shape[1]
    assert long.shape[0] > short.shape[0] + 80
    assert (long[:, -8:] == long[0, 0]).all()


def test_a_picture_needs_a_map() -> None:
    with pytest.raises(InvalidInput):
        compose(np.zeros((64, 64)), [], scale=1.0, grid_to_film=Affine())
