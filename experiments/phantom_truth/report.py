"""What a run leaves behind, the picture excepted: figures as JSON, tables in Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiments.phantom_truth.run import LABEL, MAP, Judged
from experiments.phantom_truth.summary import CHANCE, Difference, Interval, Row, Summary
from vidi_explainer.targets import TargetKind

TITLES = {
    TargetKind.LOGIT: f"The logit of class {LABEL}",
    TargetKind.CLASS_VS_MEAN: f"Class {LABEL} against the mean of the others",
}
ROWS_HEAD = """| map | favorable inside, exact | favorable inside, smoothed | points inside |
|---|---|---|---|"""
DIFFERENCES_HEAD = f"""| {MAP} less | exact | films higher | smoothed | films higher | hits alone, rival alone |
|---|---|---|---|---|---|"""


def write(
    folder: Path, about: Mapping[str, Any], films: Sequence[Judged], summaries: Mapping[TargetKind, Summary]
) -> list[Path]:
    """Write phantom_truth.json and phantom_truth.md into a folder, which is made when missing.

    Parameters
    ----------
    folder
        Where to.
    about
        What was run: goes into the JSON as it is; `model`, `engine`, `films` and `right` also into the text.
    films
        As judged; their scores go into the JSON.
    summaries
        Of each explained output.

    Returns
    -------
    The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "phantom_truth.json": json.dumps(as_json(about, films, summaries), indent=2) + "\n",
        "phantom_truth.md": as_markdown(about, summaries),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def as_json(
    about: Mapping[str, Any], films: Sequence[Judged], summaries: Mapping[TargetKind, Summary]
) -> dict[str, Any]:
    """Return all figures, film by film too, as one JSON object."""
    return {
        **about,
        "targets": {str(kind): asdict(summary) for kind, summary in summaries.items()},
        "by_film": [asdict(film) for film in films],
    }


def as_markdown(about: Mapping[str, Any], summaries: Mapping[TargetKind, Summary]) -> str:
    """Return the tables."""
    parts = [
        "# Does the map lie where the opacity was drawn?",
        f"Model {about['model']}, engine {about['engine']}; {about['films']}, of which the model favours class {LABEL} "
        f"for {about['right']}. Medians and shares of films, with 95 % intervals. A map of phantoms says nothing about "
        "patients. Not for diagnosis.",
    ]
    for kind, summary in summaries.items():
        parts += [
            f"## {TITLES[kind]}",
            "\n".join([ROWS_HEAD, *(_row(row) for row in summary.rows)]),
            "\n".join([DIFFERENCES_HEAD, *(_difference(found) for found in summary.differences)]),
        ]
    return "\n\n".join(parts) + "\n"


def _row(row: Row) -> str:
    hits = f"{row.hits.value:.0%}" if row.method == CHANCE else _percent(row.hits)
    # An absolute value's bars would end the cell.
    name = row.method.replace("|", "\\|")
    return f"| {name} | {_percent(row.exact)} | {_percent(row.smoothed)} | {hits} |"


def _difference(found: Difference) -> str:
    alone = "" if found.hit_alone is None else f"{found.hit_alone}, {found.rival_alone}"
    cells = (_points(found.exact), found.exact_higher, _points(found.smoothed), found.smoothed_higher, alone)
    return " | ".join(["| " + found.rival.replace("|", "\\|"), *map(str, cells)]) + " |"


def _percent(x: Interval) -> str:
    return f"{x.value:.0%} ({x.low:.0%} to {x.high:.0%})"


def _points(x: Interval) -> str:
    """A difference of shares, in percentage points."""
    return " ".join((f"{100 * x.value:+.0f}", f"({100 * x.low:+.0f} to {100 * x.high:+.0f})"))
