"""`vidi gateway status|replay|withdraw|impact|audit|stop-delivery|start-delivery`: operate a running gateway."""

from __future__ import annotations

import enum
import getpass
from pathlib import Path
from typing import Any

import typer

from vidi_gateway.cli.server import CA, JSON, SERVER, Server, print_table, show, table


class Reason(enum.StrEnum):
    """Why films are withdrawn; all but the first as in a rejection note (PS3.16 CID 7011)."""

    WITHDRAWN = "withdrawn"
    QUALITY = "quality"
    SAFETY = "safety"
    WORKLIST = "worklist"
    RETENTION = "retention"


REASON = typer.Option(Reason.WITHDRAWN, "--reason", help="Why.")
YES = typer.Option(False, "--yes", "-y", help="Do not ask.")
FROM = typer.Option(None, "--from", help="Results of this moment and later: 2024-01-31, or 2024-01-31T08:00:00Z.")
TO = typer.Option(None, "--to", help="Results before this moment.")


def register(group: typer.Typer) -> None:
    """Add the commands."""

    @group.command()
    def status(server: str = SERVER, ca: Path | None = CA, as_json: bool = JSON) -> None:
        """How the gateway is doing: queue, deliveries, disk, sources."""
        said = Server(server, ca).get("/api/v1/operations/status")
        if as_json:
            show(said)
        else:
            _tell_status(said)

    @group.command()
    def replay(
        film: str = typer.Option("", "--film", help="Film id; all films otherwise."),
        destination: str = typer.Option("", "--destination", help="Destination; all otherwise."),
        server: str = SERVER,
        ca: Path | None = CA,
        as_json: bool = JSON,
    ) -> None:
        """Send dead letters again: objects that were set aside."""
        body = {"film_id": film, "destination": destination}
        said = Server(server, ca).post("/api/v1/operations/replay", body)
        show(said) if as_json else typer.echo(f"{said['objects']} objects are sent again")

    @group.command()
    def withdraw(
        films: list[str] = typer.Argument(..., help="Film ids."),
        reason: Reason = REASON,
        yes: bool = YES,
        server: str = SERVER,
        ca: Path | None = CA,
        as_json: bool = JSON,
    ) -> None:
        """Withdraw films with all their results; archives that may have results get a rejection note."""
        gateway = Server(server, ca)
        _confirm(f"Withdraw {len(films)} films and all their results?", yes)
        body = {"film_ids": films, "reason": reason.value}
        said = gateway.post("/api/v1/operations/withdraw", body)
        show(said) if as_json else typer.echo(f"{said['films']} of {len(films)} films withdrawn now")

    @group.command()
    def impact(
        model: str = typer.Option(..., "--model", help="Model line."),
        digest: str = typer.Option("", "--digest", help="Only this digest of it."),
        since: str | None = FROM,
        until: str | None = TO,
        take_back: bool = typer.Option(False, "--withdraw", help="Withdraw all these results."),
        reason: Reason = REASON,
        yes: bool = YES,
        server: str = SERVER,
        ca: Path | None = CA,
        as_json: bool = JSON,
    ) -> None:
        """What a model has touched, and who has got results of it; with --withdraw all of that is withdrawn."""
        gateway = Server(server, ca)
        found = gateway.get("/api/v1/operations/impact", model=model, digest=digest, **{"from": since, "to": until})
        if not take_back:
            if as_json:
                show(found)
            else:
                _tell_impact(found)
            return
        if not found["count"]:
            show({"films": 0}) if as_json else typer.echo("nothing to withdraw")
            return
        _confirm(f"Withdraw the results of {found['count']} films of model {model}?", yes)
        body = {"model": model, "digest": digest, "since": since, "until": until, "reason": reason.value}
        said = gateway.post("/api/v1/operations/impact/withdraw", body | {"expected": found["count"]})
        show(said) if as_json else typer.echo(f"the results of {said['films']} films withdrawn")

    @group.command()
    def audit(
        since: str | None = typer.Option(None, "--since", help="Records of this moment and later."),
        event: str | None = typer.Option(None, "--event", help="Only this event, such as 'withdrawn'."),
        limit: int = typer.Option(100, "--limit", min=1, max=10_000, help="At most so many."),
        server: str = SERVER,
        ca: Path | None = CA,
        as_json: bool = JSON,
    ) -> None:
        """Who did what, the newest first. With --json one object a record."""
        said = Server(server, ca).get("/api/v1/operations/audit", since=since, event=event, limit=limit)
        if as_json:
            for record in said["records"]:
                show(record)
            return
        shown = table("at", "event", "film", "source", "actor", "outcome")
        for record in said["records"]:
            names = ("at", "event", "film_id", "source", "actor", "outcome")
            shown.add_row(*(str(record.get(n, "")) for n in names))
        print_table(shown)

    @group.command("stop-delivery")
    def stop_delivery(server: str = SERVER, ca: Path | None = CA, as_json: bool = JSON) -> None:
        """Stop sending results at once, everywhere; films are still acknowledged and processed."""
        _tell_delivery(_throw(Server(server, ca), "stopped"), as_json)

    @group.command("start-delivery")
    def start_delivery(server: str = SERVER, ca: Path | None = CA, as_json: bool = JSON) -> None:
        """Send results again, also those that were due meanwhile."""
        _tell_delivery(_throw(Server(server, ca), "running"), as_json)


def _throw(gateway: Server, state: str) -> Any:
    return gateway.post("/api/v1/operations/delivery", {"state": state, "actor": who()})


def who() -> str:
    """The operator's account, as far as it is known: for the audit trail."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in a container
        return ""
    return "".join(c for c in name if c.isalnum() or c in "_.@+-")[:64]


def _confirm(question: str, yes: bool) -> None:
    """Ask on the terminal.

    Raises
    ------
    typer.Abort
        The answer is no, or there is nobody to ask.
    """
    if not yes:
        typer.confirm(question, abort=True, err=True)


def _tell_delivery(switch: dict[str, Any], as_json: bool) -> None:
    show(switch) if as_json else typer.echo(f"delivery is {switch['state']}")


def _tell_status(said: dict[str, Any]) -> None:
    for line in filter(None, [said["banner"], *said["warnings"]]):
        typer.echo(f"! {line}")
    oldest = f", the oldest since {said['oldest_unfinished']}" if said["oldest_unfinished"] else ""
    typer.echo(f"delivery {said['delivery']['state']}; {said['unfinished']} films unfinished{oldest}")
    typer.echo(f"{said['disk_free_bytes'] / 2**30:.1f} GiB of disk free")
    if said["undelivered"]:
        shown = table("destination", "state", "objects")
        for row in said["undelivered"]:
            shown.add_row(row["destination"], row["state"], str(row["objects"]))
        print_table(shown)
    if said["sources"]:
        shown = table("source", "last film", "films (24 h)", "refused (24 h)")
        for row in said["sources"]:
            shown.add_row(row["source"], row["last_film"] or "", _counts(row["films"]), _counts(row["refusals"]))
        print_table(shown)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _tell_impact(found: dict[str, Any]) -> None:
    shown = table("film", "state", "version", "digest", "updated", "sent to")
    for film in found["films"]:
        where = ", ".join(film["destinations"])
        digest = film["model_digest"][:19]
        shown.add_row(film["film_id"], film["state"], film["model_version"], digest, film["updated"], where)
    print_table(shown)
    typer.echo(f"{found['count']} films")
