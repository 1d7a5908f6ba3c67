"""Smooth fields on a film's pixel grid."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

Field = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def blur(field: Field, sigma: float) -> Field:
    """Gaussian blur of `sigma` pixels; broad ones are computed on a smaller grid."""
    factor = int(sigma // 4)
    if factor < 2:
        return np.asarray(gaussian_filter(field, sigma, truncate=3.0), np.float32)
    small = (math.ceil(field.shape[0] / factor), math.ceil(field.shape[1] / factor))
    reduced = gaussian_filter(resize(field, small), sigma / factor, truncate=3.0)
    return resize(reduced, (field.shape[0], field.shape[1]))


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], grain: float) -> Field:
    """Smooth random field of zero mean and unit variance whose structures are about `grain` of the film's height."""
    cells = max(3, round(1.0 / grain))
    coarse = rng.standard_normal((cells + 2, max(3, round(cells * shape[1] / shape[0])) + 2)).astype(np.float32)
    fine = resize(coarse, shape)
    return np.asarray((fine - fine.mean()) / (fine.std() + 1e-9), np.float32)


def resize(field: Field, shape: tuple[int, int]) -> Field:
    """Resample to `shape` (height, width), bicubic, antialiased when it shrinks."""
    image = Image.fromarray(np.ascontiguousarray(field, np.float32))
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BICUBIC), np.float32)
