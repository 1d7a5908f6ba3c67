"""How good an explanation is, as a table for people: what `vidi explain --quality` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

#: A line of the table: what it is, one cell an output, how to read it.
Row = tuple[str, list[str], str]

_CHANGES = {"shift": "moved 2 px", "rotation": "turned 2 degrees", "jpeg": "through JPEG"}
_NONE = "-"


def table(quality: dict[str, Any]) -> str:
    """Return the table of one assessment.

    Parameters
    ----------
    quality
        As `vidi.client.Assessment.to_json` returns it.

    Returns
    -------
    A line that says what explained what, the table, and a line for each measure that was left out.
    """
    method, outputs = quality["method"], quality["outputs"]
    head = (
        f"explanation of {quality['model']['name']} {quality['model']['version']} by {method['engine']} "
        f"{method['engine_version']} ({method['precision']}, {method['references']} references); not for diagnosis"
    )
    rows = [("", [output["name"] for output in outputs], "how to read it"), *_rows(quality, outputs)]
    widths = [max(len(row[0]) for row in rows)]
    widths += [max(len(row[1][i]) for row in rows) for i in range(len(outputs))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1], widths[1:], strict=True)), row[2]])
        for row in rows
    ]
    left_out = [f"not measured: {name.replace('_', ' ')}: {why}" for name, why in quality["left_out"].items()]
    return "\n".join([head, *(f"  {line.rstrip()}" for line in (*lines, *left_out))])


def _rows(quality: dict[str, Any], outputs: list[dict[str, Any]]) -> Iterator[Row]:
    measures = quality["measures"]
    if "additivity" in measures:
        cells = [_number(output["additivity_residual"], ".1e") for output in outputs]
        yield "additivity residual", cells, "0: the map adds up"
    if "sign_disagreement" in measures:
        cells = [_number(output["sign_disagreement"], ".2f") for output in outputs]
        yield "sign disagreement", cells, "0: all references agree; 0.5: a coin toss"
    if "deletion_insertion" in measures:
        for kind, good in (("deletion", "below"), ("insertion", "above")):
            cells = [_areas(output["deletion_insertion"], kind) for output in outputs]
            yield f"{kind} area (random order)", cells, f"good: {good} the random order's"
    if "repeatability" in measures:
        yield from _repeatability(outputs)
    if floors := [output["noise_floor"] for output in outputs if output["noise_floor"] is not None]:
        cells = [_number(floor["value"], ".2e") for floor in floors]
        yield "noise floor", cells, f"logits a pixel; {len(floors[0]['seeds'])} networks with shuffled weights"
    if "areas" in measures:
        cells = [_standing_out(output["areas"]) for output in outputs]
        yield "area holding 50 %, 80 %", cells, "of what is favorable above the floor"
    if "truth" in measures:
        yield from _truth(quality["truth_chance"], outputs)


def _repeatability(outputs: list[dict[str, Any]]) -> Iterator[Row]:
    for i, first in enumerate(outputs[0]["repeatability"]):
        cells = []
        for output in outputs:
            found = output["repeatability"][i]
            cells.append(f"{_number(found['rank_correlation'], '.2f')} / {_number(found['cosine'], '.2f')}")
        shown = f"smoothed {first['sigma']:g} px" if first["sigma"] else "exact map"
        change = _CHANGES.get(first["perturbation"], first["perturbation"])
        yield f"{change}, {shown}", cells, "rank correlation / cosine; 1: the same map"


def _truth(chance: dict[str, Any], outputs: list[dict[str, Any]]) -> Iterator[Row]:
    inside = [_number(output["truth"]["map"]["favorable_inside"], ".1%") for output in outputs]
    points = ["hit" if output["truth"]["map"]["points_inside"] else "miss" for output in outputs]
    yield "favorable inside the truth", inside, f"chance: {chance['favorable_inside']:.1%}"
    yield "points at the truth", points, f"chance: {chance['points_inside']:.1%} hit"


def _areas(curves: dict[str, Any], kind: str) -> str:
    return f"{curves[kind]['area']:+.2f} ({curves[f'random_{kind}']['area']:+.2f})"


def _standing_out(found: dict[str, Any]) -> str:
    if not found["stands_out"]:
        return "no region stands out"
    return ", ".join(f"{area['grid_share']:.1%}" for area in found["areas"])


def _number(value: float | None, form: str) -> str:
    return _NONE if value is None else format(value, form)
