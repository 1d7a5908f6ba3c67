"""PDUs written by hand (PS3.8 section 9.3), right ones and wrong ones."""

from __future__ import annotations

import contextlib
import socket
import struct

APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
CR = b"1.2.840.10008.5.1.4.1.1.1"
VERIFICATION = b"1.2.840.10008.1.1"
EXPLICIT, IMPLICIT = b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2"

RELEASE_RQ = b"\x05\0\0\0\0\x04\0\0\0\0"
ABORT = b"\x07\0\0\0\0\x04\0\0\0\0"


def item(kind: int, body: bytes, length: int | None = None) -> bytes:
    """An item or sub-item: type, reserved, length of two bytes, body."""
    return struct.pack(">BBH", kind, 0, (len(body) if length is None else length) & 0xFFFF) + body


def pdu(kind: int, body: bytes, length: int | None = None) -> bytes:
    """A PDU: type, reserved, length of four bytes, body."""
    return struct.pack(">BBI", kind, 0, len(body) if length is None else length) + body


def context(number: int, abstract: bytes = VERIFICATION, *syntaxes: bytes) -> bytes:
    """A presentation context as it is proposed."""
    transfer = b"".join(item(0x40, s) for s in syntaxes or (IMPLICIT,))
    return item(0x20, bytes([number, 0, 0, 0]) + item(0x30, abstract) + transfer)


def user_information(max_pdu: int = 16384, extra: bytes = b"") -> bytes:
    """User information: maximum length and implementation."""
    return item(0x50, item(0x51, struct.pack(">I", max_pdu)) + item(0x52, b"1.2.3.4") + extra)


def associate(
    *contexts: bytes, called: bytes = b"VIDI", calling: bytes = b"ATTACKER", user: bytes | None = None
) -> bytes:
    """A-ASSOCIATE-RQ."""
    head = struct.pack(">HH16s16s32s", 1, 0, called.ljust(16), calling.ljust(16), b"")
    items = item(0x10, APPLICATION_CONTEXT) + b"".join(contexts or (context(1), context(3, CR, EXPLICIT)))
    return pdu(0x01, head + items + (user_information() if user is None else user))


def pdv(number: int, control: int, fragment: bytes, length: int | None = None) -> bytes:
    """A presentation data value: control bit 1 is command, 2 is last."""
    size = len(fragment) + 2 if length is None else length
    return struct.pack(">IBB", size & 0xFFFFFFFF, number, control) + fragment


def data(*pdvs: bytes) -> bytes:
    """P-DATA-TF."""
    return pdu(0x04, b"".join(pdvs))


def command(**elements: bytes) -> bytes:
    """A command set, implicit VR little endian; elements by name, their values as bytes."""
    numbers = {
        "sop_class": 0x0002,
        "field": 0x0100,
        "id": 0x0110,
        "priority": 0x0700,
        "data_set": 0x0800,
        "uid": 0x1000,
    }
    body = b""
    for name in sorted(elements, key=lambda n: numbers[n]):
        value = elements[name] + b"\0" * (len(elements[name]) % 2)
        body += struct.pack("<HHI", 0, numbers[name], len(value)) + value
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def echo_command() -> bytes:
    """C-ECHO-RQ."""
    return command(sop_class=VERIFICATION, field=b"\x30\0", id=b"\1\0", data_set=b"\1\1")


def store_command(uid: bytes, sop_class: bytes = CR) -> bytes:
    """C-STORE-RQ."""
    return command(sop_class=sop_class, field=b"\1\0", id=b"\1\0", priority=b"\0\0", data_set=b"\0\0", uid=uid)


class Wire:
    """A connection by which anything can be sent."""

    def __init__(self, port: int, timeout: float = 30.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> bool:
        """Send; False when the other side has closed."""
        try:
            for part in parts:
                self.socket.sendall(part)
        except OSError:
            return False
        return True

    def receive(self) -> tuple[int, bytes]:
        """One PDU: type and body; type 0 when the connection is closed."""
        head = self._exactly(6)
        if len(head) < 6:
            return 0, b""
        kind, _, length = struct.unpack(">BBI", head)
        assert length < 1 << 20
        return kind, self._exactly(length)

    def associated(self, *contexts: bytes) -> None:
        """Open an association."""
        assert self.send(associate(*contexts))
        kind, _ = self.receive()
        assert kind == 0x02, f"A-ASSOCIATE-AC expected, not {kind}"

    def ends(self, within: float = 30.0) -> bool:
        """Whether the other side closes the connection, whatever it says before."""
        self.socket.settimeout(within)
        try:
            while self.socket.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True

    def half_close(self) -> None:
        """Send no more, but listen."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def _exactly(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            try:
                part = self.socket.recv(count - len(received))
            except ConnectionError:
                part = b""
            if not part:
                break
            received += part
        return received
