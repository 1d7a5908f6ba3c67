"""A contact sheet: film, mask and map side by side, on the scale that all pictures of the model have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion

from experiments.phantom_truth.run import LABEL, MAP, Judged, Shown
from vidi.imaging.canvas import FAINT, RGB, WARNING, Canvas
from vidi.imaging.geometry import Affine
from vidi.imaging.overlay import NOT_FOR_DIAGNOSIS, RECIPE, overlay, smooth
from vidi_explainer.quality.truth import Mask
from vidi_explainer.targets import TargetKind

COLUMNS = 2
MARGIN, GAP, CAPTION, HEAD, FOOT = 28, 8, 40, 84, 84
_RAMP = (18, 300)


def draw(films: Sequence[tuple[Judged, Shown]], *, model: str, scale: float) -> RGB:
    """Draw the sheet.

    Parameters
    ----------
    films
        At least one; all of one grid.
    model
        What the title calls the model.
    scale
        Half-width of the model's fixed colour scale, in logits per pixel of the grid after smoothing. 0 when the model
        has none: then the 99.5th percentile of these films is used, and the sheet says so.

    Returns
    -------
    uint8 (height, width, 3).
    """
    maps = [smooth(shown.map) for _, shown in films]
    fitted = not scale > 0.0
    if fitted:
        scale = max(float(np.quantile(np.abs(np.stack(maps)), 0.995)), 1e-9)
    tile_height, tile_width = films[0][1].grid.shape
    block = 3 * (tile_width + GAP) - GAP + MARGIN
    rows = -(-len(films) // COLUMNS)
    panel = Canvas(MARGIN + COLUMNS * block, HEAD + rows * (tile_height + CAPTION) + FOOT)
    panel.text(MARGIN, 20, f"{model}: {MAP} map of the logit of class {LABEL}, severe phantoms", size=20)
    panel.text(MARGIN, 50, "Each: film, opacity as drawn, map with that outline. Warm for, cool against.", size=16)
    for i, ((judged, shown), map_) in enumerate(zip(films, maps, strict=True)):
        x, y = MARGIN + i % COLUMNS * block, HEAD + i // COLUMNS * (tile_height + CAPTION)
        plain = overlay(shown.grid, np.zeros_like(map_), Affine(), scale)
        tiles = (plain, outlined(plain, shown.mask), outlined(overlay(shown.grid, map_, Affine(), scale), shown.mask))
        for column, tile in enumerate(tiles):
            panel.paste(x + column * (tile_width + GAP), y, tile)
        panel.text(x, y + tile_height + 6, _caption(judged), size=15, colour=FAINT)
    _legend(panel, HEAD + rows * (tile_height + CAPTION), scale, fitted)
    return panel.rgb()


def outlined(picture: RGB, mask: Mask) -> RGB:
    """Draw the outline of a mask (height, width) on a picture: white inside its edge, black outside of it."""
    drawn = picture.copy()
    drawn[mask & ~binary_erosion(mask, border_value=1)] = 255
    drawn[binary_dilation(mask) & ~mask] = 0
    return drawn


def _caption(judged: Judged) -> str:
    score = judged.scores[TargetKind.LOGIT][MAP]
    return (
        f"model favours class '{judged.favours}'; {score.smoothed:.0%} of what is favorable inside, smoothed "
        f"(chance {judged.chance.favorable_inside:.0%}), {'hit' if score.hit else 'miss'}"
    )


def _legend(panel: Canvas, top: int, scale: float, fitted: bool) -> None:
    ramp = np.broadcast_to(np.linspace(-scale, scale, _RAMP[1]), _RAMP)
    panel.paste(MARGIN, top + 4, overlay(np.full(_RAMP, 0.35), ramp, Affine(), scale))
    panel.text(MARGIN, top + 28, f"{-scale:+.3g}", size=15)
    panel.text(MARGIN + _RAMP[1], top + 28, f"{scale:+.3g} logits a pixel", size=15, anchor="ra")
    fit = ". SCALE FITTED TO THESE FILMS" if fitted else ""
    x = MARGIN + _RAMP[1] + 28
    panel.text(x, top + 4, f"{RECIPE}{fit}.", size=14, colour=FAINT)
    panel.text(x, top + 28, NOT_FOR_DIAGNOSIS, size=18, colour=WARNING)
