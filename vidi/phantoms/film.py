"""Phantom films: synthetic frontal chest films with known opacities.

They stand in for patients wherever a picture must be shown, sent or shipped, and give ground truth that no real film
has: where the opacities are. They resemble a chest at the 224 x 224 pixels that a network sees; they are no simulation
of an X-ray unit, and a model that learned from them knows nothing about patients.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidi.errors import InvalidInput
from vidi.phantoms.anatomy import draw_body
from vidi.phantoms.fields import Field, Mask, blur, smooth_noise
from vidi.phantoms.opacities import GRADES, SEVERITIES, Severity, draw_opacities

# Stored values of a phantom: 12 bits, MONOCHROME2.
BITS = 12
SMALL, LARGE = 512, 2048
# Air takes this much attenuation away where a lung is thickest.
_AIR = 0.50


@dataclass(frozen=True)
class PhantomSpec:
    """What to draw. The same spec always gives the same film.

    Attributes
    ----------
    seed
        Non-negative; body, pose, exposure, opacities and noise all come from it.
    severity
        "normal" (no opacity), "mild", "medium" or "severe": see `vidi.phantoms.opacities.GRADES`.
    height, width
        Film size in pixels, at least 64; 512 x 512 draws in about a tenth of a second.
    extent
        Share of the lungs that opacities cover, 0..1; None draws it from the severity's range.
    """

    seed: int
    severity: Severity = "normal"
    height: int = SMALL
    width: int = SMALL
    extent: float | None = None

    def __post_init__(self) -> None:
        if self.severity not in GRADES:
            raise InvalidInput(f"severity is one of {', '.join(GRADES)}", field="severity")
        if self.seed < 0 or not 64 <= self.height <= 8192 or not 64 <= self.width <= 8192:
            raise InvalidInput("a phantom has a seed >= 0 and sides of 64 to 8192 pixels", field="spec")
        if self.extent is not None and not 0.0 <= self.extent <= 0.95:
            raise InvalidInput("extent is a share of the lungs, 0 to 0.95", field="extent")


@dataclass(frozen=True)
class PhantomFilm:
    """A phantom's film and its truth.

    Attributes
    ----------
    pixels
        uint16 (height, width), 12 bits, low is black (MONOCHROME2).
    opacity_mask, lung_mask
        bool (height, width).
    severity
        As asked for.
    extent
        Share of the lung mask that the opacity mask covers, 0..1.
    density
        Share of the air that opacities replace, 0..1; 0 without opacities.
    foci
        Number of centres of opacities.
    spec
        What it was drawn from.
    """

    pixels: npt.NDArray[np.uint16]
    opacity_mask: Mask
    lung_mask: Mask
    severity: Severity
    extent: float
    density: float
    foci: int
    spec: PhantomSpec

    def grey(self) -> Field:
        """The film as float32 (height, width) in 0..1, as its DICOM file shows it."""
        return (self.pixels.astype(np.float64) / float((1 << BITS) - 1)).astype(np.float32)


def make(spec: PhantomSpec) -> PhantomFilm:
    """Draw a phantom.

    Exposure (brightness, contrast, gamma), collimation and noise are drawn independently of the severity, so that the
    mean brightness alone does not tell one severity from another.
    """
    rng = np.random.default_rng([0x51D1, spec.seed])
    shape = (spec.height, spec.width)
    body = draw_body(rng, shape)
    exposure = np.random.default_rng([0xE4B0, spec.seed])
    opacities = draw_opacities(np.random.default_rng([0x0BAC, spec.seed]), body, spec.severity, spec.extent)
    tissue = body.attenuation - _AIR * exposure.uniform(0.85, 1.10) * body.air * (1.0 - opacities.replaced)
    film = _expose(exposure, tissue.astype(np.float32), body.frame.unit)
    pixels = np.rint(film * ((1 << BITS) - 1)).astype(np.uint16)
    return PhantomFilm(
        pixels, opacities.mask, body.lung, spec.severity, opacities.extent, opacities.density, opacities.foci, spec
    )


def cohort(
    n: int,
    seed: int,
    mix: Mapping[str, float] | None = None,
    *,
    height: int = SMALL,
    width: int = SMALL,
) -> Iterator[PhantomFilm]:
    """Draw `n` different phantoms, lazily; the i-th film depends on `n`, `seed` and `mix` alone.

    Parameters
    ----------
    n
        Number of films.
    seed
        Cohorts of different seeds (below 2**31) share no film.
    mix
        Share of each severity by name, any positive scale; None: mild, medium and severe alike. Counts are exact up to
        rounding; the order is shuffled.
    height, width
        Film size in pixels.
    """
    return (make(spec) for spec in cohort_specs(n, seed, mix, height=height, width=width))


def cohort_specs(
    n: int,
    seed: int,
    mix: Mapping[str, float] | None = None,
    *,
    height: int = SMALL,
    width: int = SMALL,
) -> list[PhantomSpec]:
    """What `cohort` draws, for those who draw in parallel."""
    shares = dict(mix) if mix is not None else dict.fromkeys(SEVERITIES, 1.0)
    if n < 0 or not shares or any(name not in GRADES or share < 0 for name, share in shares.items()):
        raise InvalidInput(f"a mix gives shares >= 0 of {', '.join(GRADES)}", field="mix")
    total = sum(shares.values())
    if total <= 0:
        raise InvalidInput("a mix needs a share above 0", field="mix")
    edges = np.rint(np.cumsum([share / total for share in shares.values()]) * n).astype(int)
    names = np.repeat(list(shares), np.diff([0, *edges]))
    order = np.random.default_rng([0xC040, seed]).permutation(n)
    base = (seed + 1) << 32
    return [PhantomSpec(base + i, str(names[j]), height, width) for i, j in enumerate(order)]  # type: ignore[arg-type]


def _expose(rng: np.random.Generator, tissue: Field, unit: float) -> Field:
    """From attenuation to grey 0..1: scatter, exposure, noise, collimation."""
    scatter = blur(tissue, 0.16 * unit)
    seen = tissue + 0.10 * (scatter - tissue) + 0.012 * smooth_noise(rng, tissue.shape, 0.12)
    low, high = rng.uniform(-0.16, 0.06), rng.uniform(1.02, 1.42)
    grey = np.clip((seen - low) / (high - low), 0.0, 1.0) ** rng.uniform(0.80, 1.25)
    # Fewer quanta pass dense tissue; grain is correlated over a pixel or two of a 512-pixel film.
    level = rng.uniform(0.006, 0.022)
    grain = rng.standard_normal(tissue.shape).astype(np.float32)
    spread = 0.6 * unit / 240.0
    grain = blur(grain, spread) * (1.0 + 2.0 * spread)
    grey = grey + level * (0.5 + grey) * grain
    if rng.random() < 0.35:
        grey = _collimate(rng, grey)
    return np.asarray(np.clip(grey, 0.0, 1.0), np.float32)


def _collimate(rng: np.random.Generator, grey: Field) -> Field:
    """Blacken a border that the collimator kept from the beam."""
    height, width = grey.shape
    edges = (rng.uniform(0.0, 0.045, 4) * (height, height, width, width)).astype(int)
    inside = np.zeros_like(grey)
    inside[edges[0] : height - edges[1], edges[2] : width - edges[3]] = 1.0
    return grey * blur(inside, 0.0015 * height)
