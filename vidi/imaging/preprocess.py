"""From a grey film in 0..1 to the network's input. Training and serving both use this module.

Order: resize (antialiased) -> grid (what the model sees, grey, 0..1) -> three channels -> ImageNet normalisation.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from vidi.errors import InvalidInput
from vidi.imaging.geometry import Affine

Grid = npt.NDArray[np.float32]
VERSION = "1"


@dataclass(frozen=True)
class Preprocessing:
    """Parameters of the preprocessing; they stand in the model bundle.

    Attributes
    ----------
    version
        Version of this module's arithmetic.
    height, width
        The network's input in pixels.
    geometry
        "squash": the film is stretched to the input's shape (the paper's way); "letterbox": the aspect ratio is kept
        and the rest is black.
    mean, std
        Per-channel normalisation of values in 0..1.
    """

    version: str = VERSION
    height: int = 224
    width: int = 224
    geometry: Literal["squash", "letterbox"] = "squash"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    @property
    def digest(self) -> str:
        """Digest of all parameters, "sha256:" and hex."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def to_grid(self, film: npt.NDArray[np.floating]) -> tuple[Grid, Affine]:
        """Resize a film to the model's grid.

        Parameters
        ----------
        film
            Grey film (height, width) in 0..1, 0 black.

        Returns
        -------
        grid
            float32 (`self.height`, `self.width`) in 0..1. A film that has this shape already comes back unchanged.
        grid_to_film
            Transform from the grid's pixels to the film's.

        Raises
        ------
        InvalidInput
            When the film is not two-dimensional or smaller than 16 pixels on a side.
        """
        if film.ndim != 2 or min(film.shape) < 16:
            raise InvalidInput(
                f"a film of shape {film.shape}: two axes of at least 16 pixels are needed", field="image"
            )
        shape = (self.height, self.width)
        source = np.ascontiguousarray(film, dtype=np.float32)
        if source.shape == shape:
            return source, Affine()
        if self.geometry == "squash":
            return _resize(source, shape), Affine.between_grids(shape, (film.shape[0], film.shape[1]))
        scale = min(shape[0] / film.shape[0], shape[1] / film.shape[1])
        inner = (max(1, round(film.shape[0] * scale)), max(1, round(film.shape[1] * scale)))
        top, left = (shape[0] - inner[0]) // 2, (shape[1] - inner[1]) // 2
        grid = np.zeros(shape, np.float32)
        grid[top : top + inner[0], left : left + inner[1]] = _resize(source, inner)
        shift = Affine(c=-left, f=-top)
        return grid, Affine.between_grids(inner, (film.shape[0], film.shape[1])).after(shift)

    def to_input(self, grid: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Normalise a grid, or a stack of them, to the network's input.

        Parameters
        ----------
        grid
            (..., height, width) in 0..1.

        Returns
        -------
        float32 (..., 3, height, width).
        """
        mean = np.asarray(self.mean, np.float32)[:, None, None]
        std = np.asarray(self.std, np.float32)[:, None, None]
        grey = np.asarray(grid, np.float32)[..., None, :, :]
        return np.ascontiguousarray((grey - mean) / std)


def _resize(film: Grid, shape: tuple[int, int]) -> Grid:
    """Antialiased bilinear resize in float (Pillow's triangle filter, whose support grows with the reduction)."""
    resized = Image.fromarray(film, mode="F").resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    return np.clip(np.asarray(resized, np.float32), 0.0, 1.0)
