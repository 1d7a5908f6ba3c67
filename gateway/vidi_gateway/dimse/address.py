"""Where a DIMSE node is, how it is called, and who we are to it."""

from __future__ import annotations

from dataclasses import dataclass

from vidi_gateway.tls import ClientTls


@dataclass(frozen=True)
class Address:
    """A service class provider. `timeout` is in seconds, for every answer."""

    host: str
    port: int
    called_ae: str
    calling_ae: str = "VIDI"
    timeout: float = 60.0
    tls: ClientTls | None = None
