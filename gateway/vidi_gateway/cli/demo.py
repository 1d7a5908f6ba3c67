"""`vidi demo`."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def demo(
        output: Path = typer.Option(Path("demo-output"), "--output", "-o", help="Folder for the run's results."),
        phantoms: int = typer.Option(15, "--phantoms", min=3, max=500, help="How many phantoms to draw and send."),
        seed: int = typer.Option(7, "--seed", min=0, help="Seed of the phantoms."),
    ) -> None:
        """The whole way once: films by C-STORE, DICOM results back by C-STORE, clusters and a report at the end."""
        import asyncio

        from vidi_gateway.demo import run

        raise typer.Exit(asyncio.run(run(output, phantoms, seed)))
