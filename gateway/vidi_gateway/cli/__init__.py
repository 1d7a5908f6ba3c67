"""The gateway's commands: `vidi demo`, and `vidi gateway ...` for operators. Heavy imports stay inside functions."""

from __future__ import annotations

import typer

from vidi_gateway.cli import audit, demo, export, nodes, operate, pull, rules, send


def register(app: typer.Typer) -> None:
    """Add the commands."""
    demo.register(app)
    group = typer.Typer(
        name="gateway",
        help="Operate a running gateway and the nodes around it.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    for commands in (audit, export, nodes, operate, pull, rules, send):
        commands.register(group)
    app.add_typer(group)
