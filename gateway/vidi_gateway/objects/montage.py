"""The pictures of several films as one, with a head that says what they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from vidi.imaging import canvas
from vidi.imaging.canvas import RGB, TEXT, WARNING, Canvas

MOST_FILMS = 4
"""So many films are pictured; 2 x 2 is what one screen still shows readably."""

LONGEST_SIDE = 4096
"""Longest side of a study's picture, in pixels: beyond it, the picture is made smaller."""

_MARGIN, _GAP, _BAND = 28, 24, 56


def montage(films: Sequence[tuple[str, RGB]], head: Sequence[str], remarks: Sequence[str]) -> RGB:
    """Put pictures below and beside one another.

    Parameters
    ----------
    films
        For each film its name and its picture (rows, columns, 3), uint8.
    head
        Lines at the top.
    remarks
        Lines below them that must be seen.

    Returns
    -------
    uint8 (rows, columns, 3); of a single film without head and remarks its own picture.
    """
    if len(films) == 1 and not head and not remarks:
        return _bounded(films[0][1])
    columns = _columns([rgb.shape[:2] for _, rgb in films])
    grid = [list(films[i : i + columns]) for i in range(0, len(films), columns)]
    widths = [max(row[i][1].shape[1] for row in grid if i < len(row)) for i in range(columns)]
    band = _BAND if len(films) > 1 else 0
    heights = [max(rgb.shape[0] for _, rgb in row) + band for row in grid]
    width = sum(widths) + _GAP * (columns - 1)
    size = 22 if len(films) == 1 else 28
    lines = [(part, TEXT) for line in head for part in canvas.wrap(line, width - 2 * _MARGIN, size)]
    lines += [(part, WARNING) for line in remarks for part in canvas.wrap(line, width - 2 * _MARGIN, size)]
    leading = round(1.4 * size)
    y = _MARGIN + leading * len(lines)
    panel = Canvas(width, y + sum(heights) + _GAP * (len(grid) - 1))
    for i, (line, colour) in enumerate(lines):
        panel.text(_MARGIN, _MARGIN + leading * i, line, size=size, colour=colour)
    for row, height in zip(grid, heights, strict=True):
        x = 0
        for (name, rgb), column in zip(row, widths, strict=False):
            if band:
                panel.line((x + _MARGIN, y + 8), (x + column - _MARGIN, y + 8))
                panel.text(x + _MARGIN, y + 20, name, size=size)
            panel.paste(x, y + band, rgb)
            x += column + _GAP
        y += height + _GAP
    return _bounded(panel.rgb())


def _columns(shapes: Sequence[tuple[int, ...]]) -> int:
    """Return 1 or 2: the number of columns that makes the whole come closer to a square, as screens do."""

    def elongation(columns: int) -> float:
        height = sum(max(h for h, _ in shapes[i : i + columns]) for i in range(0, len(shapes), columns))
        return abs(math.log(columns * max(w for _, w in shapes) / height))

    return min(range(1, min(len(shapes), 2) + 1), key=elongation)


def _bounded(rgb: RGB) -> RGB:
    factor = LONGEST_SIDE / max(rgb.shape[:2])
    if factor >= 1.0:
        return rgb
    size = (max(1, round(rgb.shape[1] * factor)), max(1, round(rgb.shape[0] * factor)))
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS), np.uint8)
