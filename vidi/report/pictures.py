"""Pictures of the report as data URIs: films, maps over films, the colour legend."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from vidi.imaging.overlay import RECIPE, colorize, smooth
from vidi.report.cards import FilmCard, Grey

__all__ = ["RECIPE", "film", "legend", "mean_film", "mean_map", "overlay", "shared_scale"]

#: Longest side of a picture in pixels.
SIDE = 176

#: Colours of an overlay's palette: half the bytes of full colour, and no difference to the eye at this size.
COLOURS = 192

#: Share of map values that lie within a scale taken from the films themselves.
SCALE_QUANTILE = 0.995

#: How bright the film lies under a map, so that the map's colours stand out.
FILM_UNDER_MAP = 0.75


def film(grey: Grey) -> str:
    """A film (h, w) in 0..1 as PNG data URI."""
    return _png(Image.fromarray(_bytes(grey)))


def overlay(grey: Grey, attribution: Grey, scale: float) -> str:
    """A map over its film as PNG data URI, on a fixed symmetric scale.

    Parameters
    ----------
    grey
        Film (h, w) in 0..1.
    attribution
        Map in logits per pixel, not smoothed; its shape is the picture's.
    scale
        Half-width of the colour scale, logits per pixel after smoothing, above 0.
    """
    height, width = attribution.shape
    base = Image.fromarray(_bytes(np.asarray(grey) * FILM_UNDER_MAP)).resize((width, height)).convert("RGBA")
    base.alpha_composite(Image.fromarray(_rgba(smooth(attribution), scale)))
    shrunk = _shrink(base.convert("RGB")).quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return _png(shrunk)


def legend() -> str:
    """The colour scale from most glum (left) to most favorable (right) over a dark film, as PNG data URI."""
    ramp = np.tile(np.linspace(-1.0, 1.0, 256, dtype=np.float32), (12, 1))
    base = Image.new("RGBA", (256, 12), (64, 64, 64, 255))
    base.alpha_composite(Image.fromarray(_rgba(ramp, 1.0)))
    return _png(base.convert("RGB"))


def mean_film(cards: Sequence[FilmCard]) -> Grey | None:
    """The mean of the films (h, w); None when there are none of one shape."""
    return _mean([c.thumbnail for c in cards if c.thumbnail is not None])


def mean_map(cards: Sequence[FilmCard], name: str) -> Grey | None:
    """The mean of the maps of one class (h, w); None when there are none of one shape."""
    return _mean([c.maps[name] for c in cards if name in c.maps])


def shared_scale(cards: Sequence[FilmCard]) -> float:
    """A scale that all maps of these films share, for models whose own was not measured; 1 when there are no maps."""
    values = [np.quantile(np.abs(smooth(m)), SCALE_QUANTILE) for c in cards for m in c.maps.values()]
    return float(max(values, default=0.0)) or 1.0


def _mean(arrays: Sequence[Grey]) -> Grey | None:
    if not arrays or len({a.shape for a in arrays}) > 1:
        return None
    return np.asarray(np.mean(arrays, axis=0, dtype=np.float64), np.float32)


def _rgba(attribution: Grey, scale: float) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(colorize(attribution, scale))


def _bytes(grey: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    return np.asarray(np.rint(np.clip(np.nan_to_num(grey), 0.0, 1.0) * 255.0), np.uint8)


def _shrink(image: Image.Image) -> Image.Image:
    shrunk = image.copy()
    shrunk.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return shrunk


def _png(image: Image.Image) -> str:
    buffer = io.BytesIO()
    _shrink(image).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
