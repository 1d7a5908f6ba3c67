"""The command line: `vidi`. Commands of services join through the entry point group `vidi.commands`.

Exit codes: 0 all went well; 1 an error; 2 usage; 3 some films were refused or failed, the rest is done.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points

import typer

from vidi import __version__
from vidi.commands import bench, calls, process, run
from vidi.errors import ViDiError

GROUP = "vidi.commands"


def _version(show: bool) -> None:
    if show:
        typer.echo(f"vidi {__version__}")
        raise typer.Exit


def build() -> typer.Typer:
    """Return the application with the commands of everything that is installed."""
    app = typer.Typer(
        name="vidi",
        help="Chest X-rays classified, explained and clustered beside a PACS. ViDi assists; a radiologist decides.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback()
    def root(
        version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
    ) -> None:
        """Options of all commands."""

    run.register(app)
    process.register(app)
    calls.register(app)
    bench.register(app)
    for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
        entry.load()(app)
    return app


def main() -> None:
    """Run the command line; ViDi's own errors become one readable line."""
    # torch's idle threads spin for milliseconds and starve the explainer's own compiled loops of their core (measured:
    # a fifth of an explanation's time). Read by libgomp when torch is imported, which is later than here.
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "1000"
    try:
        build()()
    except ViDiError as error:
        typer.echo(f"vidi: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
