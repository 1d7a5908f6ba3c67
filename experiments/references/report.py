"""What a run leaves behind: figures as JSON, a table in Markdown, a chart as SVG."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments.references.agreement import Agreement
from experiments.references.chart import Line, draw
from experiments.references.run import Curve, Row

HEAD = """| references | films each, at least | map ranks | vector ranks | favorable area | additivity residual |
|---|---|---|---|---|---|"""


def write(
    folder: Path, about: Mapping[str, Any], curves: Sequence[Curve], between: Mapping[tuple[str, str], Agreement]
) -> list[Path]:
    """Write references.json, references.md and references.svg.

    Parameters
    ----------
    folder
        Made when missing.
    about
        What was run: goes into the JSON as it is; `model`, `engine`, `films`, `pool` and `near` also into the tables.
    curves, between
        As `experiments.references.run.run` returns them.

    Returns
    -------
    The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "references.json": json.dumps(as_json(about, curves, between), indent=2) + "\n",
        "references.md": as_markdown(about, curves, between),
        "references.svg": as_svg(curves),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def as_json(
    about: Mapping[str, Any], curves: Sequence[Curve], between: Mapping[tuple[str, str], Agreement]
) -> dict[str, Any]:
    """Return all figures as one JSON object."""
    return {
        **about,
        "strategies": [
            {
                "strategy": curve.strategy,
                "enough": curve.enough,
                "sets": [asdict(row) for row in curve.rows],
            }
            for curve in curves
        ],
        "between": [{"strategies": list(names), **asdict(found)} for names, found in between.items()],
    }


def as_markdown(about: Mapping[str, Any], curves: Sequence[Curve], between: Mapping[tuple[str, str], Agreement]) -> str:
    """Return the tables: one a strategy, and one between the strategies."""
    parts = [
        "# How many references are enough",
        f"Model {about['model']}, engine {about['engine']}; {about['films']}; {about['pool']}.",
        "Each set against a yardstick, another set of the largest size: median (worst) over films and classes. Ranks: "
        "Spearman's correlation of the displayed maps and of the 14 x 14 vectors. Favorable area: overlap (Dice) of "
        "the smallest area that holds half of what spoke for the top class. The last row says how near any number of "
        "references can be asked to come.",
    ]
    for curve in curves:
        answer = (
            f"From {curve.enough} references on, maps are as near to the yardstick as those of "
            f"{curve.rows[-1].references}, within {about['near']:g} (median rank correlation)."
        )
        parts += [f"## {curve.strategy}", answer, "\n".join([HEAD, *map(_row, curve.rows)])]
    if between:
        parts += [
            "## Between strategies",
            "Their yardsticks against each other.",
            "\n".join(
                [
                    "| strategies | map ranks | vector ranks | favorable area |\n|---|---|---|---|",
                    *(f"| {a} and {b} | {_agreement(found)} |" for (a, b), found in between.items()),
                ]
            ),
        ]
    return "\n\n".join(parts) + "\n"


def as_svg(curves: Sequence[Curve]) -> str:
    """Draw the rank correlation of maps over the number of references."""
    lines = [
        Line(
            curve.strategy,
            tuple(row.references for row in curve.rows),
            tuple(row.agreement.maps.median for row in curve.rows),
            tuple(row.agreement.maps.worst for row in curve.rows),
        )
        for curve in curves
    ]
    return draw(
        "Rank correlation of maps with those of another set of the largest size",
        "references (solid: median, dashed: worst film and class)",
        lines,
    )


def _row(row: Row) -> str:
    residual = f"{row.residual.median:.1e} ({row.residual.worst:.1e})"
    return f"| {row.references} | {row.smallest} | {_agreement(row.agreement)} | {residual} |"


def _agreement(found: Agreement) -> str:
    spreads = (found.maps, found.vectors, found.area)
    return " | ".join(f"{spread.median:.3f} ({spread.worst:.3f})" for spread in spreads)
