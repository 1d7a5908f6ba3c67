"""`vidi gateway export`: a cohort's films and results for research, de-identified."""

from __future__ import annotations

from pathlib import Path

import typer

from vidi.commands.process import SOME_NOT_DONE
from vidi_gateway.cli.operate import who
from vidi_gateway.cli.server import CA, JSON, SERVER, Server, show


def register(group: typer.Typer) -> None:
    """Add the commands."""

    @group.command()
    def export(
        cohort: str = typer.Argument(..., help="Id of the cohort."),
        output: Path = typer.Option(..., "--output", "-o", help="New or empty folder for the films and results."),
        model: str = typer.Option("", "--model", help="Model line; the one that each film arrived on otherwise."),
        keep_age_and_sex: bool = typer.Option(
            False, "--keep-age-and-sex", help="Keep age in years (90 and more is 90) and sex."
        ),
        shift_dates: bool = typer.Option(
            False, "--shift-dates", help="Keep days, moved by the same random number for a patient's films."
        ),
        server: str = SERVER,
        ca: Path | None = CA,
        as_json: bool = JSON,
    ) -> None:
        """Export a cohort, de-identified by DICOM PS3.15 annex E: nothing leads back from it.

        Films whose pixels hold annotations are left out. What is burned into a film without its header saying so is not
        found: look at the films before you hand them on. Exit code 3: some films were left out.
        """
        from vidi_gateway.export.download import Request, download

        asked = Request(cohort, model, keep_age_and_sex, shift_dates, who())
        manifest = download(Server(server, ca), asked, output, show_progress=not as_json)
        if as_json:
            show(manifest)
        else:
            typer.echo(f"{manifest['films']} films in {output}")
            for reason, count in manifest["left_out"].items():
                typer.echo(f"! {count} left out: {reason}")
        if manifest["left_out"]:
            raise typer.Exit(SOME_NOT_DONE)
