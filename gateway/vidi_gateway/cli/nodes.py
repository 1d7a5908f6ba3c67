"""`vidi gateway echo` and `vidi gateway query`: ask another node."""

from __future__ import annotations

import enum
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import typer

from vidi.errors import InvalidInput, ViDiError
from vidi_gateway.cli.server import CA, JSON, SERVER, Server, print_table, show, table

if TYPE_CHECKING:
    from vidi_gateway.dicomweb.address import WebAddress
    from vidi_gateway.dimse.address import Address

NODE = typer.Argument(..., help="host:port:AE_TITLE, a DICOMweb URL, or the name of a node in the gateway's settings.")
CALLING = typer.Option("VIDI", "--calling", help="AE title that we call ourselves.")
SECONDS = typer.Option(30.0, "--timeout", min=0.1, help="Seconds to wait for an answer.")


class QueryLevel(enum.StrEnum):
    """What to look for."""

    STUDY = "study"
    SERIES = "series"
    IMAGE = "image"


def register(group: typer.Typer) -> None:
    """Add the commands."""

    @group.command()
    def echo(
        node: str = NODE,
        calling: str = CALLING,
        timeout: float = SECONDS,
        server: str = SERVER,
        ca: Path | None = CA,
        as_json: bool = JSON,
    ) -> None:
        """Whether a node answers: C-ECHO, or a query by DICOMweb. A node that is named is called by the gateway itself.

        Exit code 1: it does not.
        """
        address = parse(node, calling, timeout)
        if isinstance(address, str):
            said = Server(server, ca).post(f"/api/v1/operations/nodes/{address}/echo")
        else:
            said = try_echo(address)
        if as_json:
            show({"node": node, **said})
        else:
            typer.echo(f"{node}: answers ({said['seconds']:.2f} s)" if said["ok"] else f"{node}: {said['error']}")
        if not said["ok"]:
            raise typer.Exit(1)

    @group.command()
    def query(
        node: str = NODE,
        level: QueryLevel = typer.Option(QueryLevel.STUDY, "--level", help="What to look for."),
        keys: list[str] = typer.Option(
            [], "--key", "-k", help="KEYWORD=VALUE, such as StudyDate=20240101-20240131; may be given often."
        ),
        limit: int = typer.Option(100, "--limit", min=1, max=100_000, help="At most so many matches."),
        calling: str = CALLING,
        timeout: float = SECONDS,
        server: str = SERVER,
        ca: Path | None = CA,
        as_json: bool = JSON,
    ) -> None:
        """What there is at a node: C-FIND or QIDO-RS. With --json one object a match."""
        wanted = read_keys(keys)
        address = parse(node, calling, timeout)
        if isinstance(address, str):
            body = {"level": level.value.upper(), "keys": wanted, "limit": limit}
            found = iter(Server(server, ca).post(f"/api/v1/operations/nodes/{address}/query", body)["matches"])
        else:
            found = ask(address, level, wanted, limit)
        if as_json:
            for match in found:
                show(match)
            return
        shown = table("date", "modality", "instances", f"{level.value} UID")
        count = 0
        for match in found:
            uid = match[{"study": "study_uid", "series": "series_uid", "image": "sop_uid"}[level.value]]
            instances = "" if match["instances"] is None else str(match["instances"])
            shown.add_row(match["date"], match["modality"].replace("\\", " "), instances, uid)
            count += 1
        print_table(shown)
        more = "; there may be more (--limit)" if count == limit else ""
        typer.echo(f"{count} found{more}")


def parse(text: str, calling: str, timeout: float) -> Address | WebAddress | str:
    """Return where a node is, or the name of one that the gateway knows.

    Raises
    ------
    InvalidInput
        It is neither.
    """
    from vidi_gateway.dicomweb.address import WebAddress
    from vidi_gateway.dimse.address import Address
    from vidi_gateway.nodes import checked_ae_title
    from vidi_gateway.tls import ClientTls

    if text.startswith(("http://", "https://")):
        tls = ClientTls() if text.startswith("https:") else None
        return WebAddress(text.rstrip("/"), tls=tls, timeout=timeout)
    if not any(c in text for c in ":@/"):
        return text
    title, at, place = text.rpartition("@")
    if not at:
        place, _, title = text.rpartition(":")
    try:
        parts = urlsplit(f"dimse://{place}")
        host, port = parts.hostname, parts.port
        if host and port:
            return Address(host, port, checked_ae_title(title), checked_ae_title(calling), timeout)
    except ValueError:
        pass
    message = f"{text!r} is no node: host:port:AE_TITLE, AE_TITLE@host:port, a DICOMweb URL, or a name in the settings"
    raise InvalidInput(message, field="node")


def read_keys(keys: list[str]) -> dict[str, str]:
    """Return KEYWORD=VALUE pairs as a dictionary.

    Raises
    ------
    InvalidInput
        One has no "=".
    """
    pairs = [key.partition("=") for key in keys]
    for keyword, sign, _ in pairs:
        if not sign or not keyword:
            raise InvalidInput("--key is written KEYWORD=VALUE, such as StudyDate=20240101", field="key")
    return {keyword: value for keyword, _, value in pairs}


def try_echo(address: Address | WebAddress) -> dict[str, Any]:
    """Return whether a node answers, why not, and after how many seconds."""
    from vidi_gateway.dicomweb.address import WebAddress
    from vidi_gateway.dicomweb.client import WebClient
    from vidi_gateway.dimse.scu import ping
    from vidi_gateway.matches import Level

    started = time.monotonic()
    error = ""
    try:
        if isinstance(address, WebAddress):
            with WebClient(address) as client:
                next(client.find(Level.STUDY, {}, limit=1), None)
        else:
            ping(address)
    except ViDiError as e:
        error = f"{e.message} ({e.reason})"
    return {"ok": not error, "error": error, "seconds": round(time.monotonic() - started, 3)}


def ask(address: Address | WebAddress, level: QueryLevel, keys: dict[str, str], limit: int) -> Iterator[dict[str, Any]]:
    """Yield what a node has, as plain values."""
    from vidi_gateway.dicomweb.address import WebAddress
    from vidi_gateway.dicomweb.client import WebClient
    from vidi_gateway.dimse.query import Querier
    from vidi_gateway.matches import Level

    opened = WebClient(address) if isinstance(address, WebAddress) else Querier(address)
    with opened as node:
        for match in node.find(Level(level.value.upper()), keys, limit=limit):
            yield match.to_json()
