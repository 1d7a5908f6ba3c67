"""Which pixels of a film are meant to be looked at: pixel padding and display shutter."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset

from vidi.imaging import headers
from vidi.imaging.notes import Note

Mask = npt.NDArray[np.bool_]

# A shutter that leaves less of the film than this is taken for a mistake.
_LEAST_OPEN = 0.02
_MOST_VERTICES = 4096


def padded(ds: Dataset, stored: npt.NDArray[np.int32]) -> Mask | None:
    """Pixels with Pixel Padding Value, or between it and Pixel Padding Range Limit (PS3.3 C.7.5.1.1.2).

    Both are compared with stored values, before any LUT. None when the header names no padding.
    """
    first = headers.integer(ds, "PixelPaddingValue")
    if first is None:
        return None
    last = headers.integer(ds, "PixelPaddingRangeLimit")
    if last is None:
        last = first
    if headers.integer(ds, "PixelRepresentation") == 1:
        bits = headers.integer(ds, "BitsAllocated") or 16
        # Some writers store the negative value in an unsigned element.
        first, last = (v - (1 << bits) if v >= 1 << (bits - 1) else v for v in (first, last))
    return (stored >= min(first, last)) & (stored <= max(first, last))


def shutter(ds: Dataset, shape: tuple[int, int], notes: list[Note]) -> Mask | None:
    """Pixels inside the display shutter (PS3.3 C.7.6.11): the intersection of all its shapes.

    None when there is no shutter, or when it is malformed or leaves next to nothing (with a note).
    """
    wanted = [kind for kind in headers.code(ds, "ShutterShape").split("\\") if kind]
    shapes = [mask for kind in wanted if (mask := _shape(ds, kind, shape)) is not None]
    if len(shapes) == len(wanted) and not wanted:
        return None
    inside = np.logical_and.reduce(shapes) if shapes else np.zeros(shape, bool)
    if len(shapes) < len(wanted) or float(inside.mean()) < _LEAST_OPEN:
        notes.append(Note("SHUTTER_IGNORED", "the display shutter is malformed or covers the film; it was not applied"))
        return None
    return np.asarray(inside, bool)


def _shape(ds: Dataset, kind: str, shape: tuple[int, int]) -> Mask | None:
    # Rows and columns of the standard count from 1.
    rows = np.arange(1, shape[0] + 1)[:, None]
    columns = np.arange(1, shape[1] + 1)[None, :]
    if kind == "RECTANGULAR":
        edges = [
            headers.number(ds, f"Shutter{edge}Edge")
            for edge in ("UpperHorizontal", "LowerHorizontal", "LeftVertical", "RightVertical")
        ]
        upper, lower, left, right = edges
        if upper is None or lower is None or left is None or right is None:
            return None
        return np.asarray((rows >= upper) & (rows <= lower) & (columns >= left) & (columns <= right))
    if kind == "CIRCULAR":
        centre, radius = (headers.numbers(ds, "CenterOfCircularShutter"), headers.number(ds, "RadiusOfCircularShutter"))
        if len(centre) != 2 or radius is None:
            return None
        return np.asarray((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2)
    if kind == "POLYGONAL":
        flat = headers.numbers(ds, "VerticesOfThePolygonalShutter")
        if len(flat) < 6 or len(flat) % 2 or len(flat) > 2 * _MOST_VERTICES or max(map(abs, flat)) > 1e6:
            return None
        canvas = Image.new("1", (shape[1], shape[0]))
        points = [(x - 1, y - 1) for y, x in zip(flat[::2], flat[1::2], strict=True)]
        ImageDraw.Draw(canvas).polygon(points, fill=1, outline=1)
        return np.asarray(canvas, bool)
    return None
