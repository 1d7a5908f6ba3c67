"""Malformed PDUs and worse on the DICOM port: the connection ends, and nothing else does."""

from __future__ import annotations

import contextlib
import random
import struct
import subprocess
import time
from typing import Any

import pytest

from tests.integration.hostile import pdus
from tests.integration.hostile.pdus import Wire

UID = b"1.2.826.0.1.3680043.8.498.1"

HELLOS: dict[str, bytes] = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: vidi\r\n\r\n",
    "HTTP POST": b"POST /x HTTP/1.1\r\nContent-Length: 4294967295\r\n\r\n" + b"x" * 5000,
    "TLS hello": bytes.fromhex("16030100f1010000ed0303") + bytes(240),
    "MLLP": b"\x0bMSH|^~\\&|A|B\r\x1c\r",
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "SMB": b"\0\0\0\x85\xffSMBr" + bytes(128),
    "zeros": bytes(4096),
    "ones": b"\xff" * 4096,
    "PDU type 0": pdus.pdu(0x00, b"x" * 10),
    "PDU type 8": pdus.pdu(0x08, b"x" * 10),
    "PDU of 4 GiB": pdus.pdu(0x01, b"x" * 100, length=0xFFFFFFFF),
    "PDU of 2 GiB": pdus.pdu(0x01, b"x" * 100, length=0x7FFFFFFF),
    "P-DATA of 4 GiB": pdus.pdu(0x04, b"x" * 100, length=0xFFFFFFFF),
    "A-ASSOCIATE-RQ of length 0": pdus.pdu(0x01, b""),
    "A-ASSOCIATE-RQ of one byte": pdus.pdu(0x01, b"\0"),
    "A-ASSOCIATE-RQ without items": pdus.pdu(0x01, struct.pack(">HH16s16s32s", 1, 0, b"VIDI", b"X", b"")),
    "protocol version 0": pdus.associate().replace(b"\0\1\0\0VIDI", b"\0\0\0\0VIDI", 1),
    "no presentation context": pdus.pdu(
        0x01, pdus.associate()[6:80] + pdus.item(0x10, pdus.APPLICATION_CONTEXT) + pdus.user_information()
    ),
    "no user information": pdus.associate(user=b""),
    "item length lies": pdus.associate(pdus.item(0x20, b"\1\0\0\0", length=0xFFFF)),
    "sub-item length lies": pdus.associate(pdus.item(0x20, b"\1\0\0\0" + pdus.item(0x30, b"1.2", length=0xFFFF))),
    "user information lies": pdus.associate(user=pdus.item(0x50, pdus.item(0x51, b"\0\0\1\0", length=60000))),
    "nested items": pdus.associate(pdus.item(0x20, b"\1\0\0\0" + pdus.item(0x20, b"\1\0\0\0") * 500)),
    "context id 0": pdus.associate(pdus.context(0)),
    "context id even": pdus.associate(pdus.context(2)),
    "the same context twice": pdus.associate(pdus.context(1), pdus.context(1)),
    "200 contexts": pdus.associate(*(pdus.context(n % 256, pdus.CR, pdus.EXPLICIT) for n in range(1, 401, 2))),
    "UID of 60 KB": pdus.associate(pdus.context(1, b"1." * 30000)),
    "UID binary": pdus.associate(pdus.context(1, b"\xff\0\xfe../..")),
    "user identity": pdus.associate(user=pdus.user_information(extra=pdus.item(0x58, b"\2\1\xff\xffab"))),
    "extended negotiation": pdus.associate(user=pdus.user_information(extra=pdus.item(0x56, b"\xff\xff1.2") * 50)),
    "P-DATA first": pdus.data(pdus.pdv(1, 3, pdus.echo_command())),
    "release first": pdus.RELEASE_RQ,
    "A-ASSOCIATE-AC first": pdus.pdu(0x02, pdus.associate()[6:]),
    "A-ASSOCIATE-RJ first": pdus.pdu(0x03, b"\0\1\1\1"),
    "abort first": pdus.ABORT,
    "half a header": b"\1\0\0",
    "half an A-ASSOCIATE-RQ": pdus.associate()[:60],
}


@pytest.mark.parametrize("name", HELLOS)
def test_before_an_association(target: Any, name: str) -> None:
    with Wire(target.port) as wire:
        wire.send(HELLOS[name])
        wire.half_close()
        assert wire.ends()
    with Wire(target.port) as wire:  # the same without a word afterwards: silence ends it
        wire.associated()
        wire.send(pdus.RELEASE_RQ)
        assert wire.receive()[0] == 0x06


def test_who_has_gone_holds_no_place(attack: Any) -> None:
    """More than there are places: a port scan must not keep modalities out until its time is over."""
    for hello in (*HELLOS.values(), *[b""] * 100):
        with Wire(attack.port) as wire:
            wire.send(hello)
    time.sleep(1.0)


INSIDE: dict[str, bytes] = {
    "garbage": b"\xde\xad\xbe\xef" * 500,
    "P-DATA of length 0": pdus.pdu(0x04, b""),
    "P-DATA of 4 GiB": pdus.pdu(0x04, b"x" * 1000, length=0xFFFFFFFF),
    "P-DATA above the limit": pdus.pdu(0x04, bytes(1 << 20)),
    "PDV longer than its PDU": pdus.data(pdus.pdv(1, 3, b"x" * 50, length=100_000)),
    "PDV of 4 GiB": pdus.data(pdus.pdv(1, 3, b"x" * 50, length=0xFFFFFFFF)),
    "PDV of length 0": pdus.data(struct.pack(">I", 0) * 100),
    "PDV of length 1": pdus.data(struct.pack(">IB", 1, 1)),
    "unknown context": pdus.data(pdus.pdv(99, 3, pdus.echo_command())),
    "data before a command": pdus.data(pdus.pdv(1, 2, b"x" * 100)),
    "control header": pdus.data(pdus.pdv(1, 0xFF, pdus.echo_command())),
    "empty command": pdus.data(pdus.pdv(1, 3, b"")),
    "command cut short": pdus.data(pdus.pdv(1, 3, pdus.echo_command()[:30])),
    "command of garbage": pdus.data(pdus.pdv(1, 3, b"\xff" * 200)),
    "command element of 4 GiB": pdus.data(pdus.pdv(1, 3, b"\0\0\0\0\xff\xff\xff\xff" + b"x" * 50)),
    "command of unknown kind": pdus.data(
        pdus.pdv(1, 3, pdus.command(sop_class=pdus.CR, field=b"\xee\x0e", id=b"\1\0"))
    ),
    "a response": pdus.data(pdus.pdv(1, 3, pdus.command(field=b"\x30\x80", id=b"\1\0", data_set=b"\1\1"))),
    "C-STORE without a UID": pdus.data(
        pdus.pdv(3, 3, pdus.command(sop_class=pdus.CR, field=b"\1\0", id=b"\1\0", data_set=b"\0\0"))
    ),
    "a second A-ASSOCIATE-RQ": pdus.associate(),
    "A-ASSOCIATE-AC": pdus.pdu(0x02, pdus.associate()[6:]),
    "A-RELEASE-RP": b"\x06\0\0\0\0\x04\0\0\0\0",
    "release, then data": pdus.RELEASE_RQ + pdus.data(pdus.pdv(1, 3, pdus.echo_command())),
    "release in a message": pdus.data(pdus.pdv(3, 3, pdus.store_command(UID))) + pdus.RELEASE_RQ,
    "abort in a message": pdus.data(pdus.pdv(3, 3, pdus.store_command(UID)), pdus.pdv(3, 0, b"x" * 500)) + pdus.ABORT,
    "commands without end": pdus.data(pdus.pdv(1, 1, b"x" * 10_000)) * 200,
    "fragments of nothing": pdus.data(*[pdus.pdv(3, 0, b"")] * 2000),
}


@pytest.mark.parametrize("name", INSIDE)
def test_inside_an_association(target: Any, name: str) -> None:
    films = target.films()
    with Wire(target.port) as wire:
        wire.associated()
        wire.send(INSIDE[name])
        wire.half_close()
        assert wire.ends()
    assert target.films() == films, "nothing came of it"


@pytest.mark.parametrize("last", [0, 2])
def test_a_message_larger_than_the_limit_is_cut_off(attack: Any, last: int) -> None:
    with Wire(attack.port) as wire:
        wire.associated()
        assert wire.send(pdus.data(pdus.pdv(3, 3, pdus.store_command(UID))))
        fragment = pdus.data(pdus.pdv(3, last, bytes(100_000)))
        sent = 0
        while sent < 200 << 20 and wire.send(fragment):
            sent += len(fragment)
            if last:
                break
        assert last or sent < 64 << 20
        wire.half_close()
        assert wire.ends()


def test_a_data_set_that_is_none_gets_a_status(attack: Any) -> None:
    noted = attack.audit_count
    with Wire(attack.port) as wire:
        wire.associated()
        assert wire.send(pdus.data(pdus.pdv(3, 3, pdus.store_command(UID))), pdus.data(pdus.pdv(3, 2, b"\xff" * 500)))
        kind, body = wire.receive()
        assert kind == 0x04
        status = struct.unpack("<H", body[body.index(b"\0\0\0\x09\x02\0\0\0") + 8 :][:2])[0]
        assert status & 0xF000 == 0xC000 or status == 0xA900
        assert wire.send(pdus.RELEASE_RQ)
        assert wire.receive()[0] == 0x06
    assert attack.audit_count > noted


def test_silence_and_drips_end_within_their_time(attack: Any) -> None:
    """Timeouts are 2 and 3 s here; generous for a machine that is slow."""
    start = time.monotonic()
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(Wire(attack.port)) for _ in range(5)]
        half = [stack.enter_context(Wire(attack.port)) for _ in range(5)]
        for wire in half:
            wire.send(pdus.associate()[:40])
        idle = [stack.enter_context(Wire(attack.port)) for _ in range(5)]
        for wire in idle:
            wire.associated()
        begun = [stack.enter_context(Wire(attack.port)) for _ in range(5)]
        for wire in begun:
            wire.associated()
            wire.send(pdus.data(pdus.pdv(3, 3, pdus.store_command(UID)), pdus.pdv(3, 0, b"x" * 100)))
        inside = [stack.enter_context(Wire(attack.port)) for _ in range(5)]
        for wire in inside:
            wire.associated()
            wire.send(pdus.pdu(0x04, b"x" * 10, length=50_000))
        for wire in (*silent, *half, *idle, *begun, *inside):
            assert wire.ends(60.0)
    assert time.monotonic() - start < 60


def test_a_drip_of_one_byte_at_a_time_ends(attack: Any) -> None:
    with Wire(attack.port) as wire:
        message = pdus.associate()
        start = time.monotonic()
        for number in range(len(message)):
            if not wire.send(message[number : number + 1]):
                break
            time.sleep(0.25)
            if time.monotonic() - start > 40:
                pytest.fail("a slow peer is listened to for ever")
        assert time.monotonic() - start < 40


def test_a_flood_of_connections_leaves_room(attack: Any) -> None:
    before = attack.threads
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            with contextlib.suppress(OSError):
                wire = stack.enter_context(Wire(attack.port))
                wire.send(pdus.associate()[:20])
        time.sleep(0.5)
    end = time.monotonic() + 60
    while attack.threads > before + 4 and time.monotonic() < end:
        time.sleep(0.2)
    assert attack.threads <= before + 4, "its threads end with their connections"


def test_mutated_associations_and_messages(attack: Any, scale: int) -> None:
    rng = random.Random(11)
    associate = pdus.associate()
    rest = pdus.data(pdus.pdv(1, 3, pdus.echo_command())) + pdus.RELEASE_RQ
    for _ in range(150 * scale):
        message = bytearray(associate + rest if rng.random() < 0.5 else rest)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(message))
            if rng.random() < 0.7:
                message[at] = rng.randrange(256)
            else:
                message[at : at + rng.randint(0, 20)] = rng.randbytes(rng.randint(0, 20))
        with Wire(attack.port) as wire:
            if not message.startswith(b"\1"):
                wire.send(associate)
            wire.send(bytes(message))


def test_other_programs_senders(attack: Any) -> None:
    """dcmtk proposes 128 contexts, lies about AE titles, and gives up in the middle."""
    port = str(attack.port)
    echo = ["echoscu", "-aec", "VIDI", "127.0.0.1", port]
    assert subprocess.run([*echo[:1], "-ppc", "128", *echo[1:]], timeout=120, check=False).returncode == 0
    assert subprocess.run(["echoscu", "-aec", "NOBODY", "127.0.0.1", port], timeout=120, check=False).returncode != 0
    assert subprocess.run([*echo[:1], "--abort", *echo[1:]], timeout=120, check=False).returncode == 0
    assert "CALLED_AE_UNKNOWN" in attack.outcomes()
