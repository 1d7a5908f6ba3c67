"""A DICOM node over a real journal and file store, and films to send to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vidi.phantoms import PhantomSpec, make, to_dicom
from vidi_gateway.dimse.commitment import Commitment
from vidi_gateway.dimse.scp import Node
from vidi_gateway.pipeline.intake import Intake
from vidi_gateway.rules import Rules
from vidi_gateway.settings import GatewaySettings
from vidi_gateway.store.arrivals import Arrivals
from vidi_gateway.store.audit import Audit
from vidi_gateway.store.database import Database
from vidi_gateway.store.files import FileStore
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.lifecycle import Lifecycle
from vidi_gateway.store.site_key import SiteKey


@dataclass
class Listening:
    """An open node and what it works on."""

    node: Node
    journal: Journal
    arrivals: Arrivals
    audit: Audit
    store: FileStore
    root: Path

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.node.port

    @property
    def kept_files(self) -> list[Path]:
        """Files in the store."""
        return sorted(p for p in self.root.rglob("*") if p.is_file())


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Callable[..., Listening]]:
    """Opens nodes; settings are keyword arguments."""
    with ExitStack() as stack:

        def opened(on_commitment: Callable[[Commitment], object] | None = None, **changes: Any) -> Listening:
            values: dict[str, Any] = {"data_dir": tmp_path, "dimse_port": 0, "low_disk_bytes": 0, "dimse_timeout": 20.0}
            settings = GatewaySettings(**(values | changes))
            database = Database(settings.journal_url)
            stack.callback(database.close)
            database.create_schema()
            journal, audit = Journal(database), Audit(database)
            lifecycle = Lifecycle(journal)
            arrivals, store = Arrivals(journal), FileStore(tmp_path / "files")
            intake = Intake(
                settings,
                rules=Rules.load(settings.rules_file, settings),
                journal=journal,
                arrivals=arrivals,
                lifecycle=lifecycle,
                audit=audit,
                store=store,
                site_key=SiteKey.open(settings.site_key_path),
                on_change=lambda: None,
            )
            node = Node(settings, intake, audit, on_commitment)
            node.open()
            stack.callback(node.close)
            return Listening(node, journal, arrivals, audit, store, store.root)

        yield opened


@pytest.fixture(scope="session")
def phantom() -> bytes:
    """A phantom's film as a DX file."""
    return to_dicom(make(PhantomSpec(seed=11, severity="mild", height=256, width=256)))


@pytest.fixture(scope="session")
def phantoms() -> list[bytes]:
    """Some different films."""
    return [to_dicom(make(PhantomSpec(seed=s, severity="severe", height=256, width=256))) for s in range(20, 24)]
