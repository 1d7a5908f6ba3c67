"""Audit messages to a repository by syslog (RFC 5424): UDP (RFC 5426), TCP (RFC 6587), TLS (RFC 5425); PS3.15 A.6, A.7.

Syslog acknowledges nothing. Over UDP a record may be lost on its way, over TCP and TLS what was on its way when the
repository died; what is found out is sent again, so that a record may come twice, never not at all for a known reason.
"""

from __future__ import annotations

import os
import re
import select
import socket
import ssl
from collections.abc import Sequence

from vidi_gateway.tls import ClientTls

#: Facility 10 (security and authorisation), severity 5 (notice).
PRIORITY = 10 * 8 + 5
#: MSGID of audit messages (PS3.15 A.6).
MESSAGE_ID = "DICOM+RFC3881"
TIMEOUT = 10.0
#: Payload of a datagram that IPv4 can carry.
MAX_DATAGRAM = 65_507
#: Time for a repository that is gone to say so before a batch counts as sent.
_AFTERMATH = 0.05


class Syslog:
    """Sends messages.

    Parameters
    ----------
    transport
        "udp", "tcp" or "tls".
    host, port
        The repository.
    tls
        For "tls".
    app_name
        APP-NAME.
    """

    def __init__(self, transport: str, host: str, port: int, *, tls: ClientTls, app_name: str = "vidi") -> None:
        self._transport = transport
        self._address = (host, port)
        self._tls = tls
        self._app_name = app_name
        self._socket: socket.socket | None = None

    def send(self, stamped: Sequence[tuple[str, str]]) -> None:
        """Send messages in order.

        Parameters
        ----------
        stamped
            Time (RFC 3339) and XML of each.

        Raises
        ------
        OSError
            When the repository cannot be reached, or went away. Some may have reached it: they come again.
        """
        try:
            connection = self._connected()
            for at, xml in stamped:
                message = frame(at, xml, self._app_name)
                if self._transport == "udp":
                    connection.send(message[:MAX_DATAGRAM])
                else:
                    connection.sendall(b"%d %s" % (len(message), message))
            if self._transport != "udp" and _gone(connection, _AFTERMATH):
                raise ConnectionResetError("the repository has closed the connection")
        except (OSError, ValueError):
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._socket:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        if self._socket and self._transport != "udp" and _gone(self._socket, 0.0):
            self.close()
        if self._socket is None:
            self._socket = self._connect()
        return self._socket

    def _connect(self) -> socket.socket:
        if self._transport == "udp":
            family, kind, protocol, _name, address = socket.getaddrinfo(*self._address, type=socket.SOCK_DGRAM)[0]
            datagrams = socket.socket(family, kind, protocol)
            datagrams.connect(address)
            return datagrams
        plain = socket.create_connection(self._address, TIMEOUT)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self._transport == "tcp":
            return plain
        try:
            return self._tls.context().wrap_socket(plain, server_hostname=self._tls.server_name or self._address[0])
        except BaseException:
            plain.close()
            raise


def frame(at: str, xml: str, app_name: str) -> bytes:
    """Return a syslog message (RFC 5424 section 6): header, no structured data, UTF-8 text with byte order mark."""
    host = re.sub(r"[^\x21-\x7e]", "", socket.gethostname())[:255] or "-"
    header = f"<{PRIORITY}>1 {at} {host} {app_name} {os.getpid()} {MESSAGE_ID} - "
    return header.encode("ascii") + b"\xef\xbb\xbf" + xml.encode()


def _gone(connection: socket.socket, wait: float) -> bool:
    """Whether the other side has closed: a repository never says anything else."""
    if isinstance(connection, ssl.SSLSocket) and connection.pending():
        return False
    readable, _, _ = select.select([connection], [], [], wait)
    if not readable:
        return False
    connection.setblocking(False)
    try:
        return connection.recv(1024) == b""
    except (BlockingIOError, ssl.SSLWantReadError):  # TLS 1.3 session tickets
        return False
    finally:
        connection.settimeout(TIMEOUT)
