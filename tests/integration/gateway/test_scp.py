"""The DICOM node: Success means durable, nobody unknown gets in, hostile peers change nothing."""

from __future__ import annotations

import io
import socket
import struct
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_dataset
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, generate_uid
from pynetdicom.ae import ApplicationEntity
from pynetdicom.dimse_primitives import C_STORE

from tests.support import uid_of
from vidi.errors import Exhausted
from vidi_gateway.dimse.scu import Address, Outcome, echo
from vidi_gateway.dimse.sender import send_files
from vidi_gateway.store.records import FilmState

Listen = Callable[..., Any]


def edited(film: bytes, **changes: Any) -> bytes:
    """A film under a UID of its own, with other attributes; None deletes one."""
    ds = dcmread(io.BytesIO(film))
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for keyword, value in changes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    buffer = io.BytesIO()
    ds.save_as(buffer)
    return buffer.getvalue()


def states(node: Any) -> dict[str, int]:
    return {state.value: n for state, n in node.journal.state_counts().items()}


def raw_store(port: int, dataset: bytes, uid: str) -> int | None:
    """Send bytes as they are in a C-STORE, whatever they are; return the status."""
    ae = ApplicationEntity("RAW")
    ae.add_requested_context("1.2.840.10008.5.1.4.1.1.1.1", ExplicitVRLittleEndian)
    association = ae.associate("127.0.0.1", port, ae_title="VIDI")
    assert association.is_established
    request = C_STORE()
    request.MessageID = 1
    request.AffectedSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    request.AffectedSOPInstanceUID = uid
    request.Priority = 2
    request.DataSet = io.BytesIO(dataset)
    association._reactor_checkpoint.clear()  # as send_c_store does: the answer is for us
    while not association._is_paused:
        time.sleep(0.01)
    context = association.accepted_contexts[0].context_id
    assert context is not None
    association.dimse.send_msg(request, context)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    association.release()
    status = None if answer is None else answer.Status
    return None if status is None else int(status)


def test_success_means_kept_and_journalled(listen: Listen, phantom: bytes) -> None:
    node = listen()
    assert echo(Address("127.0.0.1", node.port, "VIDI"))
    (sent,) = send_files([phantom], "127.0.0.1", node.port)
    assert (sent.outcome, sent.status) == (Outcome.SENT, 0)
    (film_id,) = node.journal.page(10)
    film = node.journal.film(film_id)
    assert (film.state, film.sop_instance_uid, film.model) == (FilmState.RECEIVED, uid_of(phantom), "pneumonia-slim")
    assert film.source == "dimse:MODALITY@127.0.0.1"
    assert uid_of(phantom) not in film_id
    stored = dcmread(io.BytesIO(node.store.get(film.file_key)))
    assert stored.PixelData == dcmread(io.BytesIO(phantom)).PixelData
    assert [a.film_id for a in node.journal.unqueued(10)] == [film_id]


def test_no_success_without_both(listen: Listen, phantom: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be put, or a journal that cannot commit, is not acknowledged; the next film is."""
    node = listen()
    with monkeypatch.context() as broken:

        def no_space(*_: object) -> None:
            raise Exhausted("full", reason="STORE_FULL")

        broken.setattr(node.store, "put_durable", no_space)
        (sent,) = send_files([phantom], "127.0.0.1", node.port)
        assert (sent.outcome, sent.status) == (Outcome.RETRY, 0xA700)
        assert states(node) == {}
    with monkeypatch.context() as broken:

        def no_commit(*_: object) -> bool:
            raise RuntimeError("database is gone")

        broken.setattr(node.journal, "add_film", no_commit)
        (sent,) = send_files([phantom], "127.0.0.1", node.port)
        assert sent.status == 0x0110
    (sent,) = send_files([phantom], "127.0.0.1", node.port)
    assert sent.status == 0 and states(node) == {"received": 1}


def test_a_full_disk_or_queue_rejects_associations(listen: Listen, phantom: bytes, phantoms: list[bytes]) -> None:
    node = listen(low_disk_bytes=1 << 60)
    (sent,) = send_files([phantom], "127.0.0.1", node.port)
    assert (sent.outcome, sent.error) == (Outcome.RETRY, "ASSOCIATION_REJECTED")
    assert node.audit.counts("association rejected") == {"DISK_LOW": 1}
    full = listen(max_queued=1)
    assert send_files([phantom], "127.0.0.1", full.port)[0].status == 0
    full.node._intake._depth = (0.0, 0)  # the count is at most half a second old
    (sent,) = send_files(phantoms[:1], "127.0.0.1", full.port)
    assert sent.error == "ASSOCIATION_REJECTED" and states(full) == {"received": 1}


@pytest.mark.parametrize(
    ("peers", "called", "calling", "code"),
    [
        ("PACS@127.0.0.1", "VIDI", "STRANGER", "PEER_UNKNOWN"),
        ("PACS@10.9.9.9", "VIDI", "PACS", "PEER_UNKNOWN"),
        ("PACS@127.0.0.1", "OTHER", "PACS", "CALLED_AE_UNKNOWN"),
    ],
)
def test_strangers_are_rejected(
    listen: Listen, phantom: bytes, peers: str, called: str, calling: str, code: str
) -> None:
    node = listen(allowed_peers=peers)
    (sent,) = send_files([phantom], "127.0.0.1", node.port, called, calling)
    assert sent.error == "ASSOCIATION_REJECTED"
    assert node.audit.counts("association rejected") == {code: 1}
    assert states(node) == {} and node.kept_files == []


def test_the_called_ae_title_selects_the_model(listen: Listen, phantom: bytes) -> None:
    node = listen(ae_models={"VIDI_PHANTOM": "severity-phantom"}, allowed_peers="PACS@127.0.0.1,*@10.0.0.1")
    assert send_files([phantom], "127.0.0.1", node.port, "VIDI_PHANTOM", "PACS")[0].status == 0
    assert node.journal.film(node.journal.page(1)[0]).model == "severity-phantom"


def test_out_of_scope_is_acknowledged_and_journalled_with_its_reason(listen: Listen, phantom: bytes) -> None:
    node = listen()
    lateral = edited(phantom, ViewPosition="LL")
    ct = edited(phantom, SOPClassUID=CTImageStorage, Modality="CT")
    sent = send_files([lateral, ct, phantom], "127.0.0.1", node.port)
    assert [s.status for s in sent] == [0, 0, 0]
    films = [node.journal.film(f) for f in node.journal.page(10)]
    assert {f.sop_instance_uid: (f.state.value, f.reason_code) for f in films} == {
        uid_of(lateral): ("refused", "VIEW_LATERAL"),
        uid_of(ct): ("refused", "MODALITY"),
        uid_of(phantom): ("received", ""),
    }
    assert len(node.kept_files) == 1, "what is refused is not kept"


def test_what_is_no_dicom_is_not_acknowledged_and_the_next_film_is(listen: Listen, phantom: bytes) -> None:
    node = listen()
    assert raw_store(node.port, b"hello, this is text", "1.2.3") == 0xC000
    other = Dataset()
    other.SOPClassUID, other.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.4"
    buffer = io.BytesIO()

    stream = DicomIO(buffer)
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, other)
    assert raw_store(node.port, buffer.getvalue(), "1.2.3") == 0xC000, "the announced UID is not the object's"
    assert states(node) == {} and node.kept_files == []
    assert send_files([phantom], "127.0.0.1", node.port)[0].status == 0


HOSTILE = """
import io, sys, time
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.ae import ApplicationEntity
from pynetdicom.dimse_primitives import C_STORE
ae = ApplicationEntity("RAW")
ae.dimse_timeout = 30
ae.add_requested_context("1.2.840.10008.5.1.4.1.1.1.1", ExplicitVRLittleEndian)
for uid in ("../../../x", "/etc/x", "1.2.3/../x", "1..2", "01.2"):
    a = ae.associate("127.0.0.1", int(sys.argv[1]), ae_title="VIDI")
    assert a.is_established, uid
    r = C_STORE()
    r.MessageID, r.Priority = 1, 2
    r.AffectedSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    r.AffectedSOPInstanceUID = uid
    head = b"\\x08\\x00\\x18\\x00UI" + len(uid + " " * (len(uid) % 2)).to_bytes(2, "little")
    r.DataSet = io.BytesIO(head + (uid + " " * (len(uid) % 2)).encode())
    a._reactor_checkpoint.clear()
    while not a._is_paused:
        time.sleep(0.01)
    a.dimse.send_msg(r, a.accepted_contexts[0].context_id)
    _, answer = a.dimse.get_msg(block=True)
    print(uid, "none" if answer is None else answer.Status)
    a.abort()
"""


def test_hostile_uids_reach_no_file_name(listen: Listen, phantom: bytes) -> None:
    """In a process of its own: the peer does not validate what it sends."""
    node = listen()
    before = set(node.root.parent.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(HOSTILE), str(node.port)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 5
    assert not any(line.endswith(" 0") for line in done.stdout.splitlines()), done.stdout
    assert set(node.root.parent.rglob("*")) - before <= set(node.root.parent.glob("journal*"))
    assert send_files([phantom], "127.0.0.1", node.port)[0].status == 0


def test_a_pdu_that_declares_gigabytes_is_cut_off(listen: Listen, phantom: bytes) -> None:
    node = listen()
    with socket.create_connection(("127.0.0.1", node.port), timeout=30) as peer:
        peer.sendall(struct.pack(">BBL", 1, 0, 0xFFFFFFFF) + b"\0" * 4096)
        assert _answer(peer) == b"", "closed without reading on"
    with socket.create_connection(("127.0.0.1", node.port), timeout=30) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert _answer(peer)[:1] in (b"\x07", b""), "A-ABORT (PS3.8 section 9.3.8), or closed"
    assert send_files([phantom], "127.0.0.1", node.port)[0].status == 0


def _answer(peer: socket.socket) -> bytes:
    """What the node answers first; nothing when it closes the connection."""
    try:
        return peer.recv(10)
    except ConnectionResetError:
        return b""


def test_an_object_above_the_limit_is_cut_off_while_it_comes(listen: Listen, phantom: bytes) -> None:
    node = listen(max_film_bytes=200_000)
    large = edited(phantom, PixelData=b"\0" * 4_000_000)
    (sent,) = send_files([large], "127.0.0.1", node.port, timeout=30.0)
    assert sent.outcome is Outcome.RETRY and sent.status is None
    assert states(node) == {}
    assert send_files([phantom], "127.0.0.1", node.port)[0].status == 0


def test_deflated_is_not_negotiated(listen: Listen) -> None:
    node = listen()
    ae = ApplicationEntity("RAW")
    ae.add_requested_context("1.2.840.10008.5.1.4.1.1.1.1", DeflatedExplicitVRLittleEndian)
    ae.add_requested_context("1.2.840.10008.1.1")
    association = ae.associate("127.0.0.1", node.port, ae_title="VIDI")
    assert [c.abstract_syntax for c in association.accepted_contexts] == ["1.2.840.10008.1.1"]
    association.release()


def test_the_same_film_again_is_one_film(listen: Listen, phantom: bytes) -> None:
    node = listen()
    with ThreadPoolExecutor(6) as pool:
        fates = list(pool.map(lambda _: send_files([phantom, phantom], "127.0.0.1", node.port), range(6)))
    assert all(s.status == 0 for sent in fates for s in sent)
    assert states(node) == {"received": 1}
    assert len(node.journal.unqueued(10)) == 1 and len(node.kept_files) == 1


def test_other_bytes_under_the_same_uid_wait_for_comparison(listen: Listen, phantom: bytes) -> None:
    node = listen()
    uid = uid_of(phantom)
    ds = dcmread(io.BytesIO(phantom))
    pixels = bytearray(ds.PixelData)
    pixels[1000] ^= 1
    ds.PixelData = bytes(pixels)
    buffer = io.BytesIO()
    ds.save_as(buffer)
    sent = send_files([phantom, buffer.getvalue(), buffer.getvalue()], "127.0.0.1", node.port)
    assert [s.status for s in sent] == [0, 0, 0]
    (arrival,) = node.arrivals.pending()
    film = node.journal.film(arrival.film_id)
    assert film.sop_instance_uid == uid and film.file_digest != arrival.file_digest
    assert node.store.get(film.file_key) != node.store.get(arrival.file_key)


def test_every_transfer_syntax_but_deflated_is_taken(listen: Listen) -> None:
    from vidi.imaging.dicom import TRANSFER_SYNTAXES
    from vidi_gateway.dimse import contexts

    assert set(contexts.TRANSFER_SYNTAXES) == set(TRANSFER_SYNTAXES), "what is negotiated can be decoded"
    node = listen()
    ae = ApplicationEntity("RAW")
    for syntax in TRANSFER_SYNTAXES:
        ae.add_requested_context("1.2.840.10008.5.1.4.1.1.1.1", syntax)
    for sop_class in ("1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.30"):
        ae.add_requested_context(sop_class)
    association = ae.associate("127.0.0.1", node.port, ae_title="VIDI")
    assert len(association.accepted_contexts) == len(ae.requested_contexts)
    association.release()
