"""`vidi bench explain`. Light to import."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import typer


def register(group: typer.Typer) -> None:
    """Add the benchmark."""
    group.command("explain")(explain)


def explain(
    references: int = typer.Option(8, "--references", min=1, max=64, help="DeepSHAP references."),
    classes: int = typer.Option(2, "--classes", min=2, max=3, help="Classes of the network: all are explained."),
    pairs: int = typer.Option(7, "--pairs", min=1, help="Rounds of timing; each takes another film."),
    films: int = typer.Option(10, "--films", min=1, help="Films that are compared with shap in float64."),
    bundle: Path | None = typer.Option(
        None, "--bundle", help="A model bundle's directory, in place of the trained VGG-19 that the benchmark makes."
    ),
    cache: Path | None = typer.Option(
        None, "--cache", help="Where the network and slow results are kept; .state/bench or VIDI_DATA_DIR otherwise."
    ),
    as_json: bool = typer.Option(False, "--json", help="One JSON object on standard output."),
) -> None:
    """Time, agreement and memory of the DeepSHAP engines against shap and captum."""
    from vidi.benchmarks import outcome
    from vidi.bundle import load
    from vidi_explainer.bench.network import default_cache
    from vidi_explainer.bench.run import Config, measure

    chosen = None if bundle is None else load(bundle)
    many = 64 if chosen is None else chosen.manifest.background_size
    config = Config(
        cache=(cache or default_cache()).resolve(),
        references=references,
        many_references=many,
        classes=classes,
        pairs=pairs,
        films=films,
        bundle=chosen,
    )
    measured = outcome("explain", measure(config))
    if as_json:
        typer.echo(json.dumps(measured))
        return
    from rich.console import Console

    from vidi_explainer.bench.table import tables

    console = Console(file=sys.stdout)
    for part in tables(measured):
        console.print(part)
