"""The receive path under peers that cut their films into odd pieces, hurry, dawdle, or leave in the middle."""

from __future__ import annotations

import hashlib
import io
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import UID
from pynetdicom.dsutils import create_file_meta, encode_file_meta
from pynetdicom.service_class import StorageServiceClass

from vidi.errors import Unavailable
from vidi_gateway.bench.films import Film, films
from vidi_gateway.bench.sender import Association, send
from vidi_gateway.dimse.reactor import PromptUpperLayer
from vidi_gateway.dimse.sender import send_files

Listen = Callable[..., Any]
DX = "1.2.840.10008.5.1.4.1.1.1.1"
ABORT = b"\7\0\0\0\0\4\0\0\0\0"
RELEASE = b"\5\0\0\0\0\4\0\0\0\0"


def some(count: int, run: str) -> list[Film]:
    return list(films(count, (512, 384), run))


def stored(node: Any) -> dict[str, bytes]:
    """Files by SOP Instance UID, as the journal has them."""
    found = {}
    for film_id in node.journal.page(1000):
        film = node.journal.film(film_id)
        data = node.store.get(film.file_key)
        assert film.file_digest == "sha256:" + hashlib.sha256(data).hexdigest()
        assert film.file_bytes == len(data)
        found[film.sop_instance_uid] = data
    return found


def check(node: Any, sent: list[Film]) -> None:
    """Each film is there as pynetdicom itself would have written it."""
    kept = stored(node)
    assert kept.keys() == {f.sop_instance_uid for f in sent}
    for film in sent:
        uids = (UID(film.sop_class_uid), UID(film.sop_instance_uid), UID("1.2.840.10008.1.2.1"))
        meta = create_file_meta(sop_class_uid=uids[0], sop_instance_uid=uids[1], transfer_syntax=uids[2])
        assert kept[film.sop_instance_uid] == b"\0" * 128 + b"DICM" + encode_file_meta(meta) + film.dataset
        assert dcmread(io.BytesIO(kept[film.sop_instance_uid])).pixel_array.shape[0] in (512, 384)


def raw(association: Association) -> socket.socket:
    return association._socket


@pytest.mark.parametrize("size", [4096, 16_384, 100_001, 131_072])
def test_pdus_of_any_size(listen: Listen, size: int) -> None:
    node, sent = listen(), some(4, f"size{size}")
    with Association(node.port, "VIDI", DX) as association:
        assert association.max_pdu_bytes == 131_072
        assert [association.store(film.pdus(size)) for film in sent] == [0, 0, 0, 0]
    check(node, sent)


def test_several_fragments_in_a_pdu(listen: Listen) -> None:
    """PS3.8 section 9.3.5 allows it, and some senders begin a film in the command's PDU."""
    node, sent = listen(), some(2, "several")
    with Association(node.port, "VIDI", DX) as association:
        for film in sent:
            pdus = film.pdus(20_000)
            items, rest = [], pdus
            while rest:
                length = int.from_bytes(rest[2:6], "big")
                items.append(rest[6 : 6 + length])
                rest = rest[6 + length :]
            grouped = [b"".join(items[i : i + 3]) for i in range(0, len(items), 3)]
            grouped[1:2] = items[3:6]  # and some of the usual kind between
            message = b"".join(b"\4\0" + len(g).to_bytes(4, "big") + g for g in grouped)
            assert association.store(message) == 0
    check(node, sent)


def test_a_peer_that_does_not_wait_for_answers(listen: Listen) -> None:
    """Films come while the one before is being made durable: none is written into another's memory."""
    node, sent = listen(), some(12, "hurry")
    with Association(node.port, "VIDI", DX) as association:
        messages = b"".join(film.pdus(131_072) for film in sent)
        pushing = threading.Thread(target=raw(association).sendall, args=(messages,))
        pushing.start()
        assert [association.store(b"") for _ in sent] == [0] * len(sent)
        pushing.join(60)
    check(node, sent)


def test_a_release_right_behind_the_last_film(listen: Listen) -> None:
    node, sent = listen(), some(1, "release")
    association = Association(node.port, "VIDI", DX).__enter__()
    assert association.store(sent[0].pdus(131_072) + RELEASE) == 0
    assert association._read()[0] == 6, "A-RELEASE-RP"
    raw(association).close()
    check(node, sent)


def test_a_peer_that_dawdles(listen: Listen) -> None:
    """Each byte of the headers by itself; within the time that a peer may stay silent."""
    node, sent = listen(dimse_timeout=5.0), some(1, "dawdle")
    message = sent[0].pdus(60_000)
    with Association(node.port, "VIDI", DX) as association:
        for start in range(300):
            raw(association).sendall(message[start : start + 1])
            if start % 30 == 0:
                time.sleep(0.02)
        assert association.store(message[300:]) == 0
    check(node, sent)


@pytest.mark.parametrize("cut", [7, 200, 5_000, 140_000, 300_000])
@pytest.mark.parametrize("politely", [True, False])
def test_a_peer_that_leaves_in_the_middle(listen: Listen, cut: int, politely: bool) -> None:
    node, (left, sent) = listen(), some(2, f"leave{cut}{politely}")
    association = Association(node.port, "VIDI", DX).__enter__()
    message = left.pdus(65_536)
    if politely:  # A-ABORT comes between PDUs
        raw(association).sendall(message[: _whole_pdus(message, cut)] + ABORT)
        raw(association).settimeout(10)
        assert raw(association).recv(100) == b"", "closed at once, not after a timeout"
    else:
        raw(association).sendall(message[:cut])
    raw(association).close()
    assert send_files([_file(sent)], "127.0.0.1", node.port)[0].status == 0
    assert stored(node).keys() == {sent.sop_instance_uid}
    _ends(node)


def test_a_pdu_beyond_the_bound_in_the_middle_of_a_film(listen: Listen) -> None:
    node, (film,) = listen(max_pdu_bytes=65_536), some(1, "bound")
    association = Association(node.port, "VIDI", DX).__enter__()
    message = film.pdus(65_536)
    begin = message[: _whole_pdus(message, 70_000)]
    with pytest.raises((OSError, Unavailable)):
        association.store(begin + b"\4\0\xff\xff\xff\xff" + b"\0" * 300_000)
    assert stored(node) == {}
    _ends(node)


def test_eight_associations_at_a_time(listen: Listen) -> None:
    node, sent = listen(), some(40, "eight")
    result = send(sent, node.port, "VIDI", 8)
    assert result.statuses == {0: 40}
    check(node, sent)
    _ends(node)


def test_an_association_that_fails_while_it_is_served_ends(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Films are served by the thread that receives them, which cannot wait for its own end."""
    node, (first, second) = listen(), some(2, "fails")

    def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    with monkeypatch.context() as patched:
        patched.setattr(StorageServiceClass, "SCP", broken)
        association = Association(node.port, "VIDI", DX).__enter__()
        with pytest.raises((OSError, Unavailable)):
            association.store(first.pdus(131_072))
        _ends(node)
    with Association(node.port, "VIDI", DX) as association:
        assert association.store(second.pdus(131_072)) == 0
    check(node, [second])


def test_an_idle_association_costs_no_time_and_ends_by_itself(listen: Listen) -> None:
    node = listen(idle_timeout=1.0)
    association = Association(node.port, "VIDI", DX).__enter__()
    before = time.process_time()
    raw(association).settimeout(20)
    assert association._read()[0] == 7, "A-ABORT"
    assert time.process_time() - before < 0.5
    _ends(node)


def _whole_pdus(message: bytes, least: int) -> int:
    """Where the first PDU ends that reaches so far."""
    end = 0
    while end < least:
        end += 6 + int.from_bytes(message[end + 2 : end + 6], "big")
    return end


def _file(film: Film) -> bytes:
    uids = (UID(film.sop_class_uid), UID(film.sop_instance_uid), UID("1.2.840.10008.1.2.1"))
    meta = create_file_meta(sop_class_uid=uids[0], sop_instance_uid=uids[1], transfer_syntax=uids[2])
    return b"\0" * 128 + b"DICM" + encode_file_meta(meta) + film.dataset


def _ends(node: Any) -> None:
    """No thread of an association is left."""
    deadline = time.monotonic() + 20
    while node.node._server.active_associations or any(isinstance(t, PromptUpperLayer) for t in threading.enumerate()):
        assert time.monotonic() < deadline, threading.enumerate()
        time.sleep(0.05)
