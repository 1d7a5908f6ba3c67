"""A gateway in a process of its own, to be attacked: is it alive, how large has it grown, does it still serve?

How much is thrown at it: VIDI_HOSTILE_SCALE times what is usual, 1 unless set (`make test-faults` sets it).
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from tests import support
from tests.support import backends
from vidi.embedded import Suite
from vidi.phantoms import PhantomSpec, make, to_dicom
from vidi_gateway.dimse.scu import Address, Outcome, echo
from vidi_gateway.dimse.sender import send_files
from vidi_gateway.store.database import Database
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.records import UNFINISHED, FilmState

PATIENCE = 300.0
#: Growth of the gateway's resident memory that is still bounded, at its peak.
MEMORY = 600 << 20
MAX_FILM = 8 << 20
SECRET = "Verysecret^Patient"

__all__ = ["backends"]  # a fixture of this folder


def wait_until(what: str, true: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait; fail when it does not come true."""
    support.wait_until(what, true, patience)


def phantom(seed: int, **attributes: Any) -> Dataset:
    """A valid film of its own, to be spoiled. Its patient's name is one that must appear nowhere."""
    ds = dcmread(io.BytesIO(to_dicom(make(PhantomSpec(seed=seed, severity="mild", height=128, width=128)))))
    ds.PatientName = SECRET
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def part10(ds: Dataset) -> bytes:
    """A data set as a file."""
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=False)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def scale() -> int:
    """Factor on the number of attacks."""
    return int(os.environ.get("VIDI_HOSTILE_SCALE", "1"))


@dataclass
class Target:
    """`vidi serve gateway`, and what is seen of it from outside."""

    process: subprocess.Popen[bytes]
    data_dir: Path
    port: int
    grpc: str
    http: str
    journal: Journal
    resting: int = 0
    good: int = 0
    _seeds: Iterator[int] = field(default_factory=lambda: iter(range(10_000, 1 << 30)))

    @property
    def log(self) -> str:
        """What it wrote."""
        return (self.data_dir / "gateway.log").read_text(errors="replace")

    def fresh(self, **attributes: Any) -> Dataset:
        """A film that it has not seen."""
        return phantom(next(self._seeds), **attributes)

    def store(self, *films: bytes) -> list[str]:
        """Send films by C-STORE; returns their fates, such as "sent" or "permanent STATUS_C000"."""
        sent = send_files(films, "127.0.0.1", self.port, timeout=60.0)
        return [f"{s.outcome.value} {s.error}".strip() for s in sent]

    def status(self, name: str) -> int:
        """A figure of /proc/PID/status in bytes: "VmRSS" now, "VmHWM" at the peak."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) << 10
        raise AssertionError(f"no {name}: it is gone")

    @property
    def threads(self) -> int:
        """Its threads."""
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    @property
    def audit_count(self) -> int:
        """Records in the audit trail."""
        with self.journal.database.read() as c:
            return int(c.exec_driver_sql("SELECT count(*) FROM audit").scalar_one())

    def outcomes(self) -> dict[str, int]:
        """Outcomes in the audit trail."""
        with self.journal.database.read() as c:
            return {
                str(o): int(n) for o, n in c.exec_driver_sql("SELECT outcome, count(*) FROM audit GROUP BY outcome")
            }

    def files(self) -> int:
        """Films that it keeps, and whatever else came into its hands."""
        kept = ("films", "arrivals")
        return sum(1 for folder in kept for path in (self.data_dir / "files" / folder).rglob("*") if path.is_file())

    def counts(self) -> dict[FilmState, int]:
        """Films by state."""
        return self.journal.state_counts()

    def films(self) -> int:
        """Films in the journal."""
        return sum(self.counts().values())

    def quiet(self) -> None:
        """Wait until it has nothing to do."""
        wait_until("nothing is worked on", lambda: not any(self.counts().get(state, 0) for state in UNFINISHED))

    def still_serves(self) -> None:
        """It lives, has not grown without bound, and the next modality notices nothing."""
        assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.log[-3000:]}"
        before = self.films()
        assert self.store(part10(self.fresh())) == ["sent"]
        assert self.films() == before + 1
        self.good += 1
        assert self.status("VmHWM") - self.resting < MEMORY
        assert SECRET not in self.log
        assert "Verysecret" not in self.log


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def target(backends: Suite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A running gateway, the same for all attacks."""
    data_dir = tmp_path_factory.mktemp("hostile")
    port, grpc, http = _port(), _port(), _port()
    environment = {
        **os.environ,
        "VIDI_DATA_DIR": str(data_dir),
        "VIDI_DEFAULT_MODEL": "tiny-severity",
        "VIDI_CLASSIFIER_ADDRESS": backends.addresses["classifier"],
        "VIDI_EXPLAINER_ADDRESS": backends.addresses["explainer"],
        "VIDI_PORT": str(grpc),
        "VIDI_HTTP_PORT": str(http),
        "VIDI_DIMSE_PORT": str(port),
        "VIDI_DIMSE_TIMEOUT": "2",
        "VIDI_IDLE_TIMEOUT": "3",
        "VIDI_MAX_FILM_BYTES": str(MAX_FILM),
        "VIDI_LOW_DISK_BYTES": "0",
        "VIDI_DRAIN_SECONDS": "0",
        "VIDI_SWEEP_SECONDS": "2",
        "VIDI_SETTLE_SECONDS": "0",
        "VIDI_LOG_LEVEL": "INFO",
    }
    command = [sys.executable, "-c", "from vidi.cli import main; main()", "serve", "gateway"]
    with (data_dir / "gateway.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    database = Database(f"sqlite:///{data_dir / 'journal.sqlite3'}")
    running = Target(process, data_dir, port, f"127.0.0.1:{grpc}", f"http://127.0.0.1:{http}", Journal(database))

    def answers() -> bool:
        assert process.poll() is None, running.log
        with contextlib.closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return False
        return echo(Address("127.0.0.1", port, "VIDI", timeout=30.0))

    try:
        wait_until("it answers", answers)
        # Its first films load what it needs: from then on it has no reason to grow.
        for seed in range(3):
            assert running.store(part10(phantom(seed))) == [Outcome.SENT.value]
        running.quiet()
        assert running.counts().get(FilmState.DONE) == 3, running.log[-3000:]
        running.good = 3
        running.resting = running.status("VmRSS")
        yield running
        running.still_serves()
        running.quiet()
        done = running.counts().get(FilmState.DONE, 0)
        assert done >= running.good, "every good film between the attacks has its result"
    finally:
        support.stop(process)
        database.close()


@pytest.fixture
def attack(target: Target) -> Iterator[Target]:
    """The gateway, which has to serve on after the test."""
    yield target
    target.still_serves()
