"""Films as short vectors: what decides which films look alike."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vidi.errors import InvalidInput

#: Height and width of a thumbnail in pixels.
SIDE = 28


def thumbnails(grids: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Average films down to 28 x 28; rows and columns beyond a multiple of 28 are cut off.

    Parameters
    ----------
    grids
        uint8 (n, height, width), sides of at least 28 pixels.

    Returns
    -------
    float32 (n, 784) in 0..1.

    Raises
    ------
    InvalidInput
        When the films have another shape or type.
    """
    if grids.dtype != np.uint8 or grids.ndim != 3 or min(grids.shape[1:]) < SIDE:
        raise InvalidInput(f"films are uint8 (n, height, width) with sides of at least {SIDE} pixels", field="grids")
    n, height, width = grids.shape
    rows, columns = height // SIDE, width // SIDE
    cropped = grids[:, : rows * SIDE, : columns * SIDE].reshape(n, SIDE, rows, SIDE, columns)
    return np.asarray(cropped.mean((2, 4), dtype=np.float32).reshape(n, SIDE * SIDE) / 255.0, np.float32)
