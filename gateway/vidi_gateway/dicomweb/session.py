"""HTTP with bounds: an answer's size, the time without a word, TLS as everywhere, and nothing taken from elsewhere."""

from __future__ import annotations

import ssl
import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, ReadTimeoutError

from vidi.errors import Exhausted, Unavailable
from vidi_gateway import tls
from vidi_gateway.dicomweb.address import WebAddress

_CHUNK = 1 << 16
CONNECT_SECONDS = 10.0
#: An answer may take so many times as long as the peer may be silent: one that drips bytes holds nobody for ever.
LONGEST_ANSWER = 10


class BoundedSession(requests.Session):
    """A session with one DICOMweb node.

    Redirections are not followed (they could lead credentials elsewhere), and neither proxies nor credentials come from
    the environment.

    Parameters
    ----------
    address
        The node, credentials and limits.

    Raises
    ------
    PreconditionFailed
        TLS_FILES.
    """

    def __init__(self, address: WebAddress) -> None:
        super().__init__()
        self._address = address
        self.trust_env = False
        self.headers["Accept-Encoding"] = "identity"  # what is small on the wire may be without bound here
        self.max_redirects = 0
        if address.token:
            self.headers["Authorization"] = f"Bearer {address.token}"
        elif address.username:
            self.auth = (address.username, address.password)
        if address.tls:
            self.mount("https://", _TlsAdapter(address.tls.context()))

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send, and read the answer up to the limits.

        Raises
        ------
        Exhausted
            ANSWER_TOO_LARGE.
        Unavailable
            NO_CONNECTION, NO_ANSWER, ASSOCIATION_LOST (the connection, in the middle of something), or why TLS failed.
        """
        options |= {"stream": True, "allow_redirects": False}
        options["timeout"] = (min(self._address.timeout, CONNECT_SECONDS), self._address.timeout)
        try:
            response = super().send(request, **options)
            response._content = self._read(response)
            response._content_consumed = True
        except (requests.RequestException, HTTPError) as e:
            raise _unavailable(e) from None  # the message quotes the URL, and with it what was asked
        if response.is_redirect:
            raise Unavailable("the node sends us elsewhere", reason=f"HTTP_{response.status_code}")
        return response

    def _read(self, response: requests.Response) -> bytes:
        deadline = time.monotonic() + LONGEST_ANSWER * self._address.timeout
        body = bytearray()
        # read1 hands on what is there; reading whole blocks would wait for a block as long as bytes drip.
        while chunk := response.raw.read1(_CHUNK):
            body += chunk
            if len(body) > self._address.max_bytes:
                response.close()
                raise Exhausted("the node's answer is larger than the limit", reason="ANSWER_TOO_LARGE")
            if time.monotonic() > deadline:
                response.close()
                raise Unavailable("the node takes too long to answer", reason="NO_ANSWER")
        return bytes(body)


class _TlsAdapter(HTTPAdapter):
    """Connects with our context alone: requests would add the authorities that it brings along."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        """Use the context for every connection."""
        super().init_poolmanager(connections, maxsize, block, ssl_context=self._context, **kwargs)

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        """Leave TLS to the context."""
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"ssl_context": self._context}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave TLS to the context."""


def _unavailable(error: Exception) -> Unavailable:
    cause: BaseException | None = error
    for _ in range(8):  # requests wraps what urllib3 wraps
        if isinstance(cause, ssl.SSLError):
            return Unavailable("no TLS connection with the node", reason=tls.failure(cause))
        inner = getattr(cause, "reason", None) if cause else None
        cause = inner if isinstance(inner, BaseException) else (cause.args[0] if cause and cause.args else None)
        if not isinstance(cause, BaseException):
            break
    if isinstance(error, requests.ReadTimeout | ReadTimeoutError):
        return Unavailable("the node does not answer", reason="NO_ANSWER")
    if isinstance(error, requests.ConnectTimeout):
        return Unavailable("no connection with the node", reason="NO_CONNECTION")
    if isinstance(error, requests.ConnectionError) and "NewConnectionError" in repr(error):
        return Unavailable("no connection with the node", reason="NO_CONNECTION")
    return Unavailable("the connection with the node was lost", reason="ASSOCIATION_LOST")
