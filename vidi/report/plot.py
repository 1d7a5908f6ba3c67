"""The sweep's curves (paper, Fig. 2) in coordinates of an inline SVG."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vidi.api.clusterer.v1 import clusterer_pb2

WIDTH, HEIGHT = 800, 360
LEFT, RIGHT, TOP, BOTTOM = 52, 215, 16, 48

#: Field of Agreement, what people call it, and the CSS class of its colour.
METRICS = (
    ("homogeneity", "Homogeneity", "m0"),
    ("completeness", "Completeness", "m1"),
    ("v_measure", "V-measure", "m2"),
    ("adjusted_mutual_information", "Adjusted mutual information", "m3"),
)


@dataclass(frozen=True)
class Curve:
    """One metric over k: SVG points of the clusters' and of the random clusters' values; where its name stands."""

    name: str
    css: str
    line: str
    baseline: str
    marks: tuple[tuple[float, float], ...]
    label_x: float
    label_y: float
    end_y: float


@dataclass(frozen=True)
class Plot:
    """The whole drawing; lengths in SVG units."""

    curves: tuple[Curve, ...]
    x_ticks: tuple[tuple[float, int], ...]
    y_ticks: tuple[tuple[float, str], ...]
    chosen_x: float | None
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def sweep_plot(sweep: clusterer_pb2.SweepKResponse) -> Plot | None:
    """Draw a sweep with labels; None when it has fewer than two points or none with agreement."""
    points = [p for p in sweep.points if p.HasField("agreement")]
    if len(points) < 2:
        return None
    ks = [p.k for p in points]
    lowest: float = min(
        0.0, *(getattr(a, f) for p in points for a in (p.agreement, p.random_baseline) for f, _, _ in METRICS)
    )
    low = math.floor(lowest * 10) / 10
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def x(k: float) -> float:
        return round(LEFT + (k - ks[0]) / (ks[-1] - ks[0]) * (right - LEFT), 1)

    def y(value: float) -> float:
        return round(bottom - (value - low) / (1.0 - low) * (bottom - TOP), 1)

    def path(get: Callable[[clusterer_pb2.SweepPoint], Any]) -> str:
        return " ".join(f"{x(p.k)},{y(get(p))}" for p in points)

    ends = {field: y(getattr(points[-1].agreement, field)) for field, _, _ in METRICS}
    placed = _spread(ends)
    curves = tuple(
        Curve(
            name=name,
            css=css,
            line=path(lambda p, f=field: getattr(p.agreement, f)),  # type: ignore[misc]
            baseline=path(lambda p, f=field: getattr(p.random_baseline, f)),  # type: ignore[misc]
            marks=tuple((x(p.k), y(getattr(p.agreement, field))) for p in points),
            label_x=right + 14,
            label_y=placed[field],
            end_y=ends[field],
        )
        for field, name, css in METRICS
    )
    steps = [tick / 5 for tick in range(-5, 6) if tick / 5 >= low - 1e-9]
    return Plot(
        curves=curves,
        x_ticks=tuple((x(k), k) for k in _legible(ks, x)),
        y_ticks=tuple((y(v), f"{v:.1f}") for v in steps),
        chosen_x=x(sweep.recommended_k) if sweep.recommended_k in ks else None,
    )


def _spread(ends: dict[str, float], gap: float = 17.0) -> dict[str, float]:
    """Move labels apart vertically, in the order of their curves' ends, within the drawing."""
    placed: dict[str, float] = {}
    above = TOP - gap
    for field in sorted(ends, key=lambda f: ends[f]):
        above = placed[field] = max(ends[field], above + gap)
    excess = max(0.0, above - (HEIGHT - BOTTOM))
    return {field: round(value - excess, 1) for field, value in placed.items()}


def _legible(ks: list[int], x: Callable[[float], float], gap: float = 24.0) -> list[int]:
    """The k whose tick labels do not run into each other."""
    kept = [ks[0]]
    for k in ks[1:]:
        if x(k) - x(kept[-1]) >= gap:
            kept.append(k)
    return kept
