"""Bounds on what a peer may make us hold in memory, which pynetdicom leaves open.

pynetdicom reads as many bytes as a PDU header declares (up to 4 GiB, before any association), and collects a message of
any length.
"""

from __future__ import annotations

import contextlib
import copy
import math
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from vidi_gateway.dimse.film_stream import Stage
from vidi_gateway.dimse.reactor import make_prompt
from vidi_gateway.tls import Current, failure

#: TLS handshakes at a time; a connection beyond that is closed.
MAX_HANDSHAKES = 128
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
    _ahead: memoryview = memoryview(b"")  # taking from its beginning copies nothing

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
        self.admit(nr_bytes)
        ahead, self._ahead = self._ahead[:nr_bytes], self._ahead[nr_bytes:]
        buffer = bytearray(nr_bytes)
        with memoryview(buffer) as view:
            view[: len(ahead)] = ahead
            filled = len(ahead) + self._receive(view[len(ahead) :])
        return buffer if filled == nr_bytes else buffer[:filled]

    def unread(self, data: bytes) -> None:
        """Give back what was read by `receive_some`: it is read again."""
        self._ahead = memoryview(data + bytes(self._ahead))

    def admit(self, nr_bytes: int) -> None:
        """Check that so many more bytes are within the bounds, and count them.

        Raises
        ------
        OSError
            When they are not.
        """
        if nr_bytes > self.max_pdu_bytes:
            raise OSError("a PDU is larger than the limit")
        self._held += nr_bytes
        if self._held > self.max_message_bytes:
            raise OSError("a message is larger than the limit")

    def receive_some(self, view: memoryview) -> int:
        """Read what there is, at most as much as fits, and wait where there is nothing; 0: the connection closed.

        What is read so is admitted by whoever finds out what it is.

        Raises
        ------
        OSError
            When the connection is broken, or silent for too long.
        """
        if len(self._ahead):
            count = min(len(view), len(self._ahead))
            view[:count], self._ahead = self._ahead[:count], self._ahead[count:]
            return count
        connection: Any = self.socket
        return int(connection.recv_into(view))

    @property
    def silence(self) -> float:
        """Seconds that a PDU may take."""
        connection: Any = self.socket
        seconds = connection.gettimeout() if connection is not None else None
        return math.inf if seconds is None else float(seconds)

    @property
    def ready(self) -> bool:
        """See `AssociationSocket.ready`."""
        return len(self._ahead) > 0 or bool(super().ready)

    def _receive(self, view: memoryview) -> int:
        connection: Any = self.socket
        end = time.monotonic() + self.silence
        filled = 0
        while filled < len(view):
            count = connection.recv_into(view[filled:])
            if not count:
                break
            filled += count
            # The socket's own timeout starts anew with every byte that is dripped.
            if filled < len(view) and time.monotonic() > end:
                raise TimeoutError("a PDU takes longer than the limit")
        return filled


@dataclass(frozen=True)
class Secured:
    """How a server speaks TLS.

    Attributes
    ----------
    current
        The context of each new connection.
    seconds
        Longest handshake.
    on_refused
        Told the host and a code (see `vidi_gateway.tls.failure`) when a handshake fails.
    """

    current: Current
    seconds: float
    on_refused: Callable[[str, str], object]


class BoundedServer(ThreadedAssociationServer):
    """An association server whose connections are bounded.

    Parameters
    ----------
    max_pdu_bytes
        Largest P-DATA PDU that we announce and take.
    max_message_bytes
        Largest object, with its command set.
    silence
        Seconds without a byte, inside a PDU, after which a connection is closed; None: for ever.
    secured
        TLS; None: none.
    stage
        Begins the file of a film that is coming; see `FilmStream`.
    """

    daemon_threads = True
    # The default of 5 loses connections when many modalities connect at once.
    request_queue_size = 64

    def __init__(
        self,
        *args: Any,
        max_pdu_bytes: int,
        max_message_bytes: int,
        silence: float | None = None,
        secured: Secured | None = None,
        stage: Stage = lambda: None,
        **kwargs: Any,
    ) -> None:
        self.max_pdu_bytes = max_pdu_bytes
        self.max_message_bytes = max_message_bytes
        self.silence = silence
        self.stage = stage
        self.secured = secured
        self.handshakes = threading.BoundedSemaphore(MAX_HANDSHAKES)
        super().__init__(*args, **kwargs | {"request_handler": _BoundedHandler})
        self.contexts = Contexts(self.contexts)
        self.bind(evt.EVT_DIMSE_RECV, _message_complete)
        self.bind(evt.EVT_CONN_CLOSE, _closed)

    def service_actions(self) -> None:
        """Leave the garbage to the interpreter: pynetdicom's full collections stop all associations for their time."""


class Contexts(list[Any]):
    """Presentation contexts that are quick to copy: pynetdicom copies all of them deeply for each association."""

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        copies = []
        for context in self:
            twin = copy.copy(context)
            twin._transfer_syntax = list(context._transfer_syntax)
            copies.append(twin)
        return copies


class _BoundedHandler(RequestHandler):
    server: BoundedServer

    def handle(self) -> None:
        """Speak TLS first, where that is asked for. This is the connection's own thread: nobody else waits for it."""
        connection: Any = self.request
        if self.server.secured:
            secured = self._secured(self.server.secured)
            if secured is None:
                with contextlib.suppress(OSError):
                    connection.close()
                return
            connection = self.request = secured
        connection.settimeout(self.server.silence)
        super().handle()

    def _secured(self, how: Secured) -> Any:
        """Return the connection with TLS, None when there is no agreement."""
        host = str(self.client_address[0])
        if not self.server.handshakes.acquire(blocking=False):
            how.on_refused(host, "TLS_CONGESTED")
            return None
        try:
            connection: Any = self.request
            connection.settimeout(how.seconds)
            wrapped = how.current.context().wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            try:
                # Its own deadline: a timeout of the socket alone starts anew with every byte that is dripped.
                watchdog = threading.Timer(how.seconds, _shut, (wrapped,))
                watchdog.daemon = True
                watchdog.start()
                try:
                    wrapped.do_handshake()
                finally:
                    watchdog.cancel()
            except (OSError, ValueError):
                wrapped.close()
                raise
            return wrapped
        except (OSError, ValueError) as e:
            how.on_refused(host, failure(e))
            return None
        finally:
            self.server.handshakes.release()

    def _create_association(self) -> Any:
        association = super()._create_association()
        association.dul.daemon = True  # else a silent peer keeps the process from ending
        connection: Any = association.dul.socket
        # An association takes one socket only, and making a second one would start its state machine twice.
        connection.__class__ = BoundedSocket
        connection.max_pdu_bytes = max(CONTROL_PDU_BYTES, self.server.max_pdu_bytes + 6)
        connection.max_message_bytes = self.server.max_message_bytes + CONTROL_PDU_BYTES
        make_prompt(association, self.server.stage)
        return association


def _shut(connection: Any) -> None:
    with contextlib.suppress(OSError, ValueError):
        connection.shutdown(socket.SHUT_RDWR)


def _message_complete(event: evt.Event) -> None:
    connection = event.assoc.dul.socket
    if isinstance(connection, BoundedSocket):
        connection.message_complete()


def _closed(event: evt.Event) -> None:
    """Let go of an association that was never asked for: it would hold its place until its time is over."""
    association: Any = event.assoc
    if association.requestor.primitive is None:
        association.dul.to_user_queue.put(None)


def listen(
    ae: ApplicationEntity,
    address: tuple[str, int],
    handlers: list[Any],
    *,
    max_pdu_bytes: int,
    max_message_bytes: int,
    silence: float | None = None,
    secured: Secured | None = None,
    stage: Stage = lambda: None,
) -> BoundedServer:
    """Start a bounded server in a thread of its own; see `BoundedServer` for what bounds it. Stop it with `stop`.

    Raises
    ------
    OSError
        When the address is taken.
    """
    bounds: dict[str, Any] = {"max_pdu_bytes": max_pdu_bytes, "max_message_bytes": max_message_bytes}
    bounds |= {"silence": silence, "secured": secured, "stage": stage}
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
