"""Other nodes to talk to: real Orthancs, a certificate authority, and objects to send."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from tests.support import free_port, stop
from vidi.phantoms import PhantomSpec, make, to_dicom
from vidi_gateway.dimse.address import Address
from vidi_gateway.tls import ClientTls, ServerTls

AE = "ARCHIVE"
USER, PASSWORD = "vidi", "correct horse"


@dataclass(frozen=True)
class Orthanc:
    """A running Orthanc."""

    http: str
    dicom_port: int
    log: Path
    modalities: dict[str, int]

    @property
    def web(self) -> str:
        """Its DICOMweb base URL."""
        return f"{self.http}/dicom-web"

    def address(self, **changes: Any) -> Address:
        """Where it is, by DIMSE."""
        return Address("127.0.0.1", self.dicom_port, AE, **({"timeout": 20.0} | changes))

    def call(self, path: str, body: bytes | None = None, method: str = "GET") -> Any:
        """Ask its own REST API."""
        request = urllib.request.Request(self.http + path, body, method=method)
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            data = answer.read()
        return json.loads(data) if data else None

    def uids(self) -> set[str]:
        """SOP Instance UIDs of everything that it has."""
        return {i["MainDicomTags"]["SOPInstanceUID"] for i in self.call("/instances?expand")}

    def put(self, film: bytes) -> None:
        """Store a film."""
        self.call("/instances", film, "POST")

    def clear(self) -> None:
        """Forget everything."""
        for patient in self.call("/patients"):
            self.call(f"/patients/{patient}", method="DELETE")


@contextmanager
def running(directory: Path, modalities: dict[str, int], **changes: Any) -> Iterator[Orthanc]:
    """Start Orthanc; stop it by its own pid."""
    program = shutil.which("Orthanc")
    assert program, "Orthanc is needed (Debian package orthanc)"
    directory.mkdir(parents=True)
    http, dicom = free_port(), changes.get("DicomPort") or free_port()
    config: dict[str, Any] = {
        "Name": AE,
        "StorageDirectory": str(directory / "storage"),
        "IndexDirectory": str(directory / "storage"),
        "HttpPort": http,
        "DicomPort": dicom,
        "DicomAet": AE,
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowStore": False,
        "DicomAlwaysAllowFind": False,
        "RemoteAccessAllowed": True,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "DefaultEncoding": "Utf8",
        "StableAge": 1,
        "DicomScuTimeout": 20,
        "DicomModalities": {
            name: {"AET": name, "Host": "127.0.0.1", "Port": port, "AllowStorageCommitment": True}
            for name, port in modalities.items()
        },
        "Plugins": ["/usr/share/orthanc/plugins"],
        "DicomWeb": {"Enable": True},
    }
    path, log = directory / "config.json", directory / "log"
    path.write_text(json.dumps(config | changes))
    with log.open("wb") as output:
        process = subprocess.Popen([program, "--verbose", str(path)], stdout=output, stderr=subprocess.STDOUT)
    try:
        yield _awaited(Orthanc(f"http://127.0.0.1:{http}", dicom, log, modalities), process)
    finally:
        stop(process)


def _awaited(orthanc: Orthanc, process: subprocess.Popen[bytes]) -> Orthanc:
    """Wait by its log: with TLS it does not survive connections that only look whether it is there."""
    deadline = time.monotonic() + 120
    while "Orthanc has started" not in orthanc.log.read_text(errors="replace"):
        assert process.poll() is None and time.monotonic() < deadline, orthanc.log.read_text()[-2000:]
        time.sleep(0.2)
    return orthanc


@pytest.fixture(scope="session")
def shared_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """One that knows VIDI, at a port that is kept free for it, and does everything."""
    with running(tmp_path_factory.mktemp("orthanc") / "shared", {"VIDI": free_port()}) as orthanc:
        yield orthanc


@pytest.fixture
def orthanc(shared_orthanc: Orthanc) -> Orthanc:
    """An empty Orthanc."""
    shared_orthanc.clear()
    return shared_orthanc


@pytest.fixture
def start_orthanc(tmp_path: Path) -> Iterator[Callable[..., Orthanc]]:
    """Starts Orthancs with other settings."""
    with ExitStack() as stack:

        def start(modalities: dict[str, int] | None = None, **changes: Any) -> Orthanc:
            directory = tmp_path / f"orthanc-{generate_uid()[-8:]}"
            return stack.enter_context(running(directory, modalities or {"VIDI": free_port()}, **changes))

        yield start


@pytest.fixture(scope="session")
def dx_film() -> bytes:
    """A phantom's film as a DX file."""
    return to_dicom(make(PhantomSpec(seed=11, severity="mild", height=96, width=96)))


def other(film: bytes, **changes: Any) -> tuple[bytes, Dataset]:
    """The film under another SOP Instance UID, with other attributes."""
    ds = dcmread(io.BytesIO(film))
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    buffer = io.BytesIO()
    ds.save_as(buffer)
    return buffer.getvalue(), ds


@pytest.fixture
def dx_films(dx_film: bytes) -> list[tuple[bytes, Dataset]]:
    """Three films: two in one study, one in another."""
    studies = [generate_uid(), generate_uid()]
    series = [generate_uid(), generate_uid()]
    return [
        other(
            dx_film,
            StudyInstanceUID=studies[i // 2],
            SeriesInstanceUID=series[i // 2],
            StudyDate=f"2024010{i // 2 + 1}",
        )
        for i in range(3)
    ]


class Authority:
    """A certificate authority and what it issues, as PEM files."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._ca = trustme.CA()
        self.file = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def issue(self, name: str, *identities: str, **options: Any) -> tuple[Path, Path]:
        """Issue a certificate: files of it and its key."""
        leaf = self._ca.issue_cert(*(identities or ("127.0.0.1", "localhost")), **options)
        certificate, key = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(str(key))
        return certificate, key

    def server(self, name: str = "server", *identities: str, mutual: bool = True) -> ServerTls:
        """TLS of a server."""
        certificate, key = self.issue(name, *identities)
        return ServerTls(certificate, key, self.file if mutual else None)

    def client(self, name: str = "client", **options: Any) -> ClientTls:
        """TLS of a client that trusts this authority and has a certificate of it."""
        certificate, key = self.issue(name, "client.example", **options)
        return ClientTls(self.file, certificate, key)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The site's."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Somebody else's."""
    return Authority(tmp_path_factory.mktemp("foreign"))
