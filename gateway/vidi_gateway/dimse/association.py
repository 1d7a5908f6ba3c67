"""Opening associations as a service class user: with TLS, time limits, and a way to let go of what hangs."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator, Sequence
from typing import Any

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.presentation import PresentationContext

from vidi.errors import PreconditionFailed, Unavailable
from vidi_gateway import tls
from vidi_gateway.dimse.address import Address

CONNECT_SECONDS = 10.0
#: What we offer for messages and our own objects. Never a deflated syntax: a small answer may inflate without bound.
NATIVE: tuple[str, ...] = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


class Associations:
    """Associations that we opened and have not closed: pynetdicom's threads keep the process alive for them."""

    def __init__(self) -> None:
        self._live: set[Any] = set()

    @contextlib.contextmanager
    def open(
        self, address: Address, contexts: Sequence[PresentationContext], handlers: Sequence[tuple[Any, ...]] = ()
    ) -> Iterator[Any]:
        """Open an association for the length of a block.

        Parameters
        ----------
        address
            Where to, and how.
        contexts
            Presentation contexts to offer, at most 128.
        handlers
            pynetdicom's, for what the peer sends by itself.

        Yields
        ------
        pynetdicom's association. At least one context was accepted.

        Raises
        ------
        Unavailable
            NO_ASSOCIATION, ASSOCIATION_REJECTED, or why TLS failed (TLS_FAILED, CERTIFICATE_OUT_OF_DATE,
            CERTIFICATE_UNTRUSTED, CERTIFICATE_NAME).
        PreconditionFailed
            SOP_CLASS_NOT_ACCEPTED: the peer accepts none of the contexts. TLS_FILES.
        """
        ae = ApplicationEntity(address.calling_ae)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = address.timeout
        ae.connection_timeout = min(address.timeout, CONNECT_SECONDS)
        ae.requested_contexts = list(contexts)
        opened: list[Any] = []

        def remember(event: evt.Event) -> None:
            opened.append(event.assoc)
            self._live.add(event.assoc)
            connection: Any = event.assoc.dul.socket
            connection.socket.settimeout(address.timeout)  # else half a PDU holds its thread for ever

        failures: list[str] = []
        extra = _tls_args(address, failures)
        bound: list[Any] = [(evt.EVT_CONN_OPEN, remember), *handlers]
        try:
            try:
                association = ae.associate(
                    address.host, address.port, ae_title=address.called_ae, evt_handlers=bound, **extra
                )
            except OSError:  # the host's name is not known
                raise Unavailable("the node's host is not known", reason="NO_ASSOCIATION") from None
            _check(association, failures)
            try:
                yield association
            except BaseException:
                association.abort(block=False)
                raise
            if association.is_established:
                association.release()
        finally:
            self._live.difference_update(opened)

    def abandon(self) -> None:
        """Drop all associations under way, without a word to the peers."""
        for association in list(self._live):
            association.dul.kill_dul()


def _tls_args(address: Address, failures: list[str]) -> dict[str, Any]:
    if address.tls is None:
        return {}

    class Noting(ssl.SSLSocket):
        """pynetdicom tells nobody why a handshake failed."""

        def do_handshake(self, block: bool = False) -> None:
            try:
                super().do_handshake(block)
            except OSError as e:
                failures.append(tls.failure(e))
                raise

    context = address.tls.context()
    context.sslsocket_class = Noting
    return {"tls_args": (context, address.tls.server_name or address.host)}


def _check(association: Any, failures: Sequence[str]) -> None:
    if association.is_established:
        return
    if association.rejected_contexts and not association.accepted_contexts:
        raise PreconditionFailed("the node takes none of these objects", reason="SOP_CLASS_NOT_ACCEPTED")
    if association.is_rejected:
        raise Unavailable("the node rejects the association", reason="ASSOCIATION_REJECTED")
    reason = failures[0] if failures else "NO_ASSOCIATION"
    raise Unavailable("no association with the node", reason=reason)
