"""A C-STORE SCU that costs next to nothing, so that the receiver is what is measured.

pynetdicom makes and reads the association's PDUs; films were cut into PDUs beforehand, so that sending one is a single
call, and the answer is read from the socket itself.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from pydicom.uid import UID, ExplicitVRLittleEndian
from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification
from pynetdicom.presentation import build_context

from vidi.errors import Unavailable
from vidi_gateway.bench.films import CONTEXT_ID, Film

_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_RELEASE_REQUEST = b"\x05\0\0\0\0\x04\0\0\0\0"
_STATUS = b"\0\0\0\x09\x02\0\0\0"  # (0000,0900), implicit VR little endian, two bytes

# A receiver that answers in two segments with Nagle's algorithm on waits for the acknowledgement of the first, which
# Linux holds back for up to 40 ms. Orthanc does; that is an accident of its sockets, and not what is measured.
_QUICK_ACK: int = getattr(socket, "TCP_QUICKACK", 0)


@dataclass(frozen=True)
class Sent:
    """What one run of sending took.

    Attributes
    ----------
    seconds
        From the first film's first byte to the last film's answer; the associations were open before.
    association_seconds
        Opening one association, on average.
    cpu_seconds
        Processor time of the sender meanwhile.
    statuses
        How many films got which C-STORE status.
    """

    seconds: float
    association_seconds: float
    cpu_seconds: float
    statuses: dict[int, int]


class Association:
    """An association for one SOP class in explicit VR little endian, open within the context.

    Raises
    ------
    Unavailable
        On entering, when the peer does not take it.
    """

    def __init__(self, port: int, called_ae: str, sop_class_uid: str, timeout: float = 120.0) -> None:
        self._request = _request(called_ae, sop_class_uid)
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.max_pdu_bytes = 0

    def __enter__(self) -> Self:
        self._socket.sendall(self._request)
        kind, body = self._read()
        if kind != 2:
            raise Unavailable(f"the association was not accepted (PDU type {kind})")
        accepted = A_ASSOCIATE_AC()
        accepted.decode(bytes((kind, 0)) + len(body).to_bytes(4, "big") + body)
        primitive = accepted.to_primitive()
        if [context.result for context in primitive.presentation_context_definition_results_list] != [0]:
            raise Unavailable("the presentation context was not accepted")
        self.max_pdu_bytes = primitive.maximum_length_received or 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._socket.sendall(_RELEASE_REQUEST)
            self._read()
        self._socket.close()

    def store(self, pdus: bytes) -> int:
        """Send a film and return its status."""
        self._socket.sendall(pdus)
        message = b""
        while True:
            kind, body = self._read()
            if kind != 4:
                raise Unavailable(f"the association ended (PDU type {kind})")
            message += body[6:]
            if body[5] & 2:
                at = message.index(_STATUS) + len(_STATUS)
                return int.from_bytes(message[at : at + 2], "little")

    def _read(self) -> tuple[int, bytes]:
        head = self._exactly(6)
        return head[0], self._exactly(int.from_bytes(head[2:], "big"))

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            if _QUICK_ACK:  # not for good: Linux goes back by itself
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
            part = self._socket.recv(count - len(data))
            if not part:
                raise Unavailable("the peer closed the connection")
            data += part
        return data


def send(films: Sequence[Film], port: int, called_ae: str, associations: int) -> Sent:
    """Send films over some associations at a time, each its share, one after the other.

    Raises
    ------
    Unavailable
        When the peer does not take the associations, or closes one.
    """
    errors: list[BaseException] = []
    statuses: dict[int, int] = {}
    opening: list[float] = []
    lock, begin = threading.Lock(), threading.Barrier(associations + 1)

    def work(share: Sequence[Film]) -> None:
        try:
            started = time.perf_counter()
            with Association(port, called_ae, share[0].sop_class_uid) as association:
                opening.append(time.perf_counter() - started)
                messages = [film.pdus(association.max_pdu_bytes) for film in share]
                begin.wait(120)
                for message in messages:
                    status = association.store(message)
                    with lock:
                        statuses[status] = statuses.get(status, 0) + 1
                done.append(time.perf_counter())
        except BaseException as e:  # noqa: BLE001 - raised again where the threads are joined
            errors.append(e)
            begin.abort()

    done: list[float] = []
    threads = [threading.Thread(target=work, args=(films[i::associations],)) for i in range(associations)]
    for thread in threads:
        thread.start()
    cpu, started = time.process_time(), 0.0
    try:
        begin.wait(120)
        cpu, started = time.process_time(), time.perf_counter()
    except threading.BrokenBarrierError:
        pass
    for thread in threads:
        thread.join()
    if errors:
        raise next((e for e in errors if not isinstance(e, threading.BrokenBarrierError)), errors[0])
    cpu = time.process_time() - cpu
    return Sent(max(done) - started, sum(opening) / associations, cpu, statuses)


def _request(called_ae: str, sop_class_uid: str) -> bytes:
    context = build_context(sop_class_uid, ExplicitVRLittleEndian)
    context.context_id = CONTEXT_ID
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = 16382
    implementation.implementation_class_uid = UID(PYNETDICOM_IMPLEMENTATION_UID)
    primitive: Any = A_ASSOCIATE()
    primitive.application_context_name = UID(_APPLICATION_CONTEXT)
    primitive.calling_ae_title, primitive.called_ae_title = "BENCH", called_ae
    primitive.presentation_context_definition_list = [context]
    primitive.user_information = [length, implementation]
    return bytes(A_ASSOCIATE_RQ(primitive).encode())
