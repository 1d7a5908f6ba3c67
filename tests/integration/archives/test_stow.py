"""STOW-RS: what is called stored is durable, from real senders; hostile bodies are refused and change nothing."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, generate_uid

from tests.integration.archives.conftest import Served, varied
from tests.support import uid_of

pytestmark = pytest.mark.timeout(900)

KIND = 'multipart/related; type="application/dicom"; boundary=frontier'
LARGEST = 400_000


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One with tight bounds."""
    bounds = {"VIDI_MAX_FILM_BYTES": str(LARGEST), "VIDI_STOW_MAX_PARTS": "40", "VIDI_STOW_MAX_BYTES": "6000000"}
    made = Served(tmp_path_factory.mktemp("stow"), **bounds, VIDI_DIMSE_TIMEOUT="3")
    try:
        made.start()
        yield made
    finally:
        made.close()


def multipart(*films: bytes, kind: str = "application/dicom", boundary: str = "frontier") -> bytes:
    head = f"--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode()
    return b"".join(head + f + b"\r\n" for f in films) + f"--{boundary}--\r\n".encode()


def post(gateway: Served, body: bytes, kind: str = KIND, path: str = "", **headers: str) -> httpx.Response:
    return gateway.http.post(f"/dicomweb/studies{path}", content=body, headers={"content-type": kind, **headers})


def failures(answer: httpx.Response) -> dict[str, int]:
    """Failure reason by UID."""
    items = answer.json().get("00081198", {"Value": []})["Value"]
    return {i["00081155"]["Value"][0]: i["00081197"]["Value"][0] for i in items}


def stored(answer: httpx.Response) -> set[str]:
    return {i["00081155"]["Value"][0] for i in answer.json().get("00081199", {"Value": []})["Value"]}


def others(answer: httpx.Response) -> list[int]:
    """Failure reasons of parts that nobody can name (Other Failures Sequence)."""
    return [i["00081197"]["Value"][0] for i in answer.json().get("0008119A", {"Value": []})["Value"]]


def still_takes(gateway: Served, film: bytes) -> None:
    """The next film is taken as ever."""
    fresh = varied(film)
    answer = post(gateway, multipart(fresh))
    assert answer.status_code == 200 and uid_of(fresh) in gateway.uids(), answer.text


def test_stored_means_journalled(gateway: Served, dx_film: bytes) -> None:
    films = [varied(dx_film) for _ in range(3)]
    answer = post(gateway, multipart(*films))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/dicom+json"
    uids = {uid_of(f) for f in films}
    assert stored(answer) == uids and not failures(answer) and uids <= gateway.uids()
    assert "stow:127.0.0.1" in gateway.sources()
    again = post(gateway, multipart(*films))
    assert again.status_code == 200 and stored(again) == uids, "a sender that missed the answer sends again"


def test_dicomweb_client_stores(gateway: Served, dx_film: bytes) -> None:
    films = [dcmread(io.BytesIO(varied(dx_film))) for _ in range(2)]
    answer = DICOMwebClient(f"{gateway.url}/dicomweb").store_instances(films)
    assert {i.ReferencedSOPInstanceUID for i in answer.ReferencedSOPSequence} == {f.SOPInstanceUID for f in films}
    assert {f.SOPInstanceUID for f in films} <= gateway.uids()


def test_orthanc_stores(gateway: Served, start_orthanc: Callable[..., Any], dx_film: bytes) -> None:
    servers = {"vidi": {"Url": f"{gateway.url}/dicomweb", "HasDelete": False}}
    orthanc = start_orthanc(DicomWeb={"Enable": True, "Servers": servers})
    films = [varied(dx_film, StudyInstanceUID=generate_uid()) for _ in range(10)]
    for film in films:
        orthanc.put(film)
    resources = orthanc.call("/studies")
    sent = orthanc.call("/dicom-web/servers/vidi/stow", json.dumps({"Resources": resources}).encode(), "POST")
    assert sent is not None and {uid_of(f) for f in films} <= gateway.uids()


def test_out_of_scope_is_stored_as_far_as_the_sender_is_concerned(gateway: Served, dx_film: bytes) -> None:
    ct, film = varied(dx_film, SOPClassUID=CTImageStorage, Modality="CT"), varied(dx_film)
    answer = post(gateway, multipart(ct, film))
    assert answer.status_code == 200 and stored(answer) == {uid_of(ct), uid_of(film)}


def test_one_bad_instance_among_good_ones(gateway: Served, dx_film: bytes) -> None:
    good, large = varied(dx_film), varied(dx_film, PixelData=b"\0" * LARGEST)
    answer = post(gateway, multipart(good, b"no DICOM", large))
    assert answer.status_code == 202
    assert stored(answer) == {uid_of(good)} and failures(answer) == {uid_of(large): 0xA700}
    assert others(answer) == [0xC000]
    assert uid_of(large) not in gateway.uids()


def test_a_study_that_is_not_the_one_named_fails(gateway: Served, dx_film: bytes) -> None:
    study = generate_uid()
    mine, another = varied(dx_film, StudyInstanceUID=study), varied(dx_film, StudyInstanceUID=generate_uid())
    answer = post(gateway, multipart(mine, another), path=f"/{study}")
    assert answer.status_code == 202 and stored(answer) == {uid_of(mine)}
    assert failures(answer) == {uid_of(another): 0xC000}
    assert post(gateway, multipart(another), path=f"/{study}").status_code == 409
    assert uid_of(another) not in gateway.uids()
    assert post(gateway, multipart(mine), path="/1.2.x").status_code == 400


def test_what_is_not_multipart_dicom_is_not_taken(gateway: Served, dx_film: bytes) -> None:
    body = multipart(dx_film)
    for kind in (
        "application/dicom",
        "multipart/form-data; boundary=frontier",
        'multipart/related; type="application/dicom+json"; boundary=frontier',
        "multipart/related; boundary=frontier",
        "text/plain",
        "",
    ):
        answer = post(gateway, body, kind)
        assert answer.status_code == 415 and answer.json()["reason"] == "MEDIA_TYPE", kind
    packed = post(gateway, gzip.compress(body), **{"content-encoding": "gzip"})
    assert packed.status_code == 415 and packed.json()["reason"] == "ENCODING"
    assert post(gateway, body, accept="application/dicom+xml").status_code == 406
    png = multipart(b"\x89PNG", kind="image/png")
    assert post(gateway, png).status_code == 409


def test_malformed_bodies(gateway: Served, dx_film: bytes) -> None:
    whole = varied(dx_film)
    cases = {
        "empty": b"",
        "no part": b"--frontier--\r\n",
        "another boundary": multipart(whole, boundary="other"),
        "no boundary at all": whole,
        "cut in the first part": multipart(whole)[: len(whole) // 2],
        "no closing boundary": multipart(whole)[: -len("--frontier--\r\n")],
        "endless header": b"--frontier\r\n" + b"X: " + b"y" * 100_000,
    }
    before = gateway.uids()
    for name, body in cases.items():
        assert post(gateway, body).status_code == 400, name
    assert gateway.uids() == before
    assert post(gateway, multipart(whole), KIND.replace("frontier", "x" * 300)).status_code == 400
    still_takes(gateway, dx_film)


def test_truncated_after_a_whole_film(gateway: Served, dx_film: bytes) -> None:
    first, second = varied(dx_film), varied(dx_film)
    body = multipart(first, second)
    assert post(gateway, body[: len(body) - 5000]).status_code == 400, "the sender must send again"
    assert uid_of(first) in gateway.uids() and uid_of(second) not in gateway.uids()
    assert post(gateway, body).status_code == 200


def test_ten_thousand_empty_parts(gateway: Served, dx_film: bytes) -> None:
    before = len(gateway.audit.page(100_000))
    answer = post(gateway, multipart(*[b""] * 10_000))
    assert answer.status_code == 413 and answer.json()["reason"] == "TOO_MANY_PARTS"
    assert len(gateway.audit.page(100_000)) - before <= 2, "the trail is not flooded"
    still_takes(gateway, dx_film)


def test_bodies_without_end(gateway: Served, dx_film: bytes) -> None:
    """The memory of the process does not grow with what is sent."""
    before = _memory(gateway)
    answer = post(gateway, multipart(b"\0" * 5_000_000))
    assert answer.status_code == 413 and others(answer) == [0xA700]

    def endless(chunks: int) -> Iterator[bytes]:
        yield b"--frontier\r\n\r\n"
        for _ in range(chunks):
            yield b"\0" * 65536

    sent = gateway.http.post("/dicomweb/studies", content=endless(150), headers={"content-type": KIND})
    assert sent.status_code == 413 and sent.json()["reason"] == "TOO_LARGE"
    with contextlib.suppress(httpx.TransportError):  # the connection is closed while it sends
        sent = gateway.http.post("/dicomweb/studies", content=endless(20_000), headers={"content-type": KIND})
        assert sent.status_code == 413
    assert _memory(gateway) - before < 60 << 20
    still_takes(gateway, dx_film)


def test_a_deflated_bomb_is_not_inflated(gateway: Served, dx_film: bytes) -> None:
    ds = dcmread(io.BytesIO(varied(dx_film)))
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.PixelData = b"\0" * (200 << 20)
    buffer = io.BytesIO()
    ds.save_as(buffer)
    bomb = buffer.getvalue()
    assert len(bomb) < LARGEST
    before = _memory(gateway)
    answer = post(gateway, multipart(bomb))
    assert answer.status_code == 409 and others(answer) == [0xC000]
    assert _memory(gateway) - before < 60 << 20
    still_takes(gateway, dx_film)


def test_a_sender_that_falls_silent_or_hangs_up(gateway: Served, dx_film: bytes) -> None:
    head = f"POST /dicomweb/studies HTTP/1.1\r\nHost: x\r\nContent-Type: {KIND}\r\nContent-Length: 100000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.http_port), timeout=60) as silent:
        silent.sendall(head.encode() + b"--frontier\r\n")
        assert silent.recv(64).startswith(b"HTTP/1.1 408")
    for _ in range(20):  # more than may run at a time
        with socket.create_connection(("127.0.0.1", gateway.http_port), timeout=60) as gone:
            gone.sendall(head.encode() + b"--frontier\r\n\r\n" + dx_film[:1000])
    time.sleep(1)
    still_takes(gateway, dx_film)


def test_only_so_many_at_a_time(serve: Callable[..., Served], dx_film: bytes) -> None:
    gateway = serve(VIDI_STOW_MAX_REQUESTS="1")
    head = f"POST /dicomweb/studies HTTP/1.1\r\nHost: x\r\nContent-Type: {KIND}\r\nContent-Length: 100000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.http_port), timeout=60) as slow:
        slow.sendall(head.encode() + b"--frontier\r\n")
        time.sleep(1)
        answer = post(gateway, multipart(dx_film))
        assert answer.status_code == 503 and answer.json()["reason"] == "BUSY" and int(answer.headers["retry-after"])


def test_a_full_queue_and_a_full_disk_say_when_to_come_again(serve: Callable[..., Served], dx_film: bytes) -> None:
    gateway = serve(VIDI_LOW_DISK_BYTES=str(1 << 60))
    answer = post(gateway, multipart(dx_film))
    assert answer.status_code == 503 and failures(answer) == {uid_of(dx_film): 0xA700}
    assert int(answer.headers["retry-after"]) >= 1 and gateway.uids() == set()


def test_strangers_are_refused_and_noted(serve: Callable[..., Served], dx_film: bytes) -> None:
    gateway = serve(VIDI_STOW_PEERS="10.1.0.0/16,192.168.7.9", VIDI_OPERATOR_PEERS="")
    assert post(gateway, multipart(dx_film)).status_code == 403
    plain = gateway.http.post("/api/v1/films", content=dx_film, headers={"content-type": "application/dicom"})
    assert plain.status_code == 403 and plain.json()["reason"] == "PEER_UNKNOWN"
    assert gateway.http.get("/api/v1/pulls").status_code == 403
    for path in ("withdraw", "replay", "delivery", "impact/withdraw"):
        assert gateway.http.post(f"/api/v1/operations/{path}", json={}).status_code == 403, path
    assert gateway.uids() == set()
    assert gateway.audit.counts("request refused") == {"PEER_UNKNOWN": 7}
    assert gateway.http.get("/healthz").status_code == 200


def test_a_model_that_nobody_has(serve: Callable[..., Served], dx_film: bytes, tmp_path: Path) -> None:
    """The default needs no service; whether another exists cannot be asked here, so that its films are kept."""
    gateway = serve()
    answer = gateway.http.post(
        "/dicomweb/studies",
        params={"model": "severity-phantom"},
        content=multipart(dx_film),
        headers={"content-type": KIND},
    )
    assert answer.status_code == 200
    (film,) = gateway.journal.page(10)
    assert gateway.journal.film(film).model == "severity-phantom"


def test_no_patient_in_log_or_trail(gateway: Served, dx_film: bytes) -> None:
    canary = varied(dx_film, PatientName="Canary^Carla", PatientID="CANARY-1", StudyInstanceUID="1.2.3.4.5.6.7")
    post(gateway, multipart(canary), path=f"/{generate_uid()}")
    post(gateway, multipart(canary))
    trail = json.dumps([vars(r) for r in gateway.audit.page(100_000)])
    for text in (gateway.log, trail):
        assert "anary" not in text.lower() and "1.2.3.4.5.6.7" not in text and uid_of(canary) not in text


def _memory(gateway: Served) -> int:
    """Resident bytes of the process at most so far (VmHWM)."""
    assert gateway._process is not None
    status = Path(f"/proc/{gateway._process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) << 10


def test_the_answer_is_a_dataset(gateway: Served, dx_film: bytes) -> None:
    answer = post(gateway, multipart(varied(dx_film), b""))
    ds = Dataset.from_json(answer.json())
    assert len(ds.ReferencedSOPSequence) == 1 and len(ds[0x0008119A].value) == 1
