"""`vidi bench ingest`. Light to import."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import typer


def register(group: typer.Typer) -> None:
    """Add the benchmark."""
    group.command("ingest")(ingest)


def ingest(
    films: int = typer.Option(48, "--films", min=8, max=10_000, help="Films that each receiver gets in one turn."),
    pairs: int = typer.Option(7, "--pairs", min=1, help="Turns of each receiver, at 1 and at 8 associations."),
    sides: str = typer.Option("1536,1760,2048", "--sides", help="Sides of the films in pixels, taken in turn."),
    directory: Path | None = typer.Option(
        None, "--directory", help="Where both receivers keep their state: on the disk to be measured."
    ),
    database_url: str = typer.Option("", "--database-url", help="ViDi's journal in PostgreSQL instead of SQLite."),
    as_json: bool = typer.Option(False, "--json", help="One JSON object on standard output."),
) -> None:
    """Films a second that are acknowledged durably by C-STORE, against Orthanc with its defaults on the same disk."""
    from vidi.benchmarks import outcome
    from vidi_gateway.bench.run import Config, measure

    try:
        chosen = tuple(int(side) for side in sides.split(","))
    except ValueError:
        raise typer.BadParameter("pixels, separated by commas", param_hint="--sides") from None
    config = Config(films=films, sides=chosen, pairs=pairs, directory=directory, database_url=database_url)
    measured = outcome("ingest", measure(config))
    if as_json:
        typer.echo(json.dumps(measured))
        return
    from rich.console import Console

    from vidi_gateway.bench.table import tables

    console = Console(file=sys.stdout)
    for part in tables(measured):
        console.print(part)
