"""The pictures of several films as one, with a head that says what they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from vidi.imaging import canvas
from vidi.imaging.canvas import RGB, TEXT, WARNING, Canvas

MOST_FILMS = 4
"""So many films are pictured; 2 x 2 is what one screen still shows readably."""

MOST_PIXELS = 4096
"""Longest side of a picture of several films, in pixels: beyond it, the picture is made smaller."""

_MARGIN, _GAP, _BAND = 28, 24, 56


def montage(films: Sequence[tuple[str, RGB]], head: Sequence[str], remarks: Sequence[str]) -> RGB:
    """Put pictures beside one another, two in a row.

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
    uint8 (rows, columns, 3); of a single film without head and remarks its picture, untouched.
    """
    if len(films) == 1 and not head and not remarks:
        return films[0][1]
    columns = min(len(films), 2)
    height = max(rgb.shape[0] for _, rgb in films)
    width = max(rgb.shape[1] for _, rgb in films)
    band = _BAND if len(films) > 1 else 0
    size = 22 if columns == 1 else 32
    whole = columns * (width + _GAP) - _GAP
    lines = [(part, TEXT) for line in head for part in canvas.wrap(line, whole - 2 * _MARGIN, size)]
    lines += [(part, WARNING) for line in remarks for part in canvas.wrap(line, whole - 2 * _MARGIN, size)]
    top = _MARGIN + round(1.4 * size) * len(lines)
    rows = -(-len(films) // columns)
    panel = Canvas(whole, top + rows * (band + height + _GAP) - _GAP)
    for i, (line, colour) in enumerate(lines):
        panel.text(_MARGIN, _MARGIN + round(1.4 * size) * i, line, size=size, colour=colour)
    for i, (name, rgb) in enumerate(films):
        x, y = (i % columns) * (width + _GAP), top + (i // columns) * (band + height + _GAP)
        if band:
            panel.line((x + _MARGIN, y + 8), (x + width - _MARGIN, y + 8))
            panel.text(x + _MARGIN, y + 20, name, size=size)
        panel.paste(x, y + band, rgb)
    return _bounded(panel.rgb())


def _bounded(rgb: RGB) -> RGB:
    factor = MOST_PIXELS / max(rgb.shape[:2])
    if factor >= 1.0:
        return rgb
    size = (max(1, round(rgb.shape[1] * factor)), max(1, round(rgb.shape[0] * factor)))
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS), np.uint8)
