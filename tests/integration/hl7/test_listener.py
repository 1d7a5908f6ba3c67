"""The MLLP listener over sockets: another program's sender, hostile ones, and TLS."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import random
import ssl
import time
from pathlib import Path
from typing import Any

import hl7
import pytest
from hl7.client import MLLPClient
from hl7.mllp import open_hl7_connection

from vidi.errors import Unavailable
from vidi_gateway.hl7.listener import Listener
from vidi_gateway.settings import GatewaySettings

START, END = b"\x0b", b"\x1c\x0d"


def code(answer: bytes) -> str:
    """MSA-1."""
    return str(hl7.parse(answer.decode())["MSA"][0][1])


async def exchange(port: int, *messages: bytes, **options: Any) -> list[bytes]:
    """Send messages over one connection as python-hl7's asyncio client does."""
    reader, writer = await open_hl7_connection("127.0.0.1", port, **options)
    answers = []
    for message in messages:
        writer.writeblock(message)
        await writer.drain()
        answers.append(await asyncio.wait_for(reader.readblock(), 60))
    writer.close()
    return answers


async def test_a_merge_reaches_the_films(listen: Any, message: Any) -> None:
    opened = await listen()
    mine, not_mine = opened.add_film(1, "123"), opened.add_film(2, "999")
    (answer,) = await exchange(opened.port, message())
    assert code(answer) == "AA"
    assert opened.lifecycle.identity_of(opened.key("123"))[0] == opened.key("555")
    assert opened.journal.film(mine).patient_key == opened.key("555")
    assert opened.journal.film(not_mine).patient_key == opened.key("999")
    assert opened.outcomes("patients merged") == {"1 films": 1}


async def test_a_message_is_obeyed_once_and_acknowledged_each_time(listen: Any, message: Any) -> None:
    opened = await listen()
    opened.add_film(1, "123")
    answers = await exchange(opened.port, message(), message(), message())
    assert [code(a) for a in answers] == ["AA"] * 3
    assert len({m.message_id for m in opened.merger.merges}) == 1
    assert opened.outcomes("patients merged") == {"1 films": 3}
    reused = message(prior="124")  # the sender counts from the beginning again
    opened.add_film(3, "124")
    assert code((await exchange(opened.port, reused))[0]) == "AA"
    assert opened.lifecycle.identity_of(opened.key("124"))[0] == opened.key("555")


async def test_the_blocking_client_of_another_program(listen: Any, message: Any) -> None:
    opened = await listen()

    def send() -> bytes:
        with MLLPClient("127.0.0.1", opened.port) as client:
            return bytes(client.send_message(message()))

    answer = await asyncio.to_thread(send)
    assert code(answer.strip(START + END)) == "AA"
    assert [m.prior.id for m in opened.merger.merges] == ["123"]


async def test_other_events_are_rejected_and_the_connection_goes_on(listen: Any, message: Any) -> None:
    opened = await listen()
    wrong = [message(f"W{i}").replace(b"ADT^A40", kind) for i, kind in enumerate((b"ADT^A08", b"ADT^A18", b"ORU^R01"))]
    answers = await exchange(opened.port, *wrong, message(), message("M2").replace(b"MRG|", b"NTE|"))
    assert [code(a) for a in answers] == ["AR", "AR", "AR", "AA", "AR"]
    assert b"|W0|" in answers[0]
    assert opened.outcomes("message not obeyed") == {"AR_EVENT": 2, "AR_MESSAGE": 1, "AR_SEGMENT": 1}


async def test_nothing_is_acknowledged_that_is_not_durable(listen: Any, message: Any) -> None:
    opened = await listen()
    opened.merger.failures += [RuntimeError("Everywoman 123 in a traceback"), Unavailable("the journal is away")]
    answers = await exchange(opened.port, message(), message(), message())
    assert [code(a) for a in answers] == ["AR", "AR", "AA"], "the sender sends it again until it is obeyed"
    assert b"Everywoman" not in b"".join(answers)
    assert opened.outcomes("message not obeyed") == {"AR_INTERNAL": 2}


async def test_no_patient_in_log_audit_and_journal(
    listen: Any, message: Any, connect: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    opened = await listen()
    opened.add_film(1, "123")
    wrong = message("W").replace(b"ADT^A40", b"ADT^A08")
    await exchange(opened.port, message(), wrong, message("X").replace(b"MRG", b"ZZZ"))
    raw = await connect(opened.port)
    await raw.send(START + message()[:150])
    raw.writer.close()
    await asyncio.sleep(0.3)
    out, err = capfd.readouterr()
    written = (out + err).encode()
    for path in opened.database_path.parent.glob("journal.sqlite3*"):
        written += path.read_bytes()
    assert b"patients merged" in written
    for secret in (b"Everywoman", b"Eve", b"19620320", b"HOSP^", b"123^^^"):
        assert secret not in written


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: vidi\r\n\r\n", "NOT_MLLP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), "NOT_MLLP"),
        (b"\x01\x00\x00\x00\x00\xcd" + bytes(200), "NOT_MLLP"),
        (b"\xff" * 5000, "NOT_MLLP"),
        (b"MSH|^~\\&|no frame\r" + END, "NOT_MLLP"),
        (START + b"MSH|^~\\&|" + b"x" * 500, "MESSAGE_CUT_SHORT"),
        (START, "MESSAGE_CUT_SHORT"),
        (START + b"MSH|^~\\&|\x1c", "MESSAGE_CUT_SHORT"),
    ],
    ids=["HTTP", "TLS hello", "DICOM", "binary", "no start", "no end", "start alone", "half an end"],
)
async def test_what_is_no_mllp_is_closed_and_recorded(
    listen: Any, connect: Any, message: Any, sent: bytes, reason: str
) -> None:
    opened = await listen()
    raw = await connect(opened.port)
    await raw.send(sent)
    raw.writer.write_eof()
    assert await raw.closed() == b""
    assert code((await exchange(opened.port, message()))[0]) == "AA"
    assert opened.outcomes("connection ended") == {reason: 1}


async def test_an_endless_message_is_refused_within_bounds(listen: Any, connect: Any, message: Any) -> None:
    opened = await listen(mllp_max_bytes=65536)
    raw = await connect(opened.port)
    sent = 0
    with contextlib.suppress(ConnectionError):
        raw.writer.write(START + b"MSH|^~\\&|")
        for _ in range(2000):  # 128 MB, if anybody takes it
            raw.writer.write(b"x" * 65536)
            await asyncio.wait_for(raw.writer.drain(), 60)
            sent += 65536
    assert sent < 32 << 20, "it stopped reading soon, and closed"
    assert code((await exchange(opened.port, message()))[0]) == "AA"
    assert opened.outcomes("message not obeyed") == {"AE_DATA": 1}


async def test_a_segment_of_ten_megabytes(listen: Any, connect: Any, message: Any) -> None:
    opened = await listen()
    before = _rss()
    for filler in (b"x", b"^", b"~", b"&", b"|", b"\\", b"\r"):
        raw = await connect(opened.port)
        with contextlib.suppress(ConnectionError):
            await raw.send(START + message()[:-1] + filler * (10 << 20) + b"\r" + END)
        await raw.closed()
    assert _rss() - before < 100 << 20
    # As long as is allowed, and as many separators as it holds: read, and refused or obeyed.
    for filler in (b"^", b"~", b"&", b"|", b"\\", b"\r", b"\r\n", b"MRG|1\r"):
        long = message("L")[:-1] + (filler * 65536)[: 65000 - len(message("L"))]
        (answer,) = await exchange(opened.port, long)
        assert code(answer) in ("AA", "AE", "AR")
    assert _rss() - before < 150 << 20
    assert code((await exchange(opened.port, message()))[0]) == "AA"


async def test_drips_and_silence_end(listen: Any, connect: Any, message: Any) -> None:
    opened = await listen(mllp_timeout=1.0, mllp_idle_timeout=1.5)
    idle, drip = await connect(opened.port), await connect(opened.port)
    start = time.monotonic()

    async def dripping() -> None:
        with contextlib.suppress(ConnectionError):
            await drip.send(START)
            for byte in message():
                await drip.send(bytes([byte]))
                await asyncio.sleep(0.1)

    task = asyncio.create_task(dripping())
    await asyncio.gather(idle.closed(), drip.closed())
    assert time.monotonic() - start < 20
    await task
    assert opened.outcomes("connection ended") == {"MESSAGE_CUT_SHORT": 1}
    assert code((await exchange(opened.port, message()))[0]) == "AA"


async def test_a_message_in_pieces_and_several_at_once(listen: Any, connect: Any, message: Any) -> None:
    opened = await listen()
    raw = await connect(opened.port)
    for byte in START + message() + END:
        await raw.send(bytes([byte]))
    assert code(await raw.block()) == "AA"
    await raw.send(b"".join(START + message(f"P{i}") + END + b"\r\n" * (i % 2) for i in range(20)))
    for i in range(20):
        assert f"|P{i}\r".encode() in await raw.block()


async def test_connections_are_bounded(listen: Any, connect: Any, message: Any) -> None:
    opened = await listen(mllp_max_connections=3)
    held = [await connect(opened.port) for _ in range(3)]
    for raw in held:
        await raw.send(b"\r")
    await asyncio.sleep(0.2)
    assert await (await connect(opened.port)).closed() == b""
    assert opened.outcomes("connection ended") == {"CONGESTED": 1}
    held[0].writer.close()
    await asyncio.sleep(0.2)
    assert code((await exchange(opened.port, message()))[0]) == "AA"


async def test_unlisted_hosts_are_not_heard(listen: Any, connect: Any, message: Any) -> None:
    opened = await listen(mllp_hosts="10.20.30.40")
    raw = await connect(opened.port)
    with contextlib.suppress(ConnectionError):
        await raw.send(START + message() + END)
    assert await raw.closed() == b""
    assert not opened.merger.merges
    assert opened.outcomes("connection ended") == {"HOST_UNKNOWN": 1}


async def test_a_merge_under_way_survives_the_listeners_end(listen: Any, connect: Any, message: Any) -> None:
    opened = await listen()
    opened.merger.delay = 0.5
    raw = await connect(opened.port)
    await raw.send(START + message() + END)
    await asyncio.sleep(0.2)
    await opened.listener.close()
    for _ in range(100):
        if opened.merger.merges:
            break
        await asyncio.sleep(0.05)
    assert len(opened.merger.merges) == 1


async def test_a_port_that_is_taken_is_said(listen: Any, other_port: int, tmp_path: Path) -> None:
    opened = await listen()
    settings = GatewaySettings(data_dir=tmp_path, mllp_port=other_port)
    with pytest.raises(OSError):
        await Listener(settings, opened.merges).open()


async def test_fuzzed_messages_by_the_hundred(listen: Any, message: Any) -> None:
    opened = await listen()
    rng = random.Random(7)
    seeds = [message(f"F{i}") for i in range(4)]
    before = _rss()

    async def one(number: int) -> None:
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 12)):
            at = rng.randrange(len(data))
            what = rng.randrange(4)
            if what == 0:
                data[at] = rng.randrange(256)
            elif what == 1:
                del data[at : at + rng.randint(1, 40)]
            elif what == 2:
                data[at:at] = rng.randbytes(rng.randint(1, 40))
            else:
                data[at:at] = data[at : at + 200]
            data = data or bytearray(b"x")
        frame = bytes(data).replace(END, b"")
        with contextlib.suppress(EOFError, ConnectionError):
            answers = await exchange(opened.port, frame)
            assert answers[0].startswith(b"MSH")
            assert b"\rMSA" in answers[0]

    for batch in range(0, 400, 8):
        await asyncio.gather(*(one(batch + i) for i in range(8)))
    assert _rss() - before < 100 << 20
    assert code((await exchange(opened.port, message("END")))[0]) == "AA"
    audited = sum(opened.outcomes("message not obeyed").values()) + sum(opened.outcomes("patients merged").values())
    assert audited >= 400, "every message left a record"


async def test_tls_and_who_may_use_it(listen: Any, message: Any, authority: Any) -> None:
    ours, theirs = authority("ours"), authority("theirs")
    certificate, key = ours.issue("server")
    now = datetime.datetime.now(datetime.UTC)
    long_ago = now - datetime.timedelta(days=30)
    clients = {
        "ours": ours.issue("client"),
        "foreign": theirs.issue("foreign"),
        "expired": ours.issue("expired", not_before=long_ago, not_after=now - datetime.timedelta(days=1)),
    }
    opened = await listen(mllp_tls_certificate=certificate, mllp_tls_key=key, mllp_tls_ca=ours.root)

    async def send(client: str) -> bytes:
        context = ssl.create_default_context(cafile=str(ours.root))
        if client in clients:
            context.load_cert_chain(*clients[client])
        return (await exchange(opened.port, message(), ssl=context))[0]

    assert code(await send("ours")) == "AA"
    for client, reason in (
        ("foreign", "CERTIFICATE_UNTRUSTED"),
        ("expired", "CERTIFICATE_OUT_OF_DATE"),
        ("nobody", "CERTIFICATE_MISSING"),
    ):
        with pytest.raises((OSError, EOFError)):
            await send(client)
        for _ in range(100):
            if reason in opened.outcomes("connection ended"):
                break
            await asyncio.sleep(0.05)
        assert opened.outcomes("connection ended")[reason] == 1
    with pytest.raises((OSError, EOFError)):
        await exchange(opened.port, message())  # in the clear
    assert len(opened.merger.merges) == 1
    assert code(await send("ours")) == "AA"


def _rss() -> int:
    """Resident bytes of this process, in which the listener lives."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
