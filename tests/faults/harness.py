"""What fault tests share: processes that can be killed, films and who sends them, the exact count at the end."""

from __future__ import annotations

import functools
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from tests.support import free_port
from vidi.phantoms import SEVERITIES, PhantomSpec, make, to_dicom
from vidi_gateway.dimse.receiver import Received
from vidi_gateway.dimse.scu import Address, Sent, echo
from vidi_gateway.dimse.sender import send_files
from vidi_gateway.objects import read_rejection
from vidi_gateway.store.database import Database
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.outbox import Outbox
from vidi_gateway.store.records import ACTIVE, UNFINISHED, DeliveryState, StudyState, Verdict
from vidi_gateway.store.schema import analyses, arrivals, films, objects, outbox, studies

PATIENCE = 600.0
MODEL = "tiny-severity"
SR, SC = "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.7"
KOS = "1.2.840.10008.5.1.4.1.1.88.59"
#: What ended, for the summary that is printed at the end of the run.
COUNTS: list[str] = []


def wait(what: str, true: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait; fail when it does not come true."""
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, f"not in {patience:.0f} s: {what}"
        time.sleep(0.05)


# ---- processes ------------------------------------------------------------------------------------------------------


class Process:
    """A command that can be killed, frozen, and started again as it was."""

    def __init__(self, command: Sequence[str], log: Path, environment: dict[str, str], up: Callable[[], bool]) -> None:
        self.command = list(command)
        self.environment = environment
        self._log = log
        self._up = up
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait_for_it: bool = True) -> None:
        """Start, and wait until it answers."""
        assert not self.running
        with self._log.open("ab") as log:
            log.truncate(0)
            # Not in the checkout: Python looks for modules in the working directory first.
            options: dict[str, Any] = {"env": self.environment, "cwd": self._log.parent}
            self._process = subprocess.Popen(self.command, stdout=log, stderr=log, **options)
        if wait_for_it:
            self.ready()

    def ready(self) -> None:
        """Wait until it answers."""

        def answers() -> bool:
            assert self.running, f"{self.command[-1]} ended: {self.log}"
            return self._up()

        wait(f"{self.command[-1]} answers", answers, 240.0)

    def kill(self) -> None:
        """SIGKILL: no handler runs, nothing is flushed."""
        assert self._process is not None and self.running, f"it ended by itself: {self.log}"
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM; it has to end by itself, and without an error."""
        assert self._process is not None and self.running, f"it ended by itself: {self.log}"
        self._process.terminate()
        assert self._process.wait(120) == 0, self.log

    def end(self) -> None:
        """End it, if it runs: after a test, in no particular way."""
        if self.running:
            self.kill()

    def freeze(self) -> None:
        """SIGSTOP: it holds what it has, and does not answer."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What it wrote since it was started last."""
        return self._log.read_text(errors="replace")


def vidi(service: str, log: Path, up: Callable[[], bool] | None = None, **environment: str) -> Process:
    """A `vidi serve ...` process, not started yet."""
    command = [sys.executable, "-c", "from vidi.cli import main; main()", "serve", service]
    common = {"VIDI_PORT": "0", "VIDI_DRAIN_SECONDS": "0", "VIDI_GRACE_SECONDS": "1", "VIDI_TORCH_THREADS": "1"}
    process = Process(command, log, {**os.environ, **common, **environment}, up or (lambda: False))
    if up is None:
        process._up = lambda: "serving" in process.log
    return process


class Postgres(Protocol):
    """A PostgreSQL server that can be killed."""

    def database(self) -> str:
        """URL of a new, empty database."""

    def kill(self) -> None:
        """SIGKILL of the server's main process: all connections break, nothing is flushed."""

    def start(self) -> None:
        """Start it again over what it had written; returns when it takes connections."""


@dataclass
class Backends:
    """Classifier, explainer and clusterer, each a process with a port of its own, and their cache."""

    services: dict[str, Process]
    addresses: dict[str, str]
    valkey: Process


# ---- films ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Film:
    """A film as a Part 10 file."""

    data: bytes
    uid: str
    study: str

    @functools.cached_property
    def dataset(self) -> Dataset:
        """Read; do not change it."""
        return dcmread(io.BytesIO(self.data))

    @property
    def filed_under(self) -> tuple[str, str]:
        """Its study's UID and patient."""
        return _study(self.dataset)

    def changed(self, **values: Any) -> Film:
        """The same film with other attributes."""
        ds = dcmread(io.BytesIO(self.data))
        for keyword, value in values.items():
            setattr(ds, keyword, value)
        return film(ds)


def film(ds: Dataset) -> Film:
    """Write a dataset as a film."""
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return Film(buffer.getvalue(), str(ds.SOPInstanceUID), str(ds.StudyInstanceUID))


def draw(count: int) -> list[Film]:
    """Different films; every fourth one belongs to the study of the one before it."""
    drawn: list[Film] = []
    for i in range(count):
        phantom = make(PhantomSpec(seed=5000 + i, severity=SEVERITIES[i % 3], height=128, width=128))
        ds = dcmread(io.BytesIO(to_dicom(phantom)))
        if i % 4 == 3:
            before = drawn[-1].dataset
            for keyword in ("StudyInstanceUID", "StudyID", "StudyDate", "StudyTime", "AccessionNumber"):
                setattr(ds, keyword, before[keyword].value)
            ds.PatientID, ds.PatientName = before.PatientID, before.PatientName
            ds.InstanceNumber = 2
        else:
            ds.StudyInstanceUID = generate_uid()
        drawn.append(film(ds))
    assert len({f.uid for f in drawn}) == count
    return drawn


class Modality(threading.Thread):
    """Sends films over several associations at a time, and again what was not acknowledged, until all are."""

    def __init__(self, port: int, films: Sequence[Film], associations: int = 4, patience: float = PATIENCE) -> None:
        super().__init__(name="modality", daemon=True)
        self.acknowledged: Counter[int] = Counter()
        self.errors: list[BaseException] = []
        self._port = port
        self._films = films
        self._associations = associations
        self._end = time.monotonic() + patience
        self._lock = threading.Lock()

    def run(self) -> None:
        """Send."""
        parts = [range(i, len(self._films), self._associations) for i in range(self._associations)]
        threads = [threading.Thread(target=self._send, args=(p,), daemon=True) for p in parts if p]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def finished(self) -> None:
        """Wait until all is acknowledged."""
        self.join(PATIENCE)
        assert not self.errors, self.errors
        assert len(self.acknowledged) == len(self._films), f"{len(self.acknowledged)} of {len(self._films)} taken"

    @property
    def count(self) -> int:
        """How many films were acknowledged so far."""
        assert not self.errors, self.errors
        return len(self.acknowledged)

    def _send(self, part: Iterable[int]) -> None:
        try:
            self._send_all(list(part))
        except BaseException as error:
            self.errors.append(error)
            raise

    def _send_all(self, left: list[int]) -> None:
        while left and time.monotonic() < self._end:

            def heard(index: int, sent: Sent, asked: tuple[int, ...] = tuple(left)) -> None:
                if sent.status == 0:
                    with self._lock:
                        self.acknowledged[asked[index]] += 1

            send_files([self._films[i].data for i in left], "127.0.0.1", self._port, progress=heard, timeout=60.0)
            left = [i for i in left if i not in self.acknowledged]
            if left:
                time.sleep(0.3)


# ---- the gateway ----------------------------------------------------------------------------------------------------


class Site:
    """One gateway, or a front with workers, over one state.

    Parameters
    ----------
    folder
        Of its state.
    backends
        Its services.
    destinations
        Name and port, and more settings of each.
    url
        PostgreSQL; "": SQLite.
    environment
        More settings of all its processes.
    """

    def __init__(
        self,
        folder: Path,
        backends: Backends,
        destinations: Sequence[dict[str, Any]],
        url: str = "",
        **environment: str,
    ) -> None:
        self.folder = folder
        self.port = free_port()
        common = {"ae_title": "PACS", "host": "127.0.0.1", "confirm": "none", "timeout": 10}
        self.environment = {
            "VIDI_DATA_DIR": str(folder),
            "VIDI_DEFAULT_MODEL": MODEL,
            "VIDI_CLASSIFIER_ADDRESS": backends.addresses["classifier"],
            "VIDI_EXPLAINER_ADDRESS": backends.addresses["explainer"],
            "VIDI_CLUSTERER_ADDRESS": backends.addresses["clusterer"],
            "VIDI_HTTP_PORT": "-1",
            "VIDI_DIMSE_PORT": str(self.port),
            "VIDI_DESTINATIONS": json.dumps([common | d for d in destinations]),
            "VIDI_DATABASE_URL": url,
            "VIDI_LOW_DISK_BYTES": "0",
            "VIDI_SWEEP_SECONDS": "2",
            "VIDI_SETTLE_SECONDS": "0.5",
            "VIDI_RETRY_CAP_SECONDS": "1",
            "VIDI_DELIVERY_CAP_SECONDS": "1",
            "VIDI_HEARTBEAT_SECONDS": "0.5",
            "VIDI_RULES_FILE": "",
            **environment,
        }
        if not environment.get("VIDI_RULES_FILE"):
            del self.environment["VIDI_RULES_FILE"]
        self.database = Database(
            url.replace("postgresql://", "postgresql+psycopg://") or f"sqlite:///{folder / 'journal.sqlite3'}"
        )
        self.database.create_schema()
        self.journal, self.outbox = Journal(self.database), Outbox(self.database, "test")
        self.processes: dict[str, Process] = {}
        asked = any(d.get("confirm") for d in destinations)
        self._undelivered = (DeliveryState.PENDING, DeliveryState.SENT) if asked else (DeliveryState.PENDING,)

    def process(
        self, name: str = "gateway", service: str = "gateway", *, wait_for_it: bool = True, **environment: str
    ) -> Process:
        """A process of this site, started."""
        up = self._answers if service == "gateway" else None
        settings = self.environment | {"VIDI_EXECUTOR_ID": name} | environment
        self.processes[name] = vidi(service, self.folder.parent / f"{name}.log", up, **settings)
        self.processes[name].start(wait_for_it=wait_for_it)
        return self.processes[name]

    def front_and_workers(self, **environment: str) -> tuple[Process, Process]:
        """A front and two workers; returns the workers."""
        one = {"VIDI_CONCURRENCY": "1"} | environment
        first, second = (self.process(f"worker-{i}", "worker", wait_for_it=False, **one) for i in range(2))
        self.process("front", wait_for_it=False, VIDI_ROLE="front", **environment)
        for process in self.processes.values():
            process.ready()
        return first, second

    def modality(self, films: Sequence[Film], **options: Any) -> Modality:
        """Start to send."""
        modality = Modality(self.port, films, **options)
        modality.start()
        return modality

    def send(self, *films: Film | bytes) -> None:
        """Send over one association; all must be acknowledged."""
        sent = send_files([f.data if isinstance(f, Film) else f for f in films], "127.0.0.1", self.port, timeout=120.0)
        assert [s.status for s in sent] == [0] * len(films), [(s.status, s.error) for s in sent]

    def states(self) -> Counter[str]:
        """Number of films by state."""
        return Counter({state.value: n for state, n in self.journal.state_counts().items()})

    def done(self) -> int:
        """Number of films whose results were published."""
        return self.states()["done"]

    def wait_for_done(self, part: float) -> None:
        """Wait until so many films, at least one, are done."""
        wait("some are done", lambda: self.done() >= max(1, int(part)))

    def active(self) -> bool:
        """Whether films are not explained yet."""
        return any(n for state, n in self.states().items() if state in ACTIVE)

    def final(self) -> int:
        """Number of films to which nothing more happens."""
        return sum(n for state, n in self.states().items() if state not in UNFINISHED)

    def settle(self, count: int, *, alive: bool = True) -> None:
        """Wait until `count` films are final, nothing is left to compare or publish, and all is sent or set aside."""

        def settled() -> bool:
            for name, process in self.processes.items():
                assert not alive or process.running, f"{name} ended: {process.log}"
            return self.final() >= count and not self.busy()

        try:
            wait(f"{count} final films", settled)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.states()}, {self.outbox.counts()}\n{self.logs()}") from error

    def busy(self) -> bool:
        """Whether something will happen by itself: in one transaction, for what is finished there begins here."""
        questions = (
            sa.exists().where(films.c.state.in_(UNFINISHED)),
            sa.exists().where(arrivals.c.verdict == Verdict.PENDING),
            sa.exists().where(studies.c.state == StudyState.WAITING),
            sa.exists().where(outbox.c.state.in_(self._undelivered)),
        )
        with self.database.read() as c:
            return any(c.execute(sa.select(question)).scalar() for question in questions)

    def logs(self) -> str:
        """The last lines of all processes."""
        return "\n".join(f"--- {n}\n{p.log[-3000:]}" for n, p in self.processes.items())

    def scalar(self, statement: str) -> Any:
        """One value of the database."""
        with self.database.read() as c:
            return c.execute(sa.text(statement)).scalar()

    def close(self) -> None:
        """Stop what runs, and let go of the journal."""
        for process in self.processes.values():
            process.end()
        self.database.close()

    def _answers(self) -> bool:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)) != 0:
                return False
        return echo(Address("127.0.0.1", self.port, "VIDI", timeout=30.0))


# ---- the count ------------------------------------------------------------------------------------------------------


class Holds(Protocol):
    """Something that received objects."""

    @property
    def received(self) -> tuple[Received, ...]:
        """Everything that came, in order, repetitions included."""


@dataclass(frozen=True)
class Expected:
    """What there must be at the end.

    Attributes
    ----------
    films
        Acknowledged, as they are now.
    states
        Number of films by state; by default all are done.
    withdrawn
        UIDs of films that are current no more. A study without any other has no capture; it has a report, which says
        that it was withdrawn, if one had been sent before.
    before
        Films as they were before they were amended: the same goes for the studies that they were in.
    confirmed
        Whether the destination confirms what it has.
    """

    films: Sequence[Film]
    states: dict[str, int] = field(default_factory=dict)
    withdrawn: frozenset[str] = frozenset()
    before: Sequence[Film] = ()
    confirmed: bool = False


def count(fault: str, site: Site, pacs: Holds, expected: Expected | Sequence[Film], note: str = "") -> int:
    """Count exactly: nothing lost, nothing doubled, nothing that should not be; returns how many were rejected.

    Raises
    ------
    AssertionError
        With what is wrong.
    """
    if not isinstance(expected, Expected):
        expected = Expected(expected)
    sent = {f.uid: f for f in expected.films}
    states = Counter(expected.states or {"done": len(sent)})
    assert site.states() == states, f"{site.states()}\n{site.logs()}"
    with site.database.read() as c:
        rows = c.execute(sa.select(films.c.sop_instance_uid, films.c.state)).all()
        kept = Counter(r.sop_instance_uid for r in rows if r.state != "quarantined")
        lines = Counter(c.execute(sa.select(analyses.c.film_id)).scalars())
        current = {
            kind: set(
                c.execute(sa.select(objects.c.uid).where(objects.c.retired_at.is_(None) & (objects.c.kind == kind)))
                .scalars()
                .all()
            )
            for kind in ("sr", "sc")
        }
        posted = list(c.execute(sa.select(outbox.c.uid, outbox.c.state)).all())
    assert kept == Counter(dict.fromkeys(sent, 1)), "each acknowledged film is in the journal once"
    assert set(lines.values()) <= {1}, "one analysis a film"

    got = pacs.received
    by_uid: dict[str, set[str]] = {}
    for r in got:
        by_uid.setdefault(r.sop_instance_uid, set()).add(r.digest)
    assert all(len(d) == 1 for d in by_uid.values()), "the same UID with other bytes"
    good = (DeliveryState.CONFIRMED,) if expected.confirmed else (DeliveryState.SENT, DeliveryState.CONFIRMED)
    delivered = {uid for uid, state in posted if state in good}
    cancelled = {uid for uid, state in posted if state == DeliveryState.CANCELLED}
    assert len(posted) == len(delivered) + len(cancelled), f"set aside: {site.outbox.counts()}"
    assert set(by_uid) == delivered, "what was sent is there, and nothing else"

    datasets = {r.sop_instance_uid: dcmread(r.path) for r in got}
    rejected = {
        ref.sop_instance_uid
        for ds in datasets.values()
        if ds.SOPClassUID == KOS and (note_ := read_rejection(ds))
        for ref in note_.references
    }
    valid = [ds for uid, ds in datasets.items() if uid not in rejected]
    assert {str(ds.SOPClassUID) for ds in datasets.values()} <= {SR, SC, KOS}
    reports = [ds for ds in valid if ds.SOPClassUID == SR]
    captures = [ds for ds in valid if ds.SOPClassUID == SC]
    studies_of: dict[tuple[str, str], set[str]] = {}
    for f in sent.values():
        studies_of.setdefault(f.filed_under, set()).add(f.uid)
    for f in expected.before:
        studies_of.setdefault(f.filed_under, set())
    shown = {k: uids - expected.withdrawn for k, uids in studies_of.items()}
    told = {_study(ds) for ds in datasets.values() if ds.SOPClassUID == SR}
    assert Counter(map(_study, reports)) == Counter([k for k in shown if shown[k] or k in told]), "one current report"
    assert Counter(map(_study, captures)) == Counter([k for k in shown if shown[k]]), "one current capture a study"
    assert {str(ds.SOPInstanceUID) for ds in captures} == current["sc"]
    assert {str(ds.SOPInstanceUID) for ds in reports} == current["sr"]
    for report in reports:
        assert _films_of(report) & set(sent) >= shown[_study(report)], "the report names its films"
        if shown[_study(report)]:
            assert _films_of(report) & set(sent) <= studies_of[_study(report)], "and no other study's"
    again = len(got) - len(by_uid)
    states_text = ", ".join(f"{n} {s}" for s, n in sorted(states.items()))
    COUNTS.append(
        f"{fault}: {len(sent)} films acknowledged, {len(sent)} in the journal ({states_text}), 0 lost, 0 doubled; "
        f"{sum(map(bool, shown.values()))} studies, {len(reports)} current reports, {len(captures)} captures; "
        f"{len(rejected)} rejected, {again} sent again with the same bytes{'; ' + note if note else ''}"
    )
    return len(rejected)


def _study(ds: Dataset) -> tuple[str, str]:
    return str(ds.StudyInstanceUID), str(ds.PatientID)


def _films_of(report: Dataset) -> set[str]:
    """UIDs that a report names in its evidence."""
    found: set[str] = set()
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in report.get(keyword, ()):
            for series in study.ReferencedSeriesSequence:
                found |= {str(i.ReferencedSOPInstanceUID) for i in series.ReferencedSOPSequence}
    return found


def replaced(films_: Sequence[Film], *by: Film) -> list[Film]:
    """The films, some of them replaced by others with the same UID."""
    new = {f.uid: f for f in by}
    return [new.get(f.uid, f) for f in films_]
