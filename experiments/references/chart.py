"""A line chart as a standalone SVG: an agreement over the number of references, one colour a strategy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 60, 160, 34, 52
#: Told apart with any common colour vision: Okabe and Ito, "Color Universal Design", 2008.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


@dataclass(frozen=True)
class Line:
    """One strategy.

    Attributes
    ----------
    name
        What stands at its end.
    xs
        Numbers of references, ascending, above 0.
    medians, worst
        Drawn solid and dashed.
    """

    name: str
    xs: tuple[int, ...]
    medians: tuple[float, ...]
    worst: tuple[float, ...]


def draw(title: str, x_label: str, lines: Sequence[Line]) -> str:
    """Return the SVG's text.

    Parameters
    ----------
    title, x_label
        Words above and below.
    lines
        At least one, each with at least one point; values at most 1.
    """
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    every = sorted({x for line in lines for x in line.xs})
    low = min(value for line in lines for value in (*line.medians, *line.worst))
    low = min(math.floor(low * 10) / 10, 0.9)
    first, span = math.log2(every[0]), max(math.log2(every[-1] / every[0]), 1.0)

    def x(count: int) -> float:
        return round(LEFT + (math.log2(count) - first) / span * (right - LEFT), 1)

    def y(value: float) -> float:
        return round(bottom - (value - low) / (1.0 - low) * (bottom - TOP), 1)

    def points(xs: Sequence[int], values: Sequence[float]) -> str:
        return " ".join(f"{x(count)},{y(value)}" for count, value in zip(xs, values, strict=True))

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="13" fill="#222">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="20" font-size="15">{escape(title)}</text>',
        f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_label)}</text>',
    ]
    steps = 10 if low >= 0.5 else 5
    for tick in range(math.ceil(low * steps - 1e-9), steps + 1):
        height = y(tick / steps)
        parts.append(f'<line x1="{LEFT}" x2="{right}" y1="{height}" y2="{height}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{height + 4}" text-anchor="end">{tick / steps:.1f}</text>')
    powers = range(math.ceil(first), math.floor(math.log2(every[-1])) + 1)
    parts += [f'<text x="{x(2**p)}" y="{bottom + 20}" text-anchor="middle">{2**p}</text>' for p in powers]
    ends = _apart([y(line.medians[-1]) for line in lines])
    for index, (line, end) in enumerate(zip(lines, ends, strict=True)):
        colour = COLOURS[index % len(COLOURS)]
        solid, dashed = points(line.xs, line.medians), points(line.xs, line.worst)
        parts.append(f'<polyline points="{dashed}" fill="none" stroke="{colour}" stroke-dasharray="5 4"/>')
        parts.append(f'<polyline points="{solid}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{x(count)}" cy="{y(value)}" r="3.5" fill="{colour}"/>'
            for count, value in zip(line.xs, line.medians, strict=True)
        ]
        parts.append(f'<text x="{right + 12}" y="{end + 4}" fill="{colour}">{escape(line.name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _apart(heights: Sequence[float], gap: float = 17.0) -> list[float]:
    """Move labels apart, in their order from the top."""
    placed, above = dict[int, float](), -math.inf
    for index in sorted(range(len(heights)), key=lambda i: heights[i]):
        above = placed[index] = max(heights[index], above + gap)
    return [placed[index] for index in range(len(heights))]
