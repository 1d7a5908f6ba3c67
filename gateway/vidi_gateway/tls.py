"""TLS for every port that we open and every node that we call: BCP 195 (RFC 9325) as PS3.15 annex B.12 asks for it.

Files are read again when they change, so that a certificate is renewed without a restart.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vidi.errors import PreconditionFailed

#: TLS 1.2 suites with forward secrecy and authenticated encryption; those of TLS 1.3 all are.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:!aNULL:!PSK"
#: OpenSSL's X509_V_ERR_*: not yet valid, expired.
_OUT_OF_DATE = (9, 10)
_WRONG_HOST = (62, 63, 64)


@dataclass(frozen=True)
class ServerTls:
    """How a port of ours speaks TLS.

    Attributes
    ----------
    certificate, key
        PEM files: our certificate with its chain, and its private key.
    ca
        PEM file of the authorities whose client certificates are admitted; then everybody needs one. None: nobody does.
    """

    certificate: Path
    key: Path
    ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return a new context.

        Raises
        ------
        PreconditionFailed
            TLS_FILES: a file is missing or is not what it should be.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with _readable():
            context.load_cert_chain(self.certificate, self.key)
            if self.ca:
                context.load_verify_locations(self.ca)
        if self.ca:
            context.verify_mode = ssl.CERT_REQUIRED
        return _hardened(context)


@dataclass(frozen=True)
class ClientTls:
    """How we speak TLS to a node: its certificate and name are always checked.

    Attributes
    ----------
    ca
        PEM file of the authorities that may have signed the node's certificate. None: those of the system.
    certificate, key
        PEM files with which we prove who we are. None: we do not.
    server_name
        Name that its certificate must bear; "": the host that it is called by.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str = ""

    def context(self) -> ssl.SSLContext:
        """Return a new context.

        Raises
        ------
        PreconditionFailed
            TLS_FILES: a file is missing or is not what it should be.
        """
        with _readable():
            context = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key)
        return _hardened(context)


class Current:
    """The context of a port, made anew when one of its files has changed.

    Parameters
    ----------
    tls
        Where the files are.

    Raises
    ------
    PreconditionFailed
        TLS_FILES: they cannot be used. Later on, files that cannot be used leave the last good ones in force.
    """

    def __init__(self, tls: ServerTls) -> None:
        self._tls = tls
        self._lock = threading.Lock()
        self._seen = self._stamps()
        self._context = tls.context()

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection."""
        with self._lock:
            stamps = self._stamps()
            if stamps != self._seen:
                with contextlib.suppress(PreconditionFailed):  # half of the files are there: the other half follows
                    self._context = self._tls.context()
                    self._seen = stamps
            return self._context

    def _stamps(self) -> list[tuple[int, int, int]]:
        stamps = []
        for path in (self._tls.certificate, self._tls.key, self._tls.ca):
            with contextlib.suppress(OSError):
                stat = path.stat() if path else None
                stamps.append((stat.st_mtime_ns, stat.st_size, stat.st_ino) if stat else (0, 0, 0))
        return stamps


def failure(error: Exception) -> str:
    """Return the code of a handshake that failed: what is wrong with the peer's certificate, as far as it is known."""
    if isinstance(error, TimeoutError):
        return "TLS_TIMEOUT"
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _OUT_OF_DATE:
            return "CERTIFICATE_OUT_OF_DATE"
        return "CERTIFICATE_NAME" if error.verify_code in _WRONG_HOST else "CERTIFICATE_UNTRUSTED"
    if isinstance(error, ssl.SSLError) and error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "CERTIFICATE_MISSING"
    return "TLS_FAILED"


def _hardened(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as e:  # an SSLError is an OSError
        what = e.strerror or type(e).__name__ if isinstance(e, OSError) else str(e)
        raise PreconditionFailed(f"certificate, key or CA file cannot be used: {what}", reason="TLS_FILES") from None
