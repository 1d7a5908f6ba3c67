"""`vidi gateway verify-audit`: whether the audit trail is as it was written."""

from __future__ import annotations

from pathlib import Path

import typer

from vidi_gateway.cli.server import CA, JSON, SERVER, Server, show


def register(group: typer.Typer) -> None:
    """Add the commands."""

    @group.command("verify-audit")
    def verify_audit(server: str = SERVER, ca: Path | None = CA, as_json: bool = JSON) -> None:
        """Check that no record of the audit trail was changed or removed. Exit code 1: one was."""
        found = Server(server, ca).post("/api/v1/operations/audit/verify")
        if as_json:
            show(found)
        elif found["intact"]:
            older = f", {found['unchained']} older ones cannot be verified" if found["unchained"] else ""
            typer.echo(f"{found['records']} records in {found['chains']} chains are as they were written{older}")
        else:
            ids = ", ".join(map(str, found["broken"][:20]))
            typer.echo(f"! records were changed or removed at or before: {ids}")
        if not found["intact"]:
            raise typer.Exit(1)
