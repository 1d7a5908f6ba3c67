"""A running gateway, as the command line talks to it: its REST API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from vidi.errors import Exhausted, InvalidInput, NotFound, PreconditionFailed, Unavailable, ViDiError

SERVER = typer.Option(
    "http://127.0.0.1:8080", "--server", help="Address of the running gateway (HTTP).", envvar="VIDI_HTTP_SERVER"
)
CA = typer.Option(None, "--ca", help="Authority that signed its certificate (PEM), for https.", envvar="VIDI_HTTP_CA")
JSON = typer.Option(False, "--json", help="JSON on standard output.")
TIMEOUT = 60.0


class _Missing(NotFound):
    """As `NotFound`, in the server's own words."""

    def __init__(self, message: str) -> None:
        super().__init__("resource", "")
        self.message = message


class Server:
    """Calls, and errors that one can read.

    Parameters
    ----------
    url
        Base URL, such as "http://127.0.0.1:8080".
    ca
        PEM file of the authority of its certificate; None: those of the system.
    """

    def __init__(self, url: str, ca: Path | None = None) -> None:
        import requests

        if not url.startswith(("http://", "https://")):
            raise InvalidInput(f"--server is a URL, such as http://127.0.0.1:8080, not {url!r}", field="server")
        if ca is not None and not ca.is_file():
            raise InvalidInput(f"--ca: there is no file {ca}", field="ca")
        self._url = url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False  # a gateway is never behind the proxy that leads out of the house
        self._session.verify = str(ca) if ca else True

    def get(self, path: str, **parameters: Any) -> Any:
        """Return what a resource holds; parameters that are None are left out. Raises as `post`."""
        return self._call("GET", path, params={k: v for k, v in parameters.items() if v is not None})

    def post(self, path: str, body: Any = None) -> Any:
        """Send JSON and return the answer.

        Raises
        ------
        Unavailable
            Nobody answers, or somebody else than a gateway.
        InvalidInput, NotFound, PreconditionFailed, Exhausted, ViDiError
            What the gateway says.
        """
        return self._call("POST", path, json={} if body is None else body)

    def download(self, path: str, body: Any) -> bytes:
        """Send JSON and return the answer as it is. Raises as `post`."""
        return bytes(self._answer("POST", path, json=body).content)

    def _call(self, method: str, path: str, **options: Any) -> Any:
        answer = self._answer(method, path, **options)
        try:
            return answer.json()
        except ValueError:
            raise self._stranger(answer) from None

    def _answer(self, method: str, path: str, **options: Any) -> Any:
        import requests

        try:
            answer = self._session.request(method, self._url + path, timeout=TIMEOUT, allow_redirects=False, **options)
        except requests.exceptions.SSLError:
            message = f"the certificate of {self._url} is not one to trust; --ca names the authority that signed it"
            raise Unavailable(message, reason="TLS_FAILED") from None
        except requests.exceptions.Timeout:
            raise Unavailable(f"the gateway at {self._url} does not answer in {TIMEOUT:.0f} s") from None
        except requests.exceptions.RequestException:
            raise Unavailable(f"no gateway answers at {self._url}: is it running? --server says where") from None
        if answer.ok:
            return answer
        try:
            body = answer.json()
        except requests.exceptions.JSONDecodeError:
            body = None
        if not isinstance(body, dict) or "reason" not in body:
            if answer.status_code == 404 and isinstance(body, dict):
                raise Unavailable(f"the gateway at {self._url} does not know this: is it of an older version?")
            raise self._stranger(answer)
        raise _error(answer.status_code, body)

    def _stranger(self, answer: Any) -> Unavailable:
        return Unavailable(f"what answers at {self._url} is no ViDi gateway (HTTP {answer.status_code})")


def show(value: Any) -> None:
    """Print JSON, one object."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def table(*columns: str) -> Any:
    """Return a table for people; `print_table` prints it."""
    from rich.table import Table

    return Table(*columns, box=None, pad_edge=False, header_style="bold")


def print_table(made: Any) -> None:
    """Print a table, in its full width where the output is no terminal."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = 240
    console.print(made)


def _error(status: int, problem: dict[str, Any]) -> ViDiError:
    """What the gateway said, as the error that it was there."""
    reason, message = str(problem["reason"]), str(problem.get("message", ""))
    violations = [f"{v.get('field', '')}: {v.get('description', '')}" for v in problem.get("violations") or []]
    if violations:
        message = "; ".join([message, *violations])
    if status == 403:
        hint = "VIDI_OPERATOR_PEERS of the gateway says from where it may be operated"
        return PreconditionFailed(f"{message}: {hint}", reason=reason)
    if status == 404:
        return _Missing(message)
    if status in (400, 422):
        return InvalidInput(message, reason=reason)
    if status == 409:
        return PreconditionFailed(message, reason=reason)
    if status in (429, 503):
        return Exhausted(message, reason=reason)
    return ViDiError(message, reason=reason)
