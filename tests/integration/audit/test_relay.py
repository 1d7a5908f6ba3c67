"""The relay carries every record to file and repository, whatever of them is down meanwhile."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import trustme

from vidi_gateway.audit.files import AuditFile
from vidi_gateway.audit.relay import Relay, relay_of
from vidi_gateway.audit.settings import RecordSettings
from vidi_gateway.store.audit import Audit
from vidi_gateway.store.database import Database
from vidi_gateway.store.leases import Lease
from vidi_gateway.store.site_key import SiteKey

SYSLOG = re.compile(
    rb"<85>1 (\S+Z) \S+ vidi \d+ DICOM\+RFC3881 - \xef\xbb\xbf(<AuditMessage>.*</AuditMessage>)", re.DOTALL
)


class Repository:
    """An audit record repository: takes octet-counted frames (RFC 5425, RFC 6587) over TCP or TLS."""

    def __init__(self, context: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.messages: list[bytes] = []
        self._context = context
        self._connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Go away, with all connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            connection.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
                if self._context:
                    connection = self._context.wrap_socket(connection, server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        try:
            with connection.makefile("rb") as stream:
                while digits := stream.read(1):
                    while (more := stream.read(1)) != b" ":
                        digits += more
                    self.messages.append(stream.read(int(digits)))
        except (OSError, ValueError):
            return


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Audit]:
    database = Database(f"sqlite:///{tmp_path / 'journal.sqlite3'}")
    database.create_schema()
    yield Audit(database, SiteKey(b"k" * 32))
    database.close()


@pytest.fixture
def relay(trail: Audit, tmp_path: Path) -> Iterator[Callable[..., Relay]]:
    opened: list[Relay] = []

    def make(*, start: bool = True, **values: Any) -> Relay:
        made = relay_of(RecordSettings(data_dir=tmp_path, **values), trail, "VIDI", shared=False)
        assert made is not None
        if start:
            opened.append(made)
            made.start()
        return made

    yield make
    for one in opened:
        one.close()


def until(what: Callable[[], bool], patience: float = 60.0) -> None:
    end = time.monotonic() + patience
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def films_of(messages: list[bytes]) -> list[str]:
    found = []
    for message in messages:
        match = SYSLOG.fullmatch(message)
        assert match, message
        tree = ET.fromstring(match[2])
        found.append(tree.findall("ParticipantObjectIdentification")[0].get("ParticipantObjectID", ""))
    return found


def test_without_targets_there_is_no_relay(trail: Audit, tmp_path: Path) -> None:
    assert relay_of(RecordSettings(data_dir=tmp_path), trail, "VIDI", shared=False) is None


def test_json_and_udp(trail: Audit, relay: Callable[..., Relay], tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as repository:
        repository.bind(("127.0.0.1", 0))
        repository.settimeout(60)
        path = tmp_path / "logs" / "audit.jsonl"
        relay(audit_file=path, audit_syslog=f"udp://127.0.0.1:{repository.getsockname()[1]}")
        for i in range(5):
            trail.note("instance taken", film_id=f"f{i}", source="dimse:M@10.0.0.5")
        got = [repository.recv(65536) for _ in range(5)]
    assert films_of(got) == [f"f{i}" for i in range(5)]
    until(lambda: trail.unexported_count() == 0)
    assert [json.loads(line)["film_id"] for line in path.read_text().splitlines()] == [f"f{i}" for i in range(5)]
    assert path.stat().st_mode & 0o077 == 0


def test_a_repository_that_is_down_gets_everything_later(
    trail: Audit, relay: Callable[..., Relay], tmp_path: Path
) -> None:
    repository = Repository()
    path = tmp_path / "audit.xml"
    relay(audit_file=path, audit_file_format="xml", audit_syslog=f"tcp://127.0.0.1:{repository.port}")
    for i in range(10):
        trail.note("instance taken", film_id=f"f{i}")
    until(lambda: trail.unexported_count() == 0)
    repository.close()
    for i in range(10, 700):
        trail.note("instance taken", film_id=f"f{i}")
    until(lambda: len(path.read_text().splitlines()) == 700)
    assert trail.unexported_count() > 0, "the file has them, the repository does not"
    again = Repository(port=repository.port)
    until(lambda: trail.unexported_count() == 0)
    got = films_of(repository.messages + again.messages)
    assert set(got) == {f"f{i}" for i in range(700)}
    assert len(path.read_text().splitlines()) == 700, "the file got nothing twice"
    again.close()


def test_a_restart_goes_on_where_it_stopped(trail: Audit, relay: Callable[..., Relay], tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    first = relay(start=False, audit_file=path)
    trail.note("instance taken", film_id="f1")
    assert first.relay_once() == 1
    trail.note("instance taken", film_id="f2")
    path.write_text(path.read_text() + '{"torn')  # a crash in the middle of a line
    relay(start=False, audit_file=path).relay_once()
    one, torn, two = path.read_text().splitlines()
    assert (json.loads(one)["film_id"], torn, json.loads(two)["film_id"]) == ("f1", '{"torn', "f2")


def test_a_disk_that_is_full_loses_nothing(trail: Audit, relay: Callable[..., Relay], tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the directory should be")
    one = relay(start=False, audit_file=tmp_path / "logs" / "audit.jsonl")
    trail.note("instance taken", film_id="f1")
    assert one.relay_once() == 0
    assert trail.unexported_count() == 1


@pytest.mark.parametrize("trusted", [True, False])
def test_tls_checks_the_repository(trail: Audit, relay: Callable[..., Relay], tmp_path: Path, trusted: bool) -> None:
    ca, other = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    repository = Repository(context)
    (ca if trusted else other).cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    ours = ca.issue_cert("gateway.example")
    ours.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "own.pem"))
    one = relay(
        start=False,
        audit_syslog=f"tls://127.0.0.1:{repository.port}",
        audit_syslog_ca=tmp_path / "ca.pem",
        audit_syslog_certificate=tmp_path / "own.pem",
        audit_syslog_key=tmp_path / "own.pem",
    )
    trail.note("instance taken", film_id="f1")
    assert one.relay_once() == int(trusted)
    if trusted:
        until(lambda: films_of(repository.messages) == ["f1"])
    assert len(repository.messages) == int(trusted)
    repository.close()


def test_files_are_set_aside_by_size(tmp_path: Path) -> None:
    file = AuditFile(tmp_path / "audit.jsonl", max_bytes=100, keep=2)
    for i in range(6):
        file.send([f"{i}" * 60, f"{i}" * 60])
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
    assert [(tmp_path / n).read_text()[0] for n in names] == ["5", "4", "3"]


def test_one_process_relays_at_a_time(trail: Audit) -> None:
    one, two = (Lease(trail.database, "audit relay", holder, 0.5) for holder in ("one", "two"))
    assert one.hold() and one.hold() and not two.hold()
    one.release()
    assert two.hold() and not one.hold()
    time.sleep(0.6)
    assert one.hold(), "two did not come back"


@pytest.mark.parametrize("url", ["syslog://x", "tcp://", "udp://host/path", "tls://user@host", "host:514"])
def test_addresses_that_are_none(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="repository"):
        RecordSettings(data_dir=tmp_path, audit_syslog=url)
