"""Delivered means confirmed: by real archives over every protocol; and peers that lie, lose, refuse or hang up."""

from __future__ import annotations

import asyncio
import contextlib
import io
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity

from vidi_gateway.dimse.commitment import COMPLETE, NO_SUCH_OBJECT, STORAGE_COMMITMENT, WELL_KNOWN, WITH_FAILURES
from vidi_gateway.pipeline import confirmation as confirming
from vidi_gateway.pipeline.changes import Changes
from vidi_gateway.pipeline.confirmation import Confirmation, obey
from vidi_gateway.pipeline.delivery import Delivery
from vidi_gateway.settings import Destination, GatewaySettings
from vidi_gateway.store.database import Database
from vidi_gateway.store.files import FileStore
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.outbox import Outbox
from vidi_gateway.store.records import DeliveryState
from vidi_gateway.store.schema import outbox
from vidi_gateway.threads import Threads
from vidi_gateway.tls import ServerTls

USER, PASSWORD = "vidi", "correct horse"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
DX = "1.2.840.10008.5.1.4.1.1.1.1"
PATIENCE = 90.0


class Site:
    """An outbox, and what delivers and confirms; quick to lose patience."""

    def __init__(self, root: Path, film: bytes) -> None:
        self.root, self.film = root, film
        self.database = Database(f"sqlite:///{root / 'journal.sqlite3'}")
        self.database.create_schema()
        self.outbox = Outbox(self.database, "test", confirm_attempts=3, resend_cap=0.2)
        self.store = FileStore(root / "files")
        self.allowed = True

    def put(self, count: int, destination: str = "pacs") -> list[str]:
        """Objects to be sent; returns their UIDs."""
        uids, study, series = [], generate_uid(), generate_uid()
        for _ in range(count):
            ds = dcmread(io.BytesIO(self.film))
            ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            buffer = io.BytesIO()
            ds.save_as(buffer)
            uids.append(str(ds.SOPInstanceUID))
            key = f"results/{time.monotonic_ns()}.dcm"
            self.store.put_durable(key, buffer.getvalue())
            row: dict[str, Any] = {"film_id": "fa", "uid": uids[-1], "destination": destination, "key": key}
            row |= {"state": DeliveryState.PENDING, "attempts": 0, "next_attempt": 0.0}
            with self.database.write() as c:
                assert self.database.insert_new(c, outbox, row | {"created_at": 0.0, "updated_at": 0.0})
        return uids

    def run(self, *destinations: Destination, until: Callable[[], bool], **changes: Any) -> None:
        """Deliver and confirm until something is so."""

        async def main() -> None:
            values: dict[str, Any] = {"confirm_seconds": 60.0, "delivery_cap_seconds": 0.2, "ae_title": "VIDI"}
            settings = GatewaySettings(data_dir=self.root, destinations=destinations, **(values | changes))
            threads = Threads("test", 6)
            changed = Changes(Journal(self.database), threads)
            delivery = Delivery(settings, self.outbox, self.store, changed, threads, lambda: self.allowed)
            confirmation = Confirmation(settings, self.outbox, self.store, changed, threads)
            await delivery.start()
            confirmation.start()
            try:
                deadline = time.monotonic() + PATIENCE
                while not await asyncio.to_thread(until):
                    assert time.monotonic() < deadline, self.rows()
                    await asyncio.sleep(0.05)
            finally:
                await delivery.close()
                await confirmation.close()
                await changed.close()
                threads.close()

        asyncio.run(main())

    def counts(self) -> dict[str, int]:
        """Objects by state."""
        return {state.value: n for (_, state), n in self.outbox.counts().items()}

    def rows(self) -> list[tuple[str, str, int, int]]:
        """State, error, attempts and denials of each object."""
        with self.database.read() as c:
            rows = c.execute(outbox.select().order_by(outbox.c.id)).all()
        return [(r.state, r.last_error, r.attempts, r.denials) for r in rows]

    def all(self, state: str) -> Callable[[], bool]:
        """Whether every object is in a state."""
        return lambda: set(self.counts()) == {state}


@pytest.fixture
def site(tmp_path: Path, dx_film: bytes) -> Iterator[Site]:
    """A site."""
    opened = Site(tmp_path, dx_film)
    yield opened
    opened.database.close()


def node(port: int, ae_title: str = "ARCHIVE", **changes: Any) -> Destination:
    """A DIMSE destination on this machine."""
    return Destination(**({"name": "pacs", "ae_title": ae_title, "host": "127.0.0.1", "port": port} | changes))


def test_orthanc_commits_by_an_association_of_its_own(site: Site, listen: Callable[..., Any], orthanc: Any) -> None:
    ours = Outbox(site.database, "front")
    listen(dimse_port=orthanc.modalities["VIDI"], on_commitment=lambda c: obey(ours, c))
    uids = site.put(5)
    site.run(node(orthanc.dicom_port, confirm="commitment"), until=site.all("confirmed"))
    assert orthanc.uids() == set(uids)
    assert site.rows() == [("confirmed", "", 1, 0)] * 5


def test_a_stranger_cannot_report(listen: Callable[..., Any], site: Site) -> None:
    """Not by an association that the list of peers does not admit, and not for a transaction that is not ours."""
    heard: list[Any] = []
    opened = listen(allowed_peers="PACS@127.0.0.1", on_commitment=heard.append)

    def report(calling: str) -> bool:
        ae = ApplicationEntity(calling)
        ae.add_requested_context(STORAGE_COMMITMENT)
        association = ae.associate("127.0.0.1", opened.port, ae_title="VIDI")
        if not association.is_established:
            return False
        told = Dataset()
        told.TransactionUID = generate_uid()
        told.ReferencedSOPSequence = []
        status, _ = association.send_n_event_report(told, COMPLETE, STORAGE_COMMITMENT, WELL_KNOWN)
        association.release()
        return bool(status.get("Status") == 0)

    assert not report("STRANGER") and heard == []
    assert report("PACS") and len(heard) == 1, "without role selection, too"
    site.put(1)
    obey(site.outbox, heard[0])
    assert site.counts() == {"pending": 1}


def test_where_commitment_is_refused_a_query_confirms(site: Site, start_orthanc: Callable[..., Any]) -> None:
    modality = {"AET": "VIDI", "Host": "127.0.0.1", "Port": 9, "AllowStorageCommitment": False}
    orthanc = start_orthanc(DicomModalities={"VIDI": modality})
    uids = site.put(3)
    site.run(node(orthanc.dicom_port), until=site.all("confirmed"))
    assert orthanc.uids() == set(uids) and site.rows() == [("confirmed", "", 1, 0)] * 3


def test_a_report_that_never_reaches_us_is_replaced_by_a_query(
    site: Site, orthanc: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orthanc takes the request, and nobody listens where it reports to."""
    monkeypatch.setattr(confirming, "COMMITMENT_SECONDS", 1.0)
    site.put(2)
    site.run(node(orthanc.dicom_port), until=site.all("confirmed"))
    assert site.rows() == [("confirmed", "", 1, 0)] * 2


def test_stow_and_qido(site: Site, orthanc: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)
    web = Destination(name="pacs", protocol="dicomweb", url=orthanc.web, username=USER, password_file=secret)
    uids = site.put(4)
    site.run(web, until=site.all("confirmed"))
    assert orthanc.uids() == set(uids) and site.rows() == [("confirmed", "", 1, 0)] * 4


def test_what_an_archive_loses_is_sent_again(site: Site, orthanc: Any) -> None:
    uids = site.put(2)
    pacs = node(orthanc.dicom_port, confirm="query")
    entries = site.outbox.claim("pacs", 10)
    site.outbox.sent([e.id for e in entries], -1.0)  # acknowledged, and never stored
    site.run(pacs, until=site.all("confirmed"))
    assert orthanc.uids() == set(uids) and site.rows() == [("confirmed", "", 2, 1)] * 2


def test_unconfirmed_stays_sent_where_that_is_asked_for(site: Site, orthanc: Any) -> None:
    site.put(2)
    site.run(node(orthanc.dicom_port, confirm="none"), until=site.all("sent"))
    assert site.outbox.claim_sent("pacs", 10) == []


class Liar:
    """Accepts everything, stores what it is told to, and answers questions truly."""

    def __init__(self, *, commits: bool, finds: bool) -> None:
        self.stores = False
        self.stored: set[str] = set()
        self.heard: list[str] = []
        self.ae = ApplicationEntity("LIAR")
        self.ae.add_supported_context(DX)
        if finds:
            self.ae.add_supported_context(FIND)
        if commits:
            self.ae.add_supported_context(STORAGE_COMMITMENT)
        handlers: list[Any] = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_FIND, self._find),
            (evt.EVT_N_ACTION, self._act),
        ]
        server: Any = self.ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.port = int(server.server_address[1])

    def _store(self, event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        self.heard.append(uid)
        if self.stores:
            self.stored.add(uid)
        return 0

    def _find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        asked = event.identifier
        for uid in self.stored:  # whatever the key: some archives ignore it
            found = Dataset()
            found.QueryRetrieveLevel, found.SOPInstanceUID = "IMAGE", uid
            found.StudyInstanceUID, found.SeriesInstanceUID = asked.StudyInstanceUID, asked.SeriesInstanceUID
            yield 0xFF00, found

    def _act(self, event: Any) -> tuple[int, None]:
        asked = event.action_information
        has = [i for i in asked.ReferencedSOPSequence if i.ReferencedSOPInstanceUID in self.stored]
        lost = [i for i in asked.ReferencedSOPSequence if i.ReferencedSOPInstanceUID not in self.stored]
        for item in lost:
            item.FailureReason = NO_SUCH_OBJECT
        told = Dataset()
        told.TransactionUID = asked.TransactionUID
        told.ReferencedSOPSequence, told.FailedSOPSequence = has, lost

        def report() -> None:
            time.sleep(0.1)
            event_type = WITH_FAILURES if lost else COMPLETE
            event.assoc.send_n_event_report(told, event_type, STORAGE_COMMITMENT, WELL_KNOWN)

        threading.Thread(target=report, daemon=True).start()
        return 0, None


@pytest.fixture(params=["commitment", "query"])
def liar(request: pytest.FixtureRequest) -> Iterator[Liar]:
    """One that offers Storage Commitment, and one that can be queried only."""
    opened = Liar(commits=request.param == "commitment", finds=request.param == "query")
    yield opened
    opened.ae.shutdown()


def test_accepting_without_storing_is_found_out_set_aside_and_replayed(site: Site, liar: Liar) -> None:
    uids = site.put(2)
    pacs = node(liar.port, "LIAR")
    site.run(pacs, until=site.all("dead"), confirm_seconds=0.1)
    assert site.rows() == [("dead", "CONFIRMATION_FAILED", 3, 3)] * 2
    assert sorted(liar.heard) == sorted(uids * 3), "as often as allowed, and no more"
    liar.stores = True
    assert site.outbox.replay(destination="pacs") == 2
    site.run(pacs, until=site.all("confirmed"), confirm_seconds=0.1)
    assert liar.stored == set(uids)


def test_an_archive_that_takes_its_time_is_not_sent_everything_twice(site: Site, liar: Liar) -> None:
    uids = site.put(2)

    def stored() -> bool:
        if site.counts() == {"sent": 2} and any(error == "NOT_CONFIRMED" for _, error, _, _ in site.rows()):
            liar.stored.update(uids)  # now it has it
        return site.all("confirmed")()

    site.run(node(liar.port, "LIAR"), until=stored)
    assert sorted(liar.heard) == sorted(uids) and site.rows() == [("confirmed", "", 1, 0)] * 2


def test_nobody_to_ask(site: Site) -> None:
    """An archive that takes objects and answers no questions: they stay sent, and it is said why."""
    opened = Liar(commits=False, finds=False)
    try:
        site.put(1)
        site.run(
            node(opened.port, "LIAR"), until=lambda: site.rows()[0][1] == "CANNOT_BE_CONFIRMED", confirm_seconds=0.1
        )
        assert site.counts() == {"sent": 1} and len(opened.heard) == 1
    finally:
        opened.ae.shutdown()


class Relay:
    """A relay to a node: hangs up in the middle of a transfer, so many times; or speaks TLS before it."""

    def __init__(self, port: int, *, times: int = 0, after: int = 0, tls: ServerTls | None = None) -> None:
        self._port, self._times, self._after, self._tls = port, times, after, tls
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                limit = self._after if self._times > 0 else None
                self._times -= 1
                threading.Thread(target=self._relay, args=(client, limit), daemon=True).start()

    def _relay(self, client: socket.socket, limit: int | None) -> None:
        if self._tls:
            try:
                client = self._tls.context().wrap_socket(client, server_side=True)
            except OSError:
                return
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            threading.Thread(target=self._pump, args=(server, client, None), daemon=True).start()
            self._pump(client, server, limit)

    def _pump(self, source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                sink.sendall(data)
                passed += len(data)
                if limit is not None and passed > limit:
                    break
            for end in (source, sink):
                end.shutdown(socket.SHUT_RDWR)


def test_hanging_up_in_the_middle_of_a_transfer_loses_nothing(site: Site, orthanc: Any) -> None:
    relay = Relay(orthanc.dicom_port, times=3, after=len(site.film) + 6000)
    uids = site.put(6)
    site.run(node(relay.port, confirm="query"), until=site.all("confirmed"))
    assert orthanc.uids() == set(uids)
    assert any(attempts > 1 for _, _, attempts, _ in site.rows())
    relay.listener.close()


def test_a_destination_that_was_down(site: Site, start_orthanc: Callable[..., Any]) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        uids = site.put(3)
        site.run(node(port), until=lambda: all(r[2] >= 2 for r in site.rows()))
        assert {r[:2] for r in site.rows()} == {("pending", "NO_ASSOCIATION")}
    orthanc = start_orthanc(DicomPort=port)
    site.run(node(port, confirm="query"), until=site.all("confirmed"))
    assert orthanc.uids() == set(uids)


@contextlib.contextmanager
def storescp(directory: Path, *options: str) -> Iterator[int]:
    """Start dcmtk's storescp; stop it by its own pid."""
    program = shutil.which("storescp")
    assert program, "dcmtk is needed"
    directory.mkdir(exist_ok=True)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = int(s.getsockname()[1])
    line = [program, *options, "--output-directory", str(directory), "--aetitle", "DCMTK", str(port)]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize(
    ("option", "errors"),
    [
        ("--refuse", {"ASSOCIATION_REJECTED"}),
        ("--abort-after", {"NO_ANSWER", "ASSOCIATION_LOST"}),
        ("--abort-during", {"NO_ANSWER", "ASSOCIATION_LOST"}),
    ],
)
def test_dcmtk_refuses_or_aborts_and_then_takes_it(site: Site, tmp_path: Path, option: str, errors: set[str]) -> None:
    site.put(2)
    with storescp(tmp_path / "out", option) as port:
        site.run(node(port, "DCMTK", confirm="none", timeout=5.0), until=lambda: all(r[2] >= 2 for r in site.rows()))
        assert site.counts() == {"pending": 2} and {r[1] for r in site.rows()} <= errors
    with storescp(tmp_path / "out") as port:
        site.run(node(port, "DCMTK", confirm="none"), until=site.all("sent"))
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_one_destination_that_is_down_delays_no_other(site: Site, orthanc: Any) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        site.put(2, "down")
        site.put(2)
        down = node(silent.getsockname()[1], name="down", timeout=20.0)
        started = time.monotonic()
        site.run(
            down,
            node(orthanc.dicom_port, confirm="query"),
            until=lambda: site.outbox.counts().get(("pacs", DeliveryState.CONFIRMED)) == 2,
        )
        assert time.monotonic() - started < 30
    assert site.outbox.counts()[("down", DeliveryState.PENDING)] == 2


def test_stopping_takes_effect_between_two_objects(site: Site) -> None:
    class Stopper(Liar):
        def _store(self, event: Any) -> int:
            site.allowed = False
            return super()._store(event)

    opened = Stopper(commits=False, finds=True)
    opened.stores = True
    try:
        uids = site.put(5)
        pacs = node(opened.port, "LIAR")
        stopped_at: list[float] = []

        def quiet() -> bool:
            if site.counts() == {"pending": 4, "confirmed": 1}:
                stopped_at.append(time.monotonic())
            return any(time.monotonic() - at > 2.5 for at in stopped_at[:1])

        site.run(pacs, until=quiet)
        assert opened.heard == uids[:1], "not one more"
        assert [r[2] for r in site.rows()] == [1, 0, 0, 0, 0], "what was held back does not count as tried"
    finally:
        opened.ae.shutdown()


def test_what_is_retired_in_the_middle_of_a_batch_is_not_sent(site: Site) -> None:
    class Retiring(Liar):
        def _store(self, event: Any) -> int:
            with site.database.write() as c:
                where = outbox.c.uid.in_(uids[2:4])
                c.execute(outbox.update().where(where).values(state=DeliveryState.CANCELLED))
            return super()._store(event)

    opened = Retiring(commits=False, finds=True)
    opened.stores = True
    try:
        uids = site.put(5)
        site.run(node(opened.port, "LIAR"), until=lambda: site.counts() == {"confirmed": 3, "cancelled": 2})
        assert opened.heard == [uids[0], uids[1], uids[4]]
    finally:
        opened.ae.shutdown()


def test_through_tls_by_both_protocols(
    site: Site, start_orthanc: Callable[..., Any], authority: Any, foreign: Any, tmp_path: Path
) -> None:
    """HTTPS is a relay's before Orthanc: Debian's own dies of the first request by HTTPS."""
    certificate, key = authority.issue("orthanc", "localhost")
    orthanc = start_orthanc(
        DicomTlsEnabled=True,
        DicomTlsCertificate=str(certificate),
        DicomTlsPrivateKey=str(key),
        DicomTlsTrustedCertificates=str(authority.file),
    )
    https = Relay(int(orthanc.http.rpartition(":")[2]), tls=authority.server("https", "localhost"))
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)
    client = authority.client()
    ours = {"tls_ca": client.ca, "tls_certificate": client.certificate, "tls_key": client.key}
    dimse: dict[str, Any] = {"ae_title": "ARCHIVE", "host": "localhost", "port": orthanc.dicom_port, "tls": True}
    url = f"https://localhost:{https.port}/dicom-web"
    web: dict[str, Any] = {"protocol": "dicomweb", "url": url, "username": USER, "password_file": secret}
    good = Destination(name="dimse", **dimse, **ours, confirm="query"), Destination(name="web", **web, **ours)
    for destination in good:
        site.put(2, destination.name)
    site.run(*good, until=site.all("confirmed"))
    bad = {
        "untrusted": Destination(name="untrusted", **dimse, **(ours | {"tls_ca": foreign.file})),
        "name": Destination(name="name", **(dimse | {"host": "127.0.0.1"}), **ours),
        "nobody": Destination(name="nobody", **dimse, tls_ca=client.ca),
        "plain": Destination(name="plain", **(dimse | {"tls": False})),
        "web-untrusted": Destination(name="web-untrusted", **web, tls_ca=foreign.file),
        "web-nobody": Destination(name="web-nobody", **web, tls_ca=client.ca),
        "web-name": Destination(
            name="web-name", **(web | {"url": url.replace("localhost", "127.0.0.1")}), tls_ca=client.ca
        ),
        "web-system": Destination(name="web-system", **web),
        "files": Destination(name="files", **dimse, tls_ca=tmp_path / "missing.pem"),
    }
    for name in bad:
        site.put(1, name)

    def tried() -> dict[str, str]:
        with site.database.read() as c:
            rows = c.execute(outbox.select().where(outbox.c.destination.in_(bad) & (outbox.c.attempts > 0))).all()
        assert all(r.state == "pending" for r in rows)
        return {r.destination: r.last_error for r in rows}

    site.run(*(d.model_copy(update={"timeout": 4.0}) for d in bad.values()), until=lambda: len(tried()) == len(bad))
    errors = tried()
    assert errors.pop("web-nobody") in ("TLS_FAILED", "ASSOCIATION_LOST")
    assert errors.pop("nobody") in ("NO_ASSOCIATION", "TLS_FAILED") and errors.pop("plain") == "NO_ASSOCIATION"
    assert errors == {
        "untrusted": "CERTIFICATE_UNTRUSTED",
        "name": "CERTIFICATE_NAME",
        "web-untrusted": "CERTIFICATE_UNTRUSTED",
        "web-name": "CERTIFICATE_NAME",
        "web-system": "CERTIFICATE_UNTRUSTED",
        "files": "TLS_FILES",
    }
    https.listener.close()
