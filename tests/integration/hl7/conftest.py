"""An HL7 listener over a real journal, and what a hostile or careless sender does to it."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import trustme

from vidi_gateway.handlers.patients import PatientMerger
from vidi_gateway.hl7.handler import Merges
from vidi_gateway.hl7.listener import Listener
from vidi_gateway.hl7.merge import PatientMerge
from vidi_gateway.settings import GatewaySettings
from vidi_gateway.store.audit import Audit
from vidi_gateway.store.database import Database
from vidi_gateway.store.files import FileStore
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.lifecycle import Lifecycle
from vidi_gateway.store.records import NewFilm
from vidi_gateway.store.site_key import SiteKey
from vidi_gateway.threads import Threads

MESSAGE = (
    "MSH|^~\\&|ADT1|HOSPITAL|VIDI|RADIOLOGY|20261124120000||ADT^A40^ADT_A39|{control}|P|2.5||||||UNICODE UTF-8\r"
    "EVN|A40|20261124120000\r"
    "PID|1||{surviving}^^^HOSP^MR||Everywoman^Eve||19620320|F\r"
    "MRG|{prior}^^^HOSP^MR\r"
)


@dataclass
class Counting:
    """The real merger, which can be told to fail or to take its time, as a journal does that is away or slow."""

    inner: PatientMerger
    merges: list[PatientMerge] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    delay: float = 0.0

    def merge(self, merge: PatientMerge) -> int:
        time.sleep(self.delay)
        if self.failures:
            raise self.failures.pop()
        films = self.inner.merge(merge)
        self.merges.append(merge)
        return films


@dataclass
class Listening:
    """An open listener and what it works on."""

    listener: Listener
    merges: Merges
    merger: Counting
    journal: Journal
    lifecycle: Lifecycle
    audit: Audit
    site_key: SiteKey
    database_path: Path

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.listener.port

    def key(self, number: str, issuer: str = "HOSP") -> str:
        """A patient's keyed digest."""
        return self.site_key.patient_key(issuer, number)

    def add_film(self, number: int, patient: str, issuer: str = "HOSP") -> str:
        """Put a film of a patient into the journal."""
        film_id = f"f{number:031x}"
        key = self.key(patient, issuer)
        study = self.site_key.study_key(f"1.2.{number}", key)
        new = NewFilm(
            film_id,
            f"1.2.3.{number}",
            "1.2.840.10008.5.1.4.1.1.1.1",
            f"films/{film_id}.dcm",
            f"sha256:{number:064x}",
            1,
            "model",
            "test",
            1,
            study_key=study,
            patient_key=key,
        )
        assert self.journal.add_film(new, None)
        return film_id

    def outcomes(self, event: str) -> dict[str, int]:
        """Audit records of an event by outcome."""
        return self.audit.counts(event)


@pytest.fixture
def message() -> Callable[..., bytes]:
    """Makes ADT^A40 messages."""

    def make(control: str = "M1", prior: str = "123", surviving: str = "555") -> bytes:
        return MESSAGE.format(control=control, prior=prior, surviving=surviving).encode()

    return make


@pytest_asyncio.fixture
async def listen(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Opens listeners; settings are keyword arguments."""
    async with AsyncExitStack() as stack:

        async def opened(**changes: Any) -> Listening:
            values: dict[str, Any] = {"data_dir": tmp_path, "mllp_port": 0}
            settings = GatewaySettings(**(values | changes))
            database = Database(settings.journal_url)
            stack.callback(database.close)
            database.create_schema()
            threads = Threads("test", 4)
            stack.callback(threads.close)
            site_key = SiteKey.open(settings.site_key_path)
            journal, audit = Journal(database), Audit(database, site_key)
            lifecycle = Lifecycle(journal)
            store = FileStore(tmp_path / "files")
            merger = Counting(PatientMerger(lifecycle, store, site_key, settings.patient_issuer))
            merges = Merges(
                merger,
                audit,
                threads,
                site_key.mac,
                max_bytes=settings.mllp_max_bytes,
                codec=settings.mllp_charset,
                processing_id=settings.mllp_processing_id,
            )
            listener = Listener(settings, merges, settings.mllp_tls)
            await listener.open()
            stack.push_async_callback(listener.close)
            path = tmp_path / "journal.sqlite3"
            return Listening(listener, merges, merger, journal, lifecycle, audit, site_key, path)

        yield opened


@dataclass
class Authority:
    """A certificate authority, and files that it signed."""

    ca: trustme.CA
    directory: Path

    def issue(self, name: str, **options: Any) -> tuple[Path, Path]:
        """Certificate and key."""
        issued = self.ca.issue_cert("127.0.0.1", **options)
        certificate, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        issued.private_key_and_cert_chain_pem.write_to_path(certificate)
        issued.private_key_pem.write_to_path(key)
        return certificate, key

    @property
    def root(self) -> Path:
        """The authority's own certificate."""
        path = self.directory / "ca.pem"
        self.ca.cert_pem.write_to_path(path)
        return path


@pytest.fixture
def authority(tmp_path: Path) -> Callable[[str], Authority]:
    """Makes authorities."""

    def make(name: str) -> Authority:
        directory = tmp_path / name
        directory.mkdir()
        return Authority(trustme.CA(), directory)

    return make


@dataclass
class Raw:
    """A bare connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def block(self) -> bytes:
        """One answer without its frame."""
        async with asyncio.timeout(60):
            frame = await self.reader.readuntil(b"\x1c\r")
        assert frame.startswith(b"\x0b")
        return frame[1:-2]

    async def closed(self) -> bytes:
        """Wait until the other side closes; return what still came."""
        async with asyncio.timeout(60):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""


@pytest_asyncio.fixture
async def connect() -> AsyncIterator[Callable[..., Any]]:
    """Opens bare connections."""
    async with AsyncExitStack() as stack:

        async def opened(port: int, **options: Any) -> Raw:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24, **options)
            stack.callback(writer.close)
            return Raw(reader, writer)

        yield opened


@pytest.fixture
def other_port() -> Iterator[int]:
    """A port that is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield int(taken.getsockname()[1])
