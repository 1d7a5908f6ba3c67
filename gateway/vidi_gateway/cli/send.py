"""`vidi gateway send`: films to a node, as a modality or an archive does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vidi.commands.process import SOME_NOT_DONE, discover, is_part10
from vidi.errors import InvalidInput
from vidi_gateway.cli.nodes import parse
from vidi_gateway.cli.server import show

if TYPE_CHECKING:
    from vidi_gateway.dicomweb.address import WebAddress
    from vidi_gateway.dimse.address import Address
    from vidi_gateway.dimse.scu import Sent

#: Films read and sent over one association.
PAGE = 20


def register(group: typer.Typer) -> None:
    """Add the command."""

    @group.command()
    def send(
        paths: list[Path] = typer.Argument(..., help="DICOM files, or folders of them.", exists=True),
        to: str = typer.Option(
            "127.0.0.1:11112:VIDI", "--to", help="host:port:AE_TITLE for C-STORE, or a DICOMweb URL for STOW-RS."
        ),
        calling: str = typer.Option("MODALITY", "--calling", help="AE title that we call ourselves."),
        timeout: float = typer.Option(60.0, "--timeout", min=0.1, help="Seconds to wait for an answer."),
        as_json: bool = typer.Option(False, "--json", help="One JSON object a film, then a summary."),
    ) -> None:
        """Send films. Exit code 3: some were not taken."""
        address = parse(to, calling, timeout)
        if isinstance(address, str):
            raise InvalidInput("--to is host:port:AE_TITLE or a DICOMweb URL", field="to")
        films = discover(paths)
        counts = Counter[str]()
        with _progress(len(films), as_json) as advance:
            for path, code in _send(films, address):
                counts[code or "sent"] += 1
                advance()
                if as_json:
                    show({"input": str(path), "status": "failed" if code else "sent", "code": code})
                elif code:
                    typer.echo(f"{path}: {code}", err=True)
        failed = sum(n for code, n in counts.items() if code != "sent")
        if as_json:
            show({"summary": {"films": len(films), "sent": counts["sent"], "failed": failed}})
        else:
            typer.echo(f"{counts['sent']} of {len(films)} films sent to {to}")
        if failed:
            raise typer.Exit(SOME_NOT_DONE)


def _send(films: Sequence[Path], address: Address | WebAddress) -> Iterator[tuple[Path, str]]:
    """Yield each film with "" when the node has acknowledged it, else a code."""
    for start in range(0, len(films), PAGE):
        page = films[start : start + PAGE]
        datas: list[tuple[Path, bytes]] = []
        for path in page:
            code, data = _read(path)
            if code:
                yield path, code
            else:
                datas.append((path, data))
        for (path, _), sent in zip(datas, _store([d for _, d in datas], address), strict=True):
            yield path, _code(sent)


def _read(path: Path) -> tuple[str, bytes]:
    from vidi_gateway.objects import source as source_of
    from vidi_gateway.pipeline.header import read_header

    try:
        if not is_part10(path):
            return "NOT_DICOM", b""
        data = path.read_bytes()
        header = read_header(data)
    except OSError:
        return "UNREADABLE_FILE", b""
    except InvalidInput as e:
        return e.reason, b""
    known = source_of.uid(header, "SOPClassUID") and source_of.uid(header, "SOPInstanceUID")
    return ("", data) if known else ("INVALID_UID", b"")


def _store(datas: list[bytes], address: Address | WebAddress) -> list[Sent]:
    from vidi_gateway.dicomweb.address import WebAddress
    from vidi_gateway.dicomweb.client import WebClient
    from vidi_gateway.dimse.scu import Sender

    if not datas:
        return []
    if isinstance(address, WebAddress):
        with WebClient(address) as client:
            return [client.store(data) for data in datas]
    return Sender().send(datas, address)


def _code(sent: Sent) -> str:
    from vidi_gateway.dimse.scu import Outcome

    return "" if sent.outcome is Outcome.SENT else sent.error or "NOT_TAKEN"


class _progress:
    """A bar on standard error where that is a terminal."""

    def __init__(self, total: int, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("sending"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        self._bar = Progress(*columns, console=console, disable=quiet or not console.is_terminal)
        self._task = self._bar.add_task("sending", total=total)

    def __enter__(self) -> Any:
        self._bar.start()
        return lambda: self._bar.advance(self._task)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
