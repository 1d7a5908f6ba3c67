"""`vidi gateway pull`: films from an archive, in the background of a running gateway."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import typer

from vidi.commands.process import SOME_NOT_DONE
from vidi.errors import InvalidInput, Unavailable
from vidi_gateway.cli.server import CA, JSON, SERVER, Server, print_table, show, table

PULL = typer.Argument(..., help="Id of the pull.")
_ENDED = ("done", "cancelled", "failed")
_POLL = 0.5
#: A gateway that is restarted meanwhile is waited for.
_PATIENCE = 120.0


def register(group: typer.Typer) -> None:
    """Add the commands."""
    pull = typer.Typer(name="pull", help="Fetch films from an archive.", no_args_is_help=True, rich_markup_mode=None)
    group.add_typer(pull)

    @pull.command()
    def start(
        archive: str = typer.Argument(..., help="Name of the archive in the gateway's settings (VIDI_ARCHIVES)."),
        studies: list[str] = typer.Option([], "--study", help="Study Instance UID; may be given often."),
        listed: Path | None = typer.Option(
            None, "--list", help="File of UIDs, a line each: STUDY [SERIES [INSTANCE]].", exists=True, dir_okay=False
        ),
        date: str = typer.Option("", "--date", help="Day or range of days: 20240131, 20240101-20240131, 20240101-."),
        modalities: list[str] = typer.Option([], "--modality", help="Of series, CR and DX unless given."),
        body_part: str = typer.Option("", "--body-part", help="Body Part Examined, such as CHEST."),
        limit: int = typer.Option(0, "--limit", min=0, help="Most studies of a query; 0: all."),
        every: bool = typer.Option(False, "--all", help="Everything of these modalities that the archive has."),
        name: str = typer.Option("", "--name", help="Name of the pull, for people; no patient's."),
        model: str = typer.Option("", "--model", help="Model line; the site's default otherwise."),
        follow: bool = typer.Option(False, "--watch", help="Show its progress until it ends."),
        server: str = SERVER,
        ca: Path | None = CA,
        as_json: bool = JSON,
    ) -> None:
        """Start a pull: by a list of UIDs, or by a query."""
        items = [{"study_uid": s} for s in studies] + (_read_list(listed) if listed else [])
        query: dict[str, Any] = {"study_date": date, "body_part": body_part, "limit": limit}
        query |= {"modalities": modalities} if modalities else {}
        asked = bool(date or modalities or body_part or limit or every)
        if bool(items) == asked:
            raise typer.BadParameter("give UIDs (--study, --list), or a query (--date, --modality, --body-part, --all)")
        body: dict[str, Any] = {"archive": archive, "display_name": name, "model": model}
        body |= {"items": items} if items else {"query": query}
        gateway = Server(server, ca)
        made = gateway.post("/api/v1/pulls", body)
        if follow:
            if not as_json:
                typer.echo(made["id"])
            _finish(_watch(gateway, made["id"], as_json), as_json)
        else:
            _tell(made, as_json)

    @pull.command("list")
    def list_pulls(server: str = SERVER, ca: Path | None = CA, as_json: bool = JSON) -> None:
        """List pulls, the newest first."""
        found = Server(server, ca).get("/api/v1/pulls")["pulls"]
        if as_json:
            for one in found:
                show(one)
            return
        shown = table("pull", "archive", "state", "done", "failed", "of", "films", "name")
        for one in found:
            numbers = (str(one[k]) for k in ("done", "failed", "total", "films"))
            shown.add_row(one["id"], one["archive"], one["state"], *numbers, one["display_name"])
        print_table(shown)

    @pull.command()
    def status(pull_id: str = PULL, server: str = SERVER, ca: Path | None = CA, as_json: bool = JSON) -> None:
        """Say where a pull stands, and which items failed."""
        gateway = Server(server, ca)
        one = gateway.get(f"/api/v1/pulls/{pull_id}")
        failed = gateway.get(f"/api/v1/pulls/{pull_id}/items", state="failed", page_size=1000)["items"]
        if as_json:
            show({**one, "failed_items": failed})
            return
        _tell(one, as_json)
        for item in failed:
            uids = " ".join(item[k] for k in ("study_uid", "series_uid", "sop_uid") if item[k])
            typer.echo(f"  {item['last_error']}: {uids}")

    @pull.command()
    def watch(pull_id: str = PULL, server: str = SERVER, ca: Path | None = CA, as_json: bool = JSON) -> None:
        """Show a pull's progress until it ends. Exit code 3: some items failed; 1: it cannot go on."""
        _finish(_watch(Server(server, ca), pull_id, as_json), as_json)

    @pull.command()
    def cancel(pull_id: str = PULL, server: str = SERVER, ca: Path | None = CA, as_json: bool = JSON) -> None:
        """Leave out what was not fetched yet; what came stays."""
        _tell(Server(server, ca).post(f"/api/v1/pulls/{pull_id}/cancel"), as_json)

    @pull.command()
    def resume(pull_id: str = PULL, server: str = SERVER, ca: Path | None = CA, as_json: bool = JSON) -> None:
        """Fetch what failed or was left out."""
        _tell(Server(server, ca).post(f"/api/v1/pulls/{pull_id}/resume"), as_json)


def _read_list(path: Path) -> list[dict[str, str]]:
    """Read UIDs; empty lines and lines that begin with # count for nothing.

    Raises
    ------
    InvalidInput
        The file is no such list.
    """
    names = ("study_uid", "series_uid", "sop_uid")
    items: list[dict[str, str]] = []
    try:
        lines = path.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InvalidInput(f"{path} is no list of UIDs: it cannot be read as plain text", field="list") from None
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) > len(names) or not all(w.replace(".", "").isdigit() for w in words):
            raise InvalidInput(f"{path}, line {number}: STUDY [SERIES [INSTANCE]] are UIDs", field="list")
        items.append(dict(zip(names, words, strict=False)))
    if not items:
        raise InvalidInput(f"{path} names nothing", field="list")
    return items


def _watch(gateway: Server, pull_id: str, as_json: bool) -> dict[str, Any]:
    """Follow a pull, also through a restart of the gateway; return how it ended."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    seen = time.monotonic()
    one = gateway.get(f"/api/v1/pulls/{pull_id}")
    with Progress(*columns, console=console, disable=as_json or not console.is_terminal) as bar:
        task = bar.add_task(one["archive"], total=None, note="")
        while True:
            total = one["total"] if one["state"] != "listing" else None
            note = one["last_error"] or f"{one['films']} films, {one['failed']} items failed"
            bar.update(task, total=total, completed=one["total"] - one["waiting"], note=note)
            if one["state"] in _ENDED:
                return dict(one)
            time.sleep(_POLL)
            try:
                one = gateway.get(f"/api/v1/pulls/{pull_id}")
                seen = time.monotonic()
            except Unavailable:
                if time.monotonic() - seen > _PATIENCE:
                    raise


def _finish(one: dict[str, Any], as_json: bool) -> None:
    _tell(one, as_json)
    if one["state"] == "failed":
        raise typer.Exit(1)
    if one["failed"] or one["left_out"]:
        raise typer.Exit(SOME_NOT_DONE)


def _tell(one: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show(one)
        return
    counts = ", ".join(f"{one[k]} {k.replace('_', ' ')}" for k in ("waiting", "failed", "left_out") if one[k])
    text = f"{one['id']}: {one['state']}, {one['done']} of {one['total']} items, {one['films']} films"
    typer.echo(text + (f", {counts}" if counts else "") + (f" ({one['last_error']})" if one["last_error"] else ""))
