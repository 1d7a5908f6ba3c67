"""The display layer: how attribution maps are shown on films.

The exact layer stays untouched elsewhere (float32 on the grid that the model saw). What is shown here is a recipe with
a version, `RECIPE`, stamped on every picture: a unit-sum Gaussian, so that sums survive, and one symmetric scale for
all classes and films of a model, so that a clear film does not glow like a sick one. Nothing is masked, nothing is
thresholded: attribution beside the lungs is where shortcuts show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

from vidi.errors import InvalidInput
from vidi.imaging import canvas
from vidi.imaging.canvas import FAINT, RGB, WARNING, Canvas, Colour
from vidi.imaging.geometry import Affine

Map = npt.NDArray[np.float32]
RGBA = npt.NDArray[np.uint8]

SIGMA = 4.0
MAX_SIGMA = 8.0
RECIPE = "display 1: Gaussian sigma 4 px (unit sum), fixed symmetric scale, opacity proportional to |attribution|"
NOT_FOR_DIAGNOSIS = "Not for diagnosis. A radiologist decides."

# Orange and blue: told apart with any common colour vision, and from the grey of the film. Dim to bright by strength.
_WARM = np.array(((196.0, 78.0, 0.0), (255.0, 194.0, 82.0)))
_COOL = np.array(((0.0, 96.0, 214.0), (112.0, 214.0, 255.0)))
_OPACITY = 0.88
_WARM_TEXT: Colour = (255, 176, 72)
_COOL_TEXT: Colour = (112, 200, 255)

_MARGIN = 28
_GAP = 20


def smooth(map: npt.NDArray[np.floating], sigma: float = SIGMA) -> Map:
    """Smooth a map with a unit-sum Gaussian.

    What would leave the map at its border is reflected back, so that the sum is kept (to float32 rounding).

    Parameters
    ----------
    map
        Attribution (height, width).
    sigma
        Standard deviation in pixels of the map, 0 (untouched) to 8.

    Raises
    ------
    InvalidInput
        When sigma is out of range.
    """
    if not 0.0 <= sigma <= MAX_SIGMA:
        raise InvalidInput(f"sigma is 0 to {MAX_SIGMA:g} pixels", field="sigma")
    if sigma == 0.0:
        return np.array(map, np.float32)
    return np.asarray(gaussian_filter(np.asarray(map, np.float64), sigma, mode="reflect"), np.float32)


def colorize(map: npt.NDArray[np.floating], scale: float) -> RGBA:
    """Colour a map: favorable (> 0) warm, glum (< 0) cool, stronger is brighter and less transparent.

    Parameters
    ----------
    map
        Attribution (height, width), after `smooth`.
    scale
        Half-width of the symmetric scale in the map's units, > 0; what lies beyond looks like its end.

    Returns
    -------
    uint8 (height, width, 4): red, green, blue, opacity (0 at zero, growing linearly).

    Raises
    ------
    InvalidInput
        When the scale is not above 0.
    """
    if not scale > 0.0:
        raise InvalidInput("the scale of a map is above 0", field="scale")
    value = np.clip(np.asarray(map, np.float64) / scale, -1.0, 1.0)
    strength = np.abs(value)[..., None]
    warm = _WARM[0] + strength * (_WARM[1] - _WARM[0])
    cool = _COOL[0] + strength * (_COOL[1] - _COOL[0])
    colour = np.where(value[..., None] >= 0.0, warm, cool)
    return np.concatenate([np.rint(colour), np.rint(255.0 * _OPACITY * strength)], axis=-1).astype(np.uint8)


def overlay(film: npt.NDArray[np.floating], map: npt.NDArray[np.floating], grid_to_film: Affine, scale: float) -> RGB:
    """Lay a coloured map on a film.

    Parameters
    ----------
    film
        Grey film (height, width) in 0..1.
    map
        Attribution on the model's grid, after `smooth`.
    grid_to_film
        Transform from the map's pixels to the film's.
    scale
        See `colorize`.

    Returns
    -------
    uint8 (height, width, 3), of the film's size.
    """
    values = _on_film(np.asarray(map, np.float64), (film.shape[0], film.shape[1]), grid_to_film)
    rgba = colorize(values, scale).astype(np.float64)
    grey = 255.0 * np.clip(np.asarray(film, np.float64), 0.0, 1.0)[..., None]
    opacity = rgba[..., 3:] / 255.0
    return np.rint(grey * (1.0 - opacity) + rgba[..., :3] * opacity).astype(np.uint8)


@dataclass(frozen=True)
class _Layout:
    """Sizes in pixels: one tile of a class, the film at the left, where the classes begin, the whole."""

    tile: tuple[int, int]
    film: tuple[int, int]
    head: int
    block: int
    width: int
    height: int


def compose(
    film: npt.NDArray[np.floating],
    maps: Sequence[tuple[str, float, npt.NDArray[np.floating]]],
    *,
    scale: float,
    grid_to_film: Affine,
    title: Sequence[str] = (),
    watermark: str = "",
    side_labels: tuple[str, str] = ("image-left", "image-right"),
    calibrated: bool | None = None,
    sigma: float = SIGMA,
) -> RGB:
    """Compose the picture that every viewer can show: film, favorable and glum overlay of every class, legend.

    Parameters
    ----------
    film
        Grey film (height, width) in 0..1.
    maps
        For each class its name, probability (0..1) and exact map on the model's grid, in logits.
    scale
        Half-width of the model's fixed colour scale, in logits per pixel of the grid after smoothing. 0 when the model
        has none: then this film's own 99.5th percentile is used, and the picture says so.
    grid_to_film
        Transform from the grid's pixels to the film's.
    title
        Lines at the top: software, model, what it favours, notes. No patient data.
    watermark
        Written across the film and along the foot of every tile, "OUTSIDE INTENDED USE" for example; "": none.
    side_labels
        What the film's left and right edge are: "R" and "L" from Patient Orientation, else the image's sides.
    calibrated
        Whether probabilities are calibrated, said beside each; None: said in `title`.
    sigma
        See `smooth`.

    Returns
    -------
    uint8 (height, width, 3). The same arguments give the same bytes.

    Raises
    ------
    InvalidInput
        When there is no map.
    """
    if not maps:
        raise InvalidInput("a picture needs the map of a class", field="maps")
    smoothed = [smooth(map_, sigma) for _, _, map_ in maps]
    fitted = not scale > 0.0
    if fitted:
        scale = max(float(np.quantile(np.abs(np.stack(smoothed)), 0.995)), 1e-9)
    size = _layout(film.shape[0], film.shape[1], len(maps), title)
    panel = Canvas(size.width, size.height)
    _title(panel, size, title)
    _film(panel, size, film, watermark, side_labels)
    for row, ((name, probability, exact), shown) in enumerate(zip(maps, smoothed, strict=True)):
        heading = _probability(name, probability, calibrated)
        _class(panel, size, row, film, grid_to_film, heading, exact, shown, scale, watermark, side_labels)
    _legend(panel, size, scale, fitted, maps[0][2].shape, sigma)
    return panel.rgb()


def _on_film(values: npt.NDArray[np.float64], shape: tuple[int, int], grid_to_film: Affine) -> npt.NDArray[np.float64]:
    """Interpolate a map at every pixel of a film; 0 where the map does not reach."""
    back = grid_to_film.inverse()
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float64)
    column, row = back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f
    # A map's pixels reach half a pixel beyond their centres.
    inside = (row >= -0.5) & (row <= values.shape[0] - 0.5) & (column >= -0.5) & (column <= values.shape[1] - 0.5)
    return np.where(inside, map_coordinates(values, (row, column), order=1, mode="nearest"), 0.0)


def _layout(height: int, width: int, classes: int, title: Sequence[str]) -> _Layout:
    aspect = min(max(width / height, 0.6), 1.5)
    tile_height = 400 if classes <= 3 else 300
    tile = (tile_height, round(tile_height * aspect))
    block = tile_height + 74
    rows = min(classes, 3)
    film_height = min(rows * block - 74, round(1000 / aspect)) if rows > 1 else round(1.35 * tile_height)
    film = (film_height, round(film_height * aspect))
    total = 2 * _MARGIN + film[1] + 2 * _GAP + 2 * tile[1] + _GAP
    head = _MARGIN + sum(30 if i == 0 else 25 for i, _ in _title_lines(title, total)) + 12
    body = max(classes * block, film_height + 74)
    return _Layout(tile, film, head, block, total, head + body + 150)


def _title_lines(title: Sequence[str], width: int) -> list[tuple[int, str]]:
    """Wrapped lines, each with the number of the line that it comes from."""
    inner = width - 2 * _MARGIN
    return [(i, part) for i, line in enumerate(title) for part in canvas.wrap(line, inner, 22 if i == 0 else 18)]


def _title(panel: Canvas, size: _Layout, title: Sequence[str]) -> None:
    y = _MARGIN
    for i, line in _title_lines(title, size.width):
        panel.text(_MARGIN, y, line, size=22 if i == 0 else 18, colour=canvas.TEXT if i < 2 else WARNING)
        y += 30 if i == 0 else 25


def _film(panel: Canvas, size: _Layout, film: npt.NDArray[np.floating], watermark: str, sides: tuple[str, str]) -> None:
    x, y = _MARGIN, size.head + 58
    panel.text(x, size.head + 28, "film", size=18, colour=FAINT)
    grey, (dx, dy) = _fitted(film, size.film)
    rgb = np.repeat(np.rint(grey * 255.0).astype(np.uint8)[..., None], 3, axis=2)
    panel.paste(x + dx, y + dy, rgb)
    panel.frame(x, y, size.film[1], size.film[0])
    if watermark:
        panel.watermark(x, y, size.film[1], size.film[0], watermark)
    _sides(panel, x, y, size.film, sides, 20)


def _class(
    panel: Canvas,
    size: _Layout,
    row: int,
    film: npt.NDArray[np.floating],
    grid_to_film: Affine,
    heading: str,
    exact: npt.NDArray[np.floating],
    shown: Map,
    scale: float,
    watermark: str,
    sides: tuple[str, str],
) -> None:
    left = _MARGIN + size.film[1] + 2 * _GAP
    top = size.head + row * size.block
    panel.text(left, top, heading, size=20)
    small, (dx, dy) = _fitted(film, size.tile)
    onto = Affine.between_grids((film.shape[0], film.shape[1]), (small.shape[0], small.shape[1])).after(grid_to_film)
    values = np.asarray(exact, np.float64)
    columns = (
        ("favorable", float(values[values > 0].sum()), np.maximum(shown, 0.0), _WARM_TEXT),
        ("glum", float(values[values < 0].sum()), np.minimum(shown, 0.0), _COOL_TEXT),
    )
    for i, (word, total, part, colour) in enumerate(columns):
        x, y = left + i * (size.tile[1] + _GAP), top + 58
        panel.text(x, top + 30, f"{word}: {total:+.3g} logits", size=18, colour=colour)
        panel.paste(x + dx, y + dy, overlay(small, part, onto, scale))
        panel.frame(x, y, size.tile[1], size.tile[0])
        # Along the foot, where it hides no attribution.
        panel.text(x + size.tile[1] // 2, y + size.tile[0] - 8, watermark, size=15, anchor="ms", shadow=True)
        _sides(panel, x, y, size.tile, sides, 15)


def _fitted(film: npt.NDArray[np.floating], box: tuple[int, int]) -> tuple[Map, tuple[int, int]]:
    """A film scaled into a box (height, width) with its aspect kept, and its offset (x, y) in there."""
    factor = min(box[0] / film.shape[0], box[1] / film.shape[1])
    height, width = max(1, round(film.shape[0] * factor)), max(1, round(film.shape[1] * factor))
    image = Image.fromarray(np.ascontiguousarray(film, np.float32))
    scaled = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    return np.clip(scaled, 0.0, 1.0), ((box[1] - width) // 2, (box[0] - height) // 2)


def _sides(panel: Canvas, x: int, y: int, box: tuple[int, int], sides: tuple[str, str], size: int) -> None:
    panel.text(x + 8, y + 6, sides[0], size=size, anchor="la", shadow=True)
    panel.text(x + box[1] - 8, y + 6, sides[1], size=size, anchor="ra", shadow=True)


def _probability(name: str, probability: float, calibrated: bool | None) -> str:
    said = "" if calibrated is None else " (calibrated)" if calibrated else " (not calibrated)"
    return f"class '{name}': probability {probability:.3f}{said}"


def _legend(panel: Canvas, size: _Layout, scale: float, fitted: bool, grid: tuple[int, ...], sigma: float) -> None:
    top, width, height = size.height - 138, 460, 18
    ramp = np.broadcast_to(np.linspace(-scale, scale, width), (height, width))
    panel.paste(_MARGIN, top + 8, overlay(np.full((height, width), 0.35), ramp, Affine(), scale))
    panel.frame(_MARGIN, top + 8, width, height)
    for share in (-1.0, -0.5, 0.0, 0.5, 1.0):
        x = _MARGIN + round((share + 1.0) / 2.0 * (width - 1))
        panel.line((x, top + 8 + height), (x, top + 14 + height))
        anchor = "la" if share == -1.0 else "ra" if share == 1.0 else "ma"
        panel.text(x, top + 18 + height, f"{share * scale:+.3g}" if share else "0", size=15, anchor=anchor)
    panel.text(_MARGIN, top + 64, "glum (against the class)", size=15, colour=_COOL_TEXT)
    panel.text(_MARGIN + width, top + 64, "favorable (for the class)", size=15, colour=_WARM_TEXT, anchor="ra")
    x = _MARGIN + width + 2 * _GAP
    seen = f"{grid[0]} x {grid[1]}"
    banner = "  SCALE FITTED TO THIS FILM: do not compare with other films." if fitted else ""
    recipe = RECIPE if sigma == SIGMA else RECIPE.replace("sigma 4 px", f"sigma {sigma:g} px")
    lines = (
        (
            f"Scale: logits per pixel of the {seen} grid, after smoothing. Sums: logits of the exact map.{banner}",
            WARNING if fitted else FAINT,
        ),
        (f"The model saw {seen} pixels. {recipe}.", FAINT),
    )
    y = top + 4
    for line, colour in lines:
        for part in canvas.wrap(line, size.width - x - _MARGIN, 15):
            panel.text(x, y, part, size=15, colour=colour)
            y += 20
    panel.text(x, top + 92, NOT_FOR_DIAGNOSIS, size=20, colour=WARNING)
