"""pynetdicom's reactors for an association that we accept, waiting for events instead of looking for them.

pynetdicom's two threads a connection sleep a millisecond between two looks, and take every PDU of a film apart in
Python. Here the upper layer's thread waits for the socket or for something to send, and the data of a film goes from
the socket into its buffer. Negotiation, state machine, handlers and everything unusual stay pynetdicom's: what is not
a plain fragment of a film is given to it untouched.
"""

from __future__ import annotations

import contextlib
import queue
import select
import socket
import struct
import threading
import time
from typing import Any

from pydicom.uid import UID
from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import P_DATA

from vidi_gateway.dimse.film_stream import COMMAND, LAST, Buffers, FilmStream, Fragments, Stage

#: How often timers are looked at, in seconds. They are set in seconds.
_TICK = 0.25
_IDLE = "Sta1"
_DATA_TRANSFER = "Sta6"
_AWAITS_CLOSE = "Sta13"
#: Tag, value representation and length (PS3.5 table 7.1-2); OB has its length elsewhere.
_META = struct.Struct("<HH2sH")
#: The same of a command set: implicit VR (PS3.5 table 7.1-3).
_COMMAND = struct.Struct("<HHL")


_buffers = Buffers()


class _Announced(queue.Queue[Any]):
    """A queue that tells when something is put into it, unless it is told not to."""

    def __init__(self, news: threading.Event) -> None:
        super().__init__()
        self._news = news
        self.quiet = False

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        if not self.quiet:
            self._news.set()


class _Checkpoint(threading.Event):
    """Where the association's reactor passes in each round: it waits here until there is something to do."""

    def __init__(self, news: threading.Event, *queues: queue.Queue[Any]) -> None:
        super().__init__()
        self._news = news
        self._queues = queues
        self.set()

    def set(self) -> None:
        super().set()
        self._news.set()

    def wait(self, timeout: float | None = None) -> bool:
        passed = super().wait(timeout)
        self._news.clear()
        if all(q.empty() for q in self._queues):
            self._news.wait(_TICK)
        return passed


class PromptUpperLayer(DULServiceProvider):
    """The upper layer of an accepted association. Made by `make_prompt`, never by itself."""

    _news: threading.Event
    _fragments: Fragments | None
    _stage: Stage
    _woken: socket.socket
    _waker: socket.socket

    def run(self) -> None:
        """The thread: pynetdicom's loop, which waits in `_is_transport_event`."""
        try:
            super().run()
        finally:
            self._woken.close()
            self._waker.close()
            self._news.set()
            unfinished: Any = self.assoc.dimse.message
            if unfinished is not None and isinstance(unfinished.data_set, FilmStream):
                unfinished.data_set.release()

    def send_pdu(self, primitive: Any) -> None:
        """See `DULServiceProvider.send_pdu`."""
        super().send_pdu(primitive)
        self._ring()

    def kill_dul(self) -> None:
        """See `DULServiceProvider.kill_dul`."""
        super().kill_dul()
        self._ring()

    def stop_dul(self) -> bool:
        """See `DULServiceProvider.stop_dul`."""
        if self.state_machine.current_state != _IDLE:
            return False
        self.kill_dul()
        if self.is_alive() and threading.current_thread() is not self:
            self.join()
        return True

    def _ring(self) -> None:
        # A full socket has woken it already; a closed one belongs to a thread that has ended.
        with contextlib.suppress(OSError):
            self._waker.send(b"\0")

    def _is_transport_event(self) -> bool:
        """Wait until there is something to read or to send, or a timer may have expired."""
        if self.assoc._kill and self.state_machine.current_state == _IDLE:
            self._kill_thread = True  # see `PromptAssociation.kill`
        if self.state_machine.current_state != _AWAITS_CLOSE and self.event_queue.empty():
            self._wait()
        return super()._is_transport_event()

    def _wait(self) -> None:
        if self.socket and self.socket.ready:  # it knows what was read already, and decrypted already
            return
        connection: Any = self.socket.socket if self.socket else None
        waiting = select.poll()
        waiting.register(self._woken, select.POLLIN)
        if connection is not None:
            with contextlib.suppress(ValueError, OSError):  # closed meanwhile: the next round finds out
                waiting.register(connection, select.POLLIN)
        for descriptor, _ in waiting.poll(1e3 * _TICK):
            if descriptor == self._woken.fileno():
                self._woken.recv(4096)

    def _read_pdu_data(self) -> None:
        """Read a film's data into its buffer until the film is complete, anything else as pynetdicom does."""
        stream = self._film() if self.state_machine.current_state == _DATA_TRANSFER else None
        if stream is None:
            super()._read_pdu_data()
            return
        connection: Any = self.socket
        if self._fragments is None:
            self._fragments = Fragments(stream, connection.admit)
        fragments = self._fragments
        pdus, deadline = -1, 0.0
        try:
            while not fragments.ended:
                if fragments.pdus != pdus:
                    pdus, deadline = fragments.pdus, time.monotonic() + connection.silence
                elif time.monotonic() > deadline:  # the socket's own timeout starts anew with each byte that is dripped
                    raise TimeoutError("a PDU takes longer than the limit")
                count = connection.receive_some(fragments.room())
                if not count:
                    raise OSError("closed inside a message")
                fragments.advance(count)
                self._idle_timer.restart()
                if self._kill_thread or not self.to_provider_queue.empty():
                    break
        except OSError:  # also beyond the bounds
            self.event_queue.put("Evt17")  # transport connection closed
            return
        if not fragments.ended:
            return
        self._fragments = None
        connection.unread(fragments.rest())
        if fragments.complete:
            self._serve(stream.context_id)
        else:
            super()._read_pdu_data()  # something else than a plain fragment

    def _serve(self, context_id: int) -> None:
        """Complete the message, and serve it here: another thread would have to be woken, and wake this one."""
        end: Any = P_DATA()
        end.presentation_data_value_list = [[context_id, bytes((LAST,))]]
        messages: Any = self.assoc.dimse.msg_queue
        messages.quiet = True
        try:
            self.assoc.dimse.receive_primitive(end)
        finally:
            messages.quiet = False
        with contextlib.suppress(queue.Empty):  # the association's thread has just looked, and serves it
            number, request = messages.get_nowait()
            self.assoc._serve_request(request, number)
            self._idle_timer.restart()

    def _film(self) -> FilmStream | None:
        """The data set that is being received, if it is a C-STORE's that we can collect."""
        message: Any = self.assoc.dimse.message
        if not isinstance(message, C_STORE_RQ):
            return None
        if isinstance(message.data_set, FilmStream):
            return message.data_set
        if message.data_set is None or message.data_set.tell():
            return None
        try:
            head = _head(self.assoc, message)
        except (AttributeError, KeyError):  # no such context, or no UIDs at all: pynetdicom says what is wrong
            return None
        if head is None:
            return None
        message.data_set = FilmStream(head, message.context_id or 0, _buffers, self._stage)
        return message.data_set


class PromptAssociation(Association):
    """An accepted association. Made by `make_prompt`, never by itself."""

    _serving: threading.Lock

    def kill(self) -> None:
        """See `Association.kill`; the upper layer cannot wait for itself, and ends when it has told the peer."""
        if threading.current_thread() is not self.dul:
            super().kill()
            return
        self._kill = True
        self.is_established = False
        self._reactor_checkpoint.set()

    def _serve_request(self, msg: Any, context_id: int) -> None:
        with self._serving:  # one at a time, whichever thread it is
            super()._serve_request(msg, context_id)


class PromptMessages(DIMSEServiceProvider):
    """The message service of an accepted association. Made by `make_prompt`, never by itself."""

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """See `DIMSEServiceProvider.send_msg`; plain C-STORE responses are encoded here, at a tenth of the cost.

        EVT_DIMSE_SENT is not triggered for these.
        """
        answer = store_response(primitive) if isinstance(primitive, C_STORE) else None
        if answer is None:
            super().send_msg(primitive, context_id)
            return
        message: Any = P_DATA()
        message.presentation_data_value_list = [[context_id, bytes((COMMAND | LAST,)) + answer]]
        self.dul.send_pdu(message)


def store_response(primitive: C_STORE) -> bytes | None:
    """Return the command set of a C-STORE-RSP (PS3.7 table 9.3-2); None for what pynetdicom has to encode.

    Parameters
    ----------
    primitive
        A request's, or a response's.
    """
    number, status = primitive.MessageIDBeingRespondedTo, primitive.Status
    uids = primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID
    if number is None or status is None or not all(uids) or primitive.ErrorComment or primitive.OffendingElement:
        return None
    sop_class, sop_instance = (str(uid).encode("ascii") for uid in uids)
    elements = (
        (0x0002, sop_class + b"\0" * (len(sop_class) % 2)),
        (0x0100, b"\x01\x80"),  # C-STORE-RSP
        (0x0120, number.to_bytes(2, "little")),
        (0x0800, b"\x01\x01"),  # no data set
        (0x0900, status.to_bytes(2, "little")),
        (0x1000, sop_instance + b"\0" * (len(sop_instance) % 2)),
    )
    rest = b"".join(_COMMAND.pack(0, element, len(value)) + value for element, value in elements)
    return _COMMAND.pack(0, 0, 4) + len(rest).to_bytes(4, "little") + rest


def _head(association: Any, message: Any) -> bytes | None:
    """Preamble and file meta information (PS3.10 section 7.1), the same as `Event.encoded_dataset` puts there.

    None when a UID is not one: pynetdicom then refuses the message.
    """
    command = message.command_set
    uids = {
        0x02: command.AffectedSOPClassUID,
        0x03: command.AffectedSOPInstanceUID,
        0x10: association._accepted_cx[message.context_id].transfer_syntax[0],
        0x12: PYNETDICOM_IMPLEMENTATION_UID,
    }
    if not all(isinstance(uid, UID) and uid.is_valid for uid in uids.values()):
        return None
    elements = [_META.pack(2, 0x01, b"OB", 0) + b"\2\0\0\0\0\1"]
    elements += [_short(number, b"UI", uid.encode(), b"\0") for number, uid in uids.items()]
    elements.append(_short(0x13, b"SH", PYNETDICOM_IMPLEMENTATION_VERSION.encode(), b" "))
    rest = b"".join(elements)
    return b"\0" * 128 + b"DICM" + _META.pack(2, 0, b"UL", 4) + len(rest).to_bytes(4, "little") + rest


def _short(number: int, vr: bytes, value: bytes, padding: bytes) -> bytes:
    value += padding * (len(value) % 2)
    return _META.pack(2, number, vr, len(value)) + value


def make_prompt(association: Any, stage: Stage) -> None:
    """Give an association that was accepted, and has not started, these reactors.

    Parameters
    ----------
    association
        It.
    stage
        See `FilmStream`.
    """
    news = threading.Event()
    association.__class__ = PromptAssociation
    association._serving = threading.Lock()
    upper = association.dul
    upper.__class__ = PromptUpperLayer
    upper._woken, upper._waker = socket.socketpair()
    upper._woken.setblocking(False)
    upper._waker.setblocking(False)
    upper._news, upper._fragments, upper._stage = news, None, stage
    upper._run_loop_delay = 0.0  # it waits elsewhere
    upper.to_user_queue = _Announced(news)
    association.dimse.__class__ = PromptMessages
    association.dimse.msg_queue = _Announced(news)
    association._reactor_checkpoint = _Checkpoint(news, upper.to_user_queue, association.dimse.msg_queue)
