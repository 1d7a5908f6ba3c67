"""Bounds on what a peer may make us hold in memory, which pynetdicom leaves open.

pynetdicom reads as many bytes as a PDU header declares (up to 4 GiB, before any association), and collects a message of
any length.
"""

from __future__ import annotations

import threading
from typing import Any

from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

#: A-ASSOCIATE-RQ with 128 presentation contexts is some 60 KiB; other PDUs but P-DATA are smaller.
CONTROL_PDU_BYTES = 1 << 18


class BoundedSocket(AssociationSocket):
    """A socket that closes the connection where a peer exceeds its bounds.

    Attributes
    ----------
    max_pdu_bytes
        Largest PDU taken.
    max_message_bytes
        Most bytes taken between two complete DIMSE messages.
    """

    max_pdu_bytes: int = CONTROL_PDU_BYTES
    max_message_bytes: int = CONTROL_PDU_BYTES
    _held: int = 0

    def message_complete(self) -> None:
        """A whole message was handed on: start counting anew."""
        self._held = 0

    def recv(self, nr_bytes: int) -> bytearray:
        """Read exactly `nr_bytes`, or what came before the connection closed.

        Raises
        ------
        OSError
            When a bound is exceeded: pynetdicom then closes the connection.
        """
        if nr_bytes > self.max_pdu_bytes:
            raise OSError("a PDU is larger than the limit")
        self._held += nr_bytes
        if self._held > self.max_message_bytes:
            raise OSError("a message is larger than the limit")
        buffer = bytearray(nr_bytes)
        view, filled = memoryview(buffer), 0
        socket: Any = self.socket
        while filled < nr_bytes:
            count = socket.recv_into(view[filled:])
            if not count:
                view.release()
                return buffer[:filled]
            filled += count
        view.release()
        return buffer


class BoundedServer(ThreadedAssociationServer):
    """An association server whose connections are bounded.

    Parameters
    ----------
    max_pdu_bytes
        Largest P-DATA PDU that we announce and take.
    max_message_bytes
        Largest object, with its command set.
    """

    daemon_threads = True
    # The default of 5 loses connections when many modalities connect at once.
    request_queue_size = 64

    def __init__(self, *args: Any, max_pdu_bytes: int, max_message_bytes: int, **kwargs: Any) -> None:
        self.max_pdu_bytes = max_pdu_bytes
        self.max_message_bytes = max_message_bytes
        super().__init__(*args, **kwargs | {"request_handler": _BoundedHandler})
        self.bind(evt.EVT_DIMSE_RECV, _message_complete)


class _BoundedHandler(RequestHandler):
    server: BoundedServer

    def _create_association(self) -> Any:
        association = super()._create_association()
        association.dul.daemon = True  # else a silent peer keeps the process from ending
        connection: Any = association.dul.socket
        # An association takes one socket only, and making a second one would start its state machine twice.
        connection.__class__ = BoundedSocket
        connection.max_pdu_bytes = max(CONTROL_PDU_BYTES, self.server.max_pdu_bytes + 6)
        connection.max_message_bytes = self.server.max_message_bytes + CONTROL_PDU_BYTES
        return association


def _message_complete(event: evt.Event) -> None:
    socket = event.assoc.dul.socket
    if isinstance(socket, BoundedSocket):
        socket.message_complete()


def listen(
    ae: ApplicationEntity, address: tuple[str, int], handlers: list[Any], *, max_pdu_bytes: int, max_message_bytes: int
) -> BoundedServer:
    """Start a bounded server in a thread of its own. Stop it with `stop`.

    Raises
    ------
    OSError
        When the address is taken.
    """
    bounds: dict[str, Any] = {"max_pdu_bytes": max_pdu_bytes, "max_message_bytes": max_message_bytes}
    server = ae.make_server(address, evt_handlers=handlers, server_class=BoundedServer, **bounds)
    assert isinstance(server, BoundedServer)
    ae._servers.append(server)
    threading.Thread(target=server.serve_forever, name="vidi-dimse", daemon=True).start()
    return server


def stop(ae: ApplicationEntity, server: BoundedServer) -> None:
    """Stop listening and end all associations."""
    server.shutdown()
    for association in server.active_associations:
        association.abort(block=False)  # else it waits for the peer to close
