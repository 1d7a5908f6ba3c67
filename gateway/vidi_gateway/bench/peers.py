"""The receivers, each a process of its own with its state on the same disk: ViDi's gateway, and Orthanc."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vidi.errors import PreconditionFailed, Unavailable
from vidi_gateway.bench.sender import Association
from vidi_gateway.store.database import Database
from vidi_gateway.store.journal import Journal

_PATIENCE = 120.0


class Receiver(ABC):
    """A storage SCP in a process of its own, running within the context.

    Parameters
    ----------
    directory
        Where its state goes; made if missing.
    """

    name: str
    ae_title: str
    guarantee: str

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> tuple[list[str], dict[str, str]]:
        """Return its command line, and what is added to its environment."""

    @abstractmethod
    def version(self) -> str:
        """Return what is measured."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return its settings, as far as they differ from its defaults or matter."""

    @abstractmethod
    def count(self) -> int:
        """Return how many films it has, by its own index."""

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        line, environment = self.command()
        with (self.directory / "log").open("wb") as log:
            self._process = subprocess.Popen(line, env={**os.environ, **environment}, stdout=log, stderr=log)  # noqa: S603
        deadline = time.monotonic() + _PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__(None, None, None)
                raise Unavailable(f"{self.name} does not start; see {self.directory / 'log'}")
            time.sleep(0.2)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def cpu_seconds(self) -> float | None:
        """Processor time that it has used so far, in all its threads; None where the system does not say."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _answers(self) -> bool:
        try:
            with Association(self.port, self.ae_title, "1.2.840.10008.1.1", timeout=5):
                return True
        except (OSError, Unavailable):
            return False


class ViDi(Receiver):
    """`vidi serve gateway`, which takes films in and works on none (`concurrency` is 0), as Orthanc works on none.

    Parameters
    ----------
    directory
        Its data directory.
    database_url
        PostgreSQL; "": SQLite in the data directory.
    """

    name, ae_title = "vidi", "VIDI"
    guarantee = (
        "Success after: film written to a file without a name (or a temporary one), fsync, named, directory fsynced, "
        "and the journal's transaction committed (SQLite WAL with synchronous=FULL, or PostgreSQL's own default)"
    )

    def __init__(self, directory: Path, database_url: str = "") -> None:
        super().__init__(directory)
        self._database_url = database_url

    def command(self) -> tuple[list[str], dict[str, str]]:
        """See `Receiver.command`."""
        environment = {
            "VIDI_DATA_DIR": str(self.directory),
            "VIDI_DATABASE_URL": self._database_url,
            "VIDI_DIMSE_PORT": str(self.port),
            "VIDI_PORT": "0",
            "VIDI_HTTP_PORT": "-1",
            "VIDI_CONCURRENCY": "0",
            "VIDI_MAX_QUEUED": "1000000",
            "VIDI_LOW_DISK_BYTES": "0",
        }
        return [sys.executable, "-c", "from vidi.cli import main; main()", "serve", "gateway"], environment

    def version(self) -> str:
        """See `Receiver.version`."""
        from vidi import __version__

        return __version__

    def config(self) -> dict[str, Any]:
        """See `Receiver.config`."""
        database = "postgresql" if self._database_url else "sqlite"
        return {"role": "all", "concurrency": 0, "database": database, "guarantee": self.guarantee}

    def count(self) -> int:
        """See `Receiver.count`."""
        url = self._database_url.replace("postgresql://", "postgresql+psycopg://")
        database = Database(url or f"sqlite:///{self.directory / 'journal.sqlite3'}")
        try:
            return sum(Journal(database).state_counts().values())
        finally:
            database.close()


class Orthanc(Receiver):
    """Orthanc with its defaults: no plugins, index in SQLite, files on the disk.

    Raises
    ------
    PreconditionFailed
        When it is not installed.
    """

    name, ae_title = "orthanc", "ORTHANC"
    guarantee = (
        "Success after: film written and fsynced (SyncStorageArea, on by default), without fsync of its directory; "
        "index committed without fsync (SQLite WAL with synchronous=NORMAL)"
    )

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._http = free_port()
        found = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if not found:
            raise PreconditionFailed("Orthanc is not installed (Debian package orthanc)", reason="NO_ORTHANC")
        self._program = found

    def command(self) -> tuple[list[str], dict[str, str]]:
        """See `Receiver.command`."""
        storage = str(self.directory / "storage")
        config = {
            "Name": "ORTHANC",
            "StorageDirectory": storage,
            "IndexDirectory": storage,
            "HttpPort": self._http,
            "DicomPort": self.port,
            "DicomAet": self.ae_title,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
        }
        path = self.directory / "orthanc.json"
        path.write_text(json.dumps(config))
        return [self._program, str(path)], {}

    def version(self) -> str:
        """See `Receiver.version`."""
        return str(self._get("/system")["Version"])

    def config(self) -> dict[str, Any]:
        """See `Receiver.config`."""
        return {"plugins": [], "everything_else": "defaults", "guarantee": self.guarantee}

    def count(self) -> int:
        """See `Receiver.count`."""
        return int(self._get("/statistics")["CountInstances"])

    def _answers(self) -> bool:
        try:
            self._get("/system")
        except (urllib.error.URLError, ConnectionError):
            return False
        return super()._answers()

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._http}{path}", timeout=60) as answer:
            return json.load(answer)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
