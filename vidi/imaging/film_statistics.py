"""Statistics that tell a frontal chest film from anything else, simple enough to be explained.

- `contrast` and `levels`: a blank picture has neither.
- `detail`: share of the picture's variation that is finer than about 1/64 of its height. Films of a body have some of
  it; noise and text have a lot, gradients none.
- `resemblance`: correlation with a schematic chest (the mean of twelve phantoms without opacities) after local contrast
  normalisation, best over sizes and shifts. Lungs full of opacities still leave ribs, mediastinum and shoulders.
- `upright`: by how much the picture resembles a chest more than it does when turned upside down, turned by a quarter or
  inverted: a film that is displayed wrongly, or a picture that resembles everything a little, has no such lead.

No film of a patient went into the template or is needed to compute any of this.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

Grey = npt.NDArray[np.float32]

_SIDE = 64
_SCALES = (0.72, 0.85, 1.0, 1.2)
# Largest shift of the template in either direction, in pixels of the 64-pixel grid.
_SHIFT = 8
_PHANTOMS = 12
# Rows and columns that vary less than this belong to no body: collimator, padding, light box.
_FLAT = 0.012


@dataclass(frozen=True)
class FilmStatistics:
    """See the module's description.

    Attributes
    ----------
    contrast
        Standard deviation of the grey values, 0..0.5.
    levels
        Number of different grey levels out of 256.
    detail
        0..1.
    resemblance
        Correlation, -1..1.
    upright
        Smallest of the leads over upside down, quarter turns and inverted, -2..2.
    lead
        Sum of resemblance and the three leads: one figure for "this is a chest, and the right way round".
    """

    contrast: float
    levels: int
    detail: float
    resemblance: float
    upright: float
    lead: float


def measure(film: Grey) -> FilmStatistics:
    """Measure a film (height, width) in 0..1 of any size; about 50 ms."""
    film = _content(film)
    picture = _resize(film, 128, 128)
    contrast = float(picture.std())
    levels = int(np.unique((picture * 255.0).astype(np.uint8)).size)
    fine = picture - gaussian_filter(picture, 1.0)
    detail = float(fine.std() / (contrast + 1e-6))
    seen = resemblance(picture)
    flipped = resemblance(picture[::-1])
    turned = max(resemblance(np.rot90(picture)), resemblance(np.rot90(picture, 3)))
    inverted = resemblance(1.0 - picture)
    leads = (seen - flipped, seen - turned, seen - inverted)
    return FilmStatistics(contrast, levels, detail, seen, min(leads), seen + sum(leads))


def resemblance(picture: Grey) -> float:
    """Best correlation of a picture with the schematic chest over its sizes and shifts, -1..1."""
    field = _locally_normalised(picture)
    energy = float(np.sqrt((field * field).sum()))
    if energy < 1e-3:
        return -1.0
    spectrum = np.fft.rfft2(field)
    window = np.r_[0 : _SHIFT + 1, -_SHIFT:0]
    best = -1.0
    for template in _templates():
        correlation = np.fft.irfft2(template * spectrum, s=(_SIDE, _SIDE))
        best = max(best, float(correlation[np.ix_(window, window)].max()) / energy)
    return best


def _content(film: Grey) -> Grey:
    """Cut off a flat border (collimation, padding, the light box), up to a third from each side."""
    picture = _resize(film, 96, 96)
    spread_rows, spread_columns = picture.std(axis=1), picture.std(axis=0)
    bounds = []
    for spread, size in ((spread_rows, film.shape[0]), (spread_columns, film.shape[1])):
        busy = np.flatnonzero(spread > _FLAT)
        first, last = (int(busy[0]), int(busy[-1])) if busy.size else (0, 95)
        bounds += [size * min(first, 32) // 96, -(-size * max(last + 1, 64) // 96)]
    top, bottom, left, right = bounds
    return film[top:bottom, left:right]


@lru_cache(maxsize=1)
def _templates() -> tuple[npt.NDArray[np.complex128], ...]:
    """Conjugate spectra of the schematic chest at all sizes, each of unit energy."""
    from vidi.phantoms import PhantomSpec, make

    films = (make(PhantomSpec(seed, "normal", 128, 128)).grey() for seed in range(_PHANTOMS))
    mean = np.mean([_locally_normalised(film) for film in films], axis=0).astype(np.float32)
    spectra = []
    for high in _SCALES:
        for wide in _SCALES:
            placed = _placed(mean, round(_SIDE * high), round(_SIDE * wide))
            placed /= np.sqrt((placed * placed).sum())
            spectra.append(np.conj(np.fft.rfft2(placed)))
    return tuple(spectra)


def _placed(template: Grey, height: int, width: int) -> Grey:
    """The template at a size, in the middle of the grid, cut or padded with zeros."""
    scaled = _resize(template, height, width)
    grid = np.zeros((_SIDE, _SIDE), np.float32)
    top, left = (_SIDE - height) // 2, (_SIDE - width) // 2
    rows = slice(max(top, 0), min(top + height, _SIDE))
    columns = slice(max(left, 0), min(left + width, _SIDE))
    grid[rows, columns] = scaled[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return grid


def _locally_normalised(picture: Grey) -> Grey:
    """Remove what exposure and contrast do: subtract the local mean, divide by the local deviation."""
    small = _resize(picture, _SIDE, _SIDE)
    centred = small - gaussian_filter(small, 12.0)
    deviation = np.sqrt(gaussian_filter(centred * centred, 16.0))
    return np.asarray(gaussian_filter(centred / (deviation + 0.02), 1.0), np.float32)


def _resize(film: Grey, height: int, width: int) -> Grey:
    image = Image.fromarray(np.ascontiguousarray(film, np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), np.float32)
