"""STOW-RS, QIDO-RS and WADO-RS at a real Orthanc, and at servers that misbehave."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from vidi.errors import Exhausted, InvalidInput, NotFound, PreconditionFailed, Unavailable
from vidi_gateway.dicomweb.address import WebAddress
from vidi_gateway.dicomweb.client import WebClient
from vidi_gateway.dimse.scu import Outcome
from vidi_gateway.matches import Level
from vidi_gateway.nodes import RemoteNode

Films = list[tuple[bytes, Dataset]]
USER, PASSWORD = "vidi", "correct horse"


@pytest.fixture
def address(orthanc: Any) -> WebAddress:
    """Orthanc's DICOMweb."""
    return WebAddress(orthanc.web, USER, PASSWORD, timeout=20.0)


def uids(ds: Dataset) -> tuple[str, str, str]:
    return str(ds.StudyInstanceUID), str(ds.SeriesInstanceUID), str(ds.SOPInstanceUID)


def test_what_is_stored_is_found_and_comes_back(orthanc: Any, address: WebAddress, dx_films: Films) -> None:
    with WebClient(address) as client:
        for data, ds in dx_films:
            sent = client.store(data, ds.SOPInstanceUID)
            assert (sent.outcome, sent.sop_instance_uid, sent.error) == (Outcome.SENT, ds.SOPInstanceUID, "")
        assert orthanc.uids() == {ds.SOPInstanceUID for _, ds in dx_films}
        assert client.store(dx_films[0][0]).outcome is Outcome.SENT, "the same again"
        one, two, three = (ds for _, ds in dx_films)
        studies = list(client.find(Level.STUDY, {"StudyDate": "20240101-20240131"}))
        assert {s.study_uid: s.instances for s in studies} == {one.StudyInstanceUID: 2, three.StudyInstanceUID: 1}
        (series,) = client.find(Level.SERIES, {"StudyInstanceUID": one.StudyInstanceUID})
        assert (series.series_uid, series.modality) == (one.SeriesInstanceUID, "DX")
        keys = {"StudyInstanceUID": one.StudyInstanceUID, "SeriesInstanceUID": one.SeriesInstanceUID}
        images = list(client.find(Level.IMAGE, keys))
        assert {i.sop_uid for i in images} == {one.SOPInstanceUID, two.SOPInstanceUID}
        assert all(i.sop_class_uid == one.SOPClassUID and i.series_uid == one.SeriesInstanceUID for i in images)
        (image,) = client.find(Level.IMAGE, keys | {"SOPInstanceUID": str(two.SOPInstanceUID)})
        assert image.sop_uid == two.SOPInstanceUID
        assert list(client.find(Level.IMAGE, keys | {"SOPInstanceUID": "1.2.3"})) == []
        came = dcmread(io.BytesIO(client.retrieve(*uids(two))))
        assert came.SOPInstanceUID == two.SOPInstanceUID and came.PixelData == two.PixelData
        assert came.file_meta.TransferSyntaxUID == two.file_meta.TransferSyntaxUID
        metadata = client.metadata(*uids(two))
        assert metadata.Rows == two.Rows and metadata.SOPInstanceUID == two.SOPInstanceUID


def test_pages_and_limits(orthanc: Any, address: WebAddress, dx_films: Films) -> None:
    for data, _ in dx_films:
        orthanc.put(data)
    with WebClient(address) as client:
        assert len(list(client.find(Level.IMAGE, {}, page=1))) == 3
        assert len(list(client.find(Level.IMAGE, {}, page=2))) == 3
        assert len(list(client.find(Level.IMAGE, {}, limit=2, page=1))) == 2
        assert len(list(client.find(Level.IMAGE, {}, limit=2))) == 2


def test_what_is_not_there(orthanc: Any, address: WebAddress, dx_films: Films) -> None:
    with WebClient(address) as client:
        with pytest.raises(NotFound) as caught:
            client.retrieve(*uids(dx_films[0][1]))
        assert str(dx_films[0][1].SOPInstanceUID) not in str(caught.value)
        assert list(client.find(Level.STUDY, {"PatientID": "NOBODY"})) == []
        with pytest.raises(InvalidInput):
            list(client.find(Level.STUDY, {"NoSuchKey": "x"}))


def test_what_is_no_dicom_is_refused_for_good(orthanc: Any, address: WebAddress) -> None:
    with WebClient(address) as client:
        assert client.store(b"not a film" * 100).outcome is not Outcome.SENT


def test_a_wrong_password_is_a_matter_of_configuration(orthanc: Any, address: WebAddress, dx_films: Films) -> None:
    with WebClient(replace(address, password="wrong")) as client:
        with pytest.raises(PreconditionFailed) as caught:
            list(client.find(Level.STUDY, {"PatientID": "SECRET-1"}))
        assert caught.value.reason == "HTTP_401" and "SECRET-1" not in str(caught.value)
        sent = client.store(dx_films[0][0])
        assert (sent.outcome, sent.error) == (Outcome.RETRY, "HTTP_401")
    assert PASSWORD not in repr(address)


def test_passwords_come_from_files_and_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    file.write_text("s3cret\n")
    node = {"name": "a", "protocol": "dicomweb", "url": "http://pacs.example/dicom-web/", "username": "u"}
    assert RemoteNode(**node, password_file=file).web_address().password == "s3cret"
    assert RemoteNode(**node, token_file=file).web_address().token == "s3cret"
    monkeypatch.setenv("PACS_PASSWORD", "other")
    named = RemoteNode(**node, password_env="PACS_PASSWORD")
    assert named.web_address().password == "other" and "other" not in repr(named)
    assert named.web_address().url == "http://pacs.example/dicom-web"
    monkeypatch.delenv("PACS_PASSWORD")
    with pytest.raises(PreconditionFailed):
        named.web_address()
    file.unlink()
    with pytest.raises(PreconditionFailed):
        RemoteNode(**node, password_file=file).web_address()


class Odd:
    """A server whose answers are whatever the test says."""

    def __init__(self) -> None:
        self.answer: Callable[[Any], None] = lambda _: None
        self.asked: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, dict(self.headers)))
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.answer(self)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/x"


@pytest.fixture
def odd() -> Iterator[Odd]:
    """An odd server."""
    opened = Odd()
    yield opened
    opened.server.shutdown()
    opened.server.server_close()


def says(status: int, body: bytes = b"", **headers: str) -> Callable[[Any], None]:
    def answer(handler: Any) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_an_answer_above_the_limit_is_not_read_to_its_end(odd: Odd) -> None:
    def endless(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/dicom")
        handler.end_headers()
        while True:
            handler.wfile.write(b"\0" * 65536)

    odd.answer = endless
    with WebClient(WebAddress(odd.url, timeout=10.0, max_bytes=1 << 20)) as client, pytest.raises(Exhausted):
        client.retrieve("1.2", "1.3", "1.4")


def test_silence_and_dripping_end(odd: Odd) -> None:
    def drip(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.05)

    for answer in (lambda _: time.sleep(3), drip):
        odd.answer = answer
        started = time.monotonic()
        with WebClient(WebAddress(odd.url, timeout=0.5)) as client, pytest.raises(Unavailable) as caught:
            list(client.find(Level.STUDY, {}))
        assert caught.value.reason in ("NO_ANSWER", "ASSOCIATION_LOST") and time.monotonic() - started < 30


def test_credentials_go_nowhere_else(odd: Odd, dx_films: Films) -> None:
    elsewhere = Odd()
    odd.answer = says(302, Location=elsewhere.url)
    with WebClient(WebAddress(odd.url, "u", "p", timeout=5.0)) as client:
        with pytest.raises(Unavailable):
            list(client.find(Level.STUDY, {}))
        assert client.store(dx_films[0][0]).outcome is Outcome.RETRY
    assert odd.asked and elsewhere.asked == []
    elsewhere.server.shutdown()
    elsewhere.server.server_close()


def failed_body(reason: int) -> bytes:
    answer = Dataset()
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2"
    item.FailureReason = reason
    answer.FailedSOPSequence = [item]
    return answer.to_json().encode()


@pytest.mark.parametrize(
    ("status", "body", "outcome", "error"),
    [
        (200, b"", Outcome.SENT, ""),
        (200, b"<html>", Outcome.SENT, ""),
        (202, failed_body(0xA700), Outcome.RETRY, "STATUS_A700"),
        (202, failed_body(0x0122), Outcome.PERMANENT, "STATUS_0122"),
        (409, failed_body(0xC000), Outcome.PERMANENT, "STATUS_C000"),
        (409, failed_body(0xA700), Outcome.RETRY, "STATUS_A700"),
        (409, b"", Outcome.RETRY, "HTTP_409"),
        (413, b"", Outcome.PERMANENT, "HTTP_413"),
        (415, b"", Outcome.PERMANENT, "HTTP_415"),
        (403, b"", Outcome.RETRY, "HTTP_403"),
        (500, b"", Outcome.RETRY, "HTTP_500"),
        (503, b"", Outcome.RETRY, "HTTP_503"),
    ],
)
def test_what_answers_mean(odd: Odd, status: int, body: bytes, outcome: Outcome, error: str) -> None:
    odd.answer = says(status, body, Content_Type="application/dicom+json")
    with WebClient(WebAddress(odd.url, timeout=10.0)) as client:
        sent = client.store(b"data", "1.2")
    assert (sent.outcome, sent.error) == (outcome, error) and len(odd.asked) == 1, "asked once"


def test_a_server_that_ignores_offset_does_not_hold_us_for_ever(odd: Odd) -> None:
    one = Dataset()
    one.StudyInstanceUID = generate_uid()
    odd.answer = says(200, b"[" + one.to_json().encode() + b"]", Content_Type="application/dicom+json")
    with WebClient(WebAddress(odd.url, timeout=10.0)) as client:
        assert [m.study_uid for m in client.find(Level.STUDY, {}, page=1)] == [one.StudyInstanceUID]


@pytest.mark.parametrize("body", [b"nonsense", b'[{"00080018": 7}]', b"[1]"])
def test_answers_that_cannot_be_read(odd: Odd, body: bytes) -> None:
    odd.answer = says(200, body, Content_Type="application/dicom+json")
    with WebClient(WebAddress(odd.url, timeout=10.0)) as client, pytest.raises(Unavailable) as caught:
        list(client.find(Level.STUDY, {}))
    assert caught.value.reason == "BAD_ANSWER"


def test_nobody_there(dx_films: Films) -> None:
    with WebClient(WebAddress("http://127.0.0.1:9/x", timeout=5.0)) as client:
        sent = client.store(dx_films[0][0])
    assert (sent.outcome, sent.error, sent.may_have_arrived) == (Outcome.RETRY, "NO_CONNECTION", False)
