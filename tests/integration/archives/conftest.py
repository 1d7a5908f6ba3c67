"""A gateway in a process of its own, that can be killed; nobody classifies its films, so they stay unfinished."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from tests.support import free_port
from vidi.phantoms import PhantomSpec, make, to_dicom
from vidi_gateway.store.audit import Audit
from vidi_gateway.store.database import Database
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.pulls import Pulls

PATIENCE = 240.0


class Served:
    """`vidi serve gateway` over a data directory."""

    def __init__(self, root: Path, **environment: str) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.dimse_port, self.http_port = free_port(), free_port()
        nobody = f"127.0.0.1:{free_port()}"
        self.environment = {
            **os.environ,
            "VIDI_DATA_DIR": str(root),
            "VIDI_PORT": "0",
            "VIDI_HTTP_PORT": str(self.http_port),
            "VIDI_DIMSE_PORT": str(self.dimse_port),
            "VIDI_CLASSIFIER_ADDRESS": nobody,
            "VIDI_EXPLAINER_ADDRESS": nobody,
            "VIDI_CLUSTERER_ADDRESS": nobody,
            "VIDI_LOW_DISK_BYTES": "0",
            "VIDI_DRAIN_SECONDS": "0",
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.http = httpx.Client(base_url=self.url, timeout=60, trust_env=False)
        self._database = Database(f"sqlite:///{root / 'journal.sqlite3'}")
        self._database.create_schema()
        self.journal, self.audit, self.pulls = Journal(self._database), Audit(self._database), Pulls(self._database)

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-c", "from vidi.cli import main; main()", "serve", "gateway"]
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        self.wait("it answers", self._answers)

    def kill(self) -> None:
        """SIGKILL: no handler runs, nothing is flushed."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Stop it by SIGTERM; it has to end by itself."""
        self.http.close()
        self._database.close()
        if self._process and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(60)
            finally:
                if self._process.poll() is None:
                    self._process.kill()

    @property
    def log(self) -> str:
        """What it wrote."""
        return (self.root / "log").read_text()

    def uids(self) -> set[str]:
        """SOP Instance UIDs of the films in the journal."""
        ids = self.journal.page(10_000)
        return {self.journal.film(i).sop_instance_uid for i in ids}

    def sources(self) -> set[str]:
        """How they came."""
        return {self.journal.film(i).source for i in self.journal.page(10_000)}

    def wait(self, what: str, true: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Wait; fail when it does not come true, or when the process ends."""
        end = time.monotonic() + patience
        while not true():
            assert self._process is not None and self._process.poll() is None, self.log[-3000:]
            assert time.monotonic() < end, f"not in {patience:.0f} s: {what}\n{self.log[-3000:]}"
            time.sleep(0.05)

    def pull_ended(self, pull_id: str) -> dict[str, Any]:
        """Wait until a pull has ended; return how."""
        self.wait("the pull ends", lambda: self.pull(pull_id)["state"] not in ("listing", "running"))
        return self.pull(pull_id)

    def pull(self, pull_id: str) -> dict[str, Any]:
        """A pull as it stands."""
        answer = self.http.get(f"/api/v1/pulls/{pull_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def _answers(self) -> bool:
        try:
            return self.http.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Starts gateways; settings are environment variables."""
    with ExitStack() as stack:

        def served(*, start: bool = True, **environment: str) -> Served:
            made = Served(tmp_path / "gateway", **environment)
            stack.callback(made.close)
            if start:
                made.start()
            return made

        yield served


def varied(film: bytes, **changes: Any) -> bytes:
    """A film under another UID, with other attributes and slightly other pixels."""
    ds = dcmread(io.BytesIO(film))
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


class Relay:
    """A port that leads to another one while it is open: a network that can be taken away."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = free_port()
        self._listener: socket.socket | None = None
        self._connections: list[socket.socket] = []
        #: Bytes from the other side after which the next connection breaks; 0: never.
        self.breaks_after = 0

    def open(self) -> None:
        """Lead there from now on."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections, and break those that there are."""
        if self._listener:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._connections += [near, far]
                limit, self.breaks_after = self.breaks_after, 0
                for source, sink, most in ((near, far, 0), (far, near, limit)):
                    threading.Thread(target=self._pump, args=(source, sink, most), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, most: int) -> None:
        count = 0
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                count += len(data)
                if most and count > most:
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def relay() -> Iterator[Callable[[int], Relay]]:
    """Makes relays, closed."""
    made: list[Relay] = []

    def to(target: int) -> Relay:
        made.append(Relay(target))
        return made[-1]

    yield to
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def dx_film() -> bytes:
    """A phantom's film that the gate lets pass."""
    return to_dicom(make(PhantomSpec(seed=11, severity="mild", height=256, width=256)))


@pytest.fixture(scope="session")
def studies(dx_film: bytes) -> dict[str, list[bytes]]:
    """Twelve studies of two films each, in January 2024; the name of the patient must not show up anywhere."""
    made: dict[str, list[bytes]] = {}
    for i in range(12):
        study, series = generate_uid(), generate_uid()
        header = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "StudyDate": f"202401{i + 1:02d}"}
        header |= {"PatientName": "Canary^Carla", "PatientID": f"CANARY-{i}", "Modality": "DX"}
        made[study] = [varied(dx_film, **header) for _ in range(2)]
    return made


def archives(*listed: dict[str, Any]) -> str:
    """The setting."""
    return json.dumps(listed)
