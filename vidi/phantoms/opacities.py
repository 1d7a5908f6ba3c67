"""Opacities: patches of lung whose air is replaced, as in pneumonia, with a known mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vidi.phantoms.anatomy import Body
from vidi.phantoms.fields import Field, Mask, blur, smooth_noise

Severity = Literal["normal", "mild", "medium", "severe"]
SEVERITIES: tuple[Severity, ...] = ("mild", "medium", "severe")


@dataclass(frozen=True)
class Grade:
    """What a severity means, as ranges to draw from.

    Attributes
    ----------
    extent
        Share of the lungs' projection that opacities cover, 0..1.
    density
        Share of the air along the beam that they replace, 0..1.
    foci
        Number of centres that they grow from.
    """

    extent: tuple[float, float]
    density: tuple[float, float]
    foci: tuple[int, int]


# Extents do not overlap between grades (they define severity), densities and numbers do.
GRADES: dict[str, Grade] = {
    "normal": Grade((0.0, 0.0), (0.0, 0.0), (0, 0)),
    "mild": Grade((0.04, 0.12), (0.35, 0.60), (1, 3)),
    "medium": Grade((0.18, 0.32), (0.42, 0.70), (2, 5)),
    "severe": Grade((0.40, 0.68), (0.50, 0.80), (4, 8)),
}


@dataclass(frozen=True)
class Opacities:
    """Opacities of a film: where (`mask`), how much air they replace (`replaced`, 0..1), and what was drawn."""

    mask: Mask
    replaced: Field
    extent: float
    density: float
    foci: int


def draw_opacities(rng: np.random.Generator, body: Body, severity: Severity, extent: float | None = None) -> Opacities:
    """Draw opacities of a severity in the lungs of a body.

    Centres favour the periphery and the lower zones. They grow with ragged edges until they cover the extent that was
    drawn, exactly up to one pixel.

    Parameters
    ----------
    extent
        Share of the lungs to cover, 0..1; None draws it from the severity's range.
    """
    grade = GRADES[severity]
    wanted = float(rng.uniform(*grade.extent)) if extent is None else extent
    density = float(rng.uniform(*grade.density))
    foci = int(rng.integers(grade.foci[0], grade.foci[1] + 1))
    empty = np.zeros(body.lung.shape, bool)
    if wanted <= 0.0 or foci == 0:
        return Opacities(empty, np.zeros(body.lung.shape, np.float32), 0.0, 0.0, 0)
    ragged = 0.55 * smooth_noise(rng, body.lung.shape, 0.07) + 0.30 * smooth_noise(rng, body.lung.shape, 0.03)
    growth = _growth(rng, body, foci) + 0.28 * ragged
    inside = growth[body.lung]
    count = round(wanted * inside.size)
    threshold = np.partition(inside, inside.size - count)[inside.size - count]
    mask = body.lung & (growth >= threshold)
    depth = np.clip((growth - threshold) / 0.45, 0.0, 1.0)
    texture = 1.0 + 0.10 * np.clip(smooth_noise(rng, body.lung.shape, 0.025), -2.0, 2.0)
    soft = blur(np.where(mask, 0.60 + 0.40 * depth, 0.0).astype(np.float32), 0.022 * body.frame.unit)
    replaced = np.clip(density * soft * texture, 0.0, 1.0).astype(np.float32)
    return Opacities(mask, replaced, float(mask.sum() / body.lung.sum()), density, foci)


def _growth(rng: np.random.Generator, body: Body, foci: int) -> Field:
    """Field that falls off from each centre, highest at the centres."""
    x, y = body.frame.x, body.frame.y
    prior = np.where(body.lung, np.exp(0.9 * y + 1.2 * np.abs(x)), 0.0).ravel().astype(np.float64)
    centres = rng.choice(prior.size, size=foci, p=prior / prior.sum())
    best = np.full(x.shape, -9.0, np.float32)
    for centre in centres:
        cx, cy = float(x.flat[centre]), float(y.flat[centre])
        rx, ry, turn = rng.uniform(0.12, 0.30), rng.uniform(0.12, 0.30), rng.uniform(0, np.pi)
        u = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
        v = -(x - cx) * np.sin(turn) + (y - cy) * np.cos(turn)
        best = np.maximum(best, 1.0 - np.sqrt((u / rx) ** 2 + (v / ry) ** 2) + rng.uniform(-0.2, 0.2))
    return best.astype(np.float32)
