"""Where a DICOMweb node is, and who we are to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from vidi_gateway.tls import ClientTls

#: Most bytes of one answer.
MAX_ANSWER_BYTES = 256 << 20


@dataclass(frozen=True)
class WebAddress:
    """A DICOMweb node. `timeout` is in seconds, for connecting and for every pause in an answer."""

    url: str
    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    tls: ClientTls | None = None
    timeout: float = 60.0
    max_bytes: int = MAX_ANSWER_BYTES
