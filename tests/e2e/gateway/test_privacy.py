"""Nothing of a patient reaches a log, the audit trail or its copies, a metric, an answer, or the journal.

Films that carry unmistakable names come in by every way, and everything is made to fail that can. The same scan finds
what is there on purpose, in every place that it looks at: an operator's words, a peer's title.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import grpc
import httpx
import numpy as np
import pytest
import sqlalchemy as sa
from pydicom import dcmread
from pydicom.uid import generate_uid

from vidi.api.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from vidi.phantoms import PhantomSpec, make, to_dicom
from vidi_gateway.audit.events import Event
from vidi_gateway.dimse.sender import send_files
from vidi_gateway.store.audit import Audit
from vidi_gateway.store.site_key import SiteKey

pytestmark = pytest.mark.timeout(1800)

#: Words of the patient: no other text of the test, of a phantom or of ViDi holds any of them.
NAME, GIVEN, PATIENT, ACCESSION = "QUUXWORTHY", "ZORABETH", "PIDQ7391X55", "ACCQ88213Z"
PLACE, REFERRER, COMMENT = "KLINIKQOR", "DRVRELK", "QUAGMIREFINDING"
WORDS = (NAME, GIVEN, PATIENT, ACCESSION, PLACE, REFERRER, COMMENT)
#: Words that are there on purpose: a stranger's AE title, an operator's name for a cohort.
STRANGER, COHORT = "STRANGEQAE", "COHORTQNAME"


def film(seed: int, **changes: Any) -> bytes:
    ds = dcmread(io.BytesIO(to_dicom(make(PhantomSpec(seed=seed, severity="severe", height=256, width=256)))))
    ds.PatientName, ds.PatientID, ds.AccessionNumber = f"{NAME}^{GIVEN}", f"{PATIENT}-{seed}", f"{ACCESSION}-{seed}"
    ds.InstitutionName, ds.ReferringPhysicianName, ds.PatientComments = PLACE, REFERRER, COMMENT
    ds.StudyInstanceUID, ds.SOPInstanceUID = generate_uid(), generate_uid()
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def spoiled(data: bytes) -> list[bytes]:
    """Films of the same patient that cannot be taken, or not be processed."""
    ds = dcmread(io.BytesIO(data))
    ds.PixelData = ds.PixelData[: len(ds.PixelData) // 2]
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return [
        buffer.getvalue(),  # truncated pixels
        film(901, BodyPartExamined=COMMENT, ViewPosition=COMMENT),  # another part of the body, with a name for it
        film(902, Modality="MR"),
        film(903, PatientAge="9Y", PatientBirthDate="notadate", StudyDate=COMMENT),  # values of no valid form
        film(904, Rows=7),
        film(905, SpecificCharacterSet=["ISO 2022 IR 87", COMMENT]),
    ]


@dataclass
class Syslog:
    """A repository that keeps what it gets (UDP)."""

    socket: socket.socket
    received: list[bytes] = field(default_factory=list)

    def listen(self) -> None:
        """Receive until the socket is closed."""
        while True:
            try:
                self.received.append(self.socket.recv(65536))
            except OSError:
                return


@pytest.fixture
def repository() -> Iterator[Syslog]:
    opened = Syslog(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    opened.socket.bind(("127.0.0.1", 0))
    threading.Thread(target=opened.listen, daemon=True).start()
    yield opened
    opened.socket.close()


def found(word: str, places: dict[str, bytes]) -> set[str]:
    """Where a word stands, in any case, as text of one byte or two a letter, or base64."""
    needles = [re.escape(word.encode()), re.escape(word.encode("utf-16-le")), re.escape(word.encode("utf-16-be"))]
    pattern = re.compile(b"|".join(needles), re.IGNORECASE)
    return {name for name, data in places.items() if pattern.search(data)}


def decoded(xml: bytes) -> bytes:
    """An audit message with its base64 values as plain text behind it."""
    text = xml.decode("utf-8", "replace")
    tree = ET.fromstring(text[text.index("<AuditMessage") :])
    return xml + b"".join(base64.b64decode(d.get("value", "")) for d in tree.iter("ParticipantObjectDetail"))


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_no_patient_anywhere(
    launch: Callable[..., Any],
    port: int,
    dead_port: int,
    repository: Syslog,
    tmp_path: Path,
    database: str,
    request: pytest.FixtureRequest,
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        grpc_port = probe.getsockname()[1]
    more = {"VIDI_DATABASE_URL": request.getfixturevalue("postgres")} if database == "postgresql" else {}
    audit_file = tmp_path / "audit.jsonl"
    gateway = launch(
        ("down", dead_port),
        VIDI_HTTP_PORT=str(port),
        VIDI_PORT=str(grpc_port),
        VIDI_AUDIT_FILE=str(audit_file),
        VIDI_AUDIT_SYSLOG=f"udp://127.0.0.1:{repository.socket.getsockname()[1]}",
        VIDI_ALLOWED_PEERS="VIDI@127.0.0.1,MODALITY@127.0.0.1",
        VIDI_DELIVERY_ATTEMPTS="2",
        VIDI_LOG_LEVEL="DEBUG",
        **more,
    )
    good = [film(800 + i) for i in range(4)]
    bad = spoiled(good[0])
    answers: list[bytes] = []
    base = f"http://127.0.0.1:{port}"

    # C-STORE
    gateway.send(good[0], *bad)
    other_pixels = dcmread(io.BytesIO(good[0]))
    other_pixels.PixelData = other_pixels.PixelData[::-1]
    again = io.BytesIO()
    other_pixels.save_as(again, enforce_file_format=True)
    amended = dcmread(io.BytesIO(good[0]))
    amended.PatientID = f"{PATIENT}-CORRECTED"
    corrected = io.BytesIO()
    amended.save_as(corrected, enforce_file_format=True)
    gateway.send(again.getvalue(), corrected.getvalue(), good[0])
    send_files([good[0]], "127.0.0.1", gateway.port, "VIDI", calling_ae=STRANGER, timeout=30.0)

    # REST and STOW-RS, and words where no words should be
    with httpx.Client(base_url=base, timeout=120) as rest:
        dicom = {"content-type": "application/dicom"}
        for data in (good[1], *bad, NAME.encode() * 100, again.getvalue()):
            answers.append(rest.post("/api/v1/films", content=data, headers=dicom).content)
        # Ids that do not exist are named to whoever asked for them, and to nobody else.
        rest.post("/api/v1/films", content=good[1], headers=dicom, params={"model": NAME})
        rest.get(f"/api/v1/films/{NAME}", params={"model": PATIENT})
        answers.append(rest.get("/api/v1/films", params={"page_token": f"{NAME}"}).content)
        answers.append(rest.post("/api/v1/cohorts", json={"film_ids": NAME, "labels": {NAME: PATIENT}}).content)
        answers.append(rest.post("/api/v1/operations/delivery", json={"state": NAME, "actor": PATIENT}).content)
        boundary = "b0undary"
        parts = b"".join(
            b"--%s\r\nContent-Type: application/dicom\r\n\r\n%s\r\n" % (boundary.encode(), data)
            for data in (good[2], *bad, NAME.encode())
        )
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        body = parts + b"--" + boundary.encode() + b"--\r\n"
        stored = rest.post("/dicomweb/studies", content=body, headers={"content-type": kind})
        assert stored.status_code == 202, stored.text  # some were refused; the answer names instances to who sent them
        assert found(NAME, {"answer": stored.content}) == set()

        # gRPC
        with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
            stub = gateway_pb2_grpc.StudyServiceStub(channel)
            for data in (good[3], *bad, NAME.encode() * 50):
                try:
                    stub.SubmitInstance(gateway_pb2.SubmitInstanceRequest(dicom=data), timeout=300)
                except grpc.RpcError as e:
                    answers.append(str(e.details()).encode() + repr(e.trailing_metadata()).encode())
            with pytest.raises(grpc.RpcError):
                stub.GetResult(gateway_pb2.GetResultRequest(film_id=NAME), timeout=60)

        gateway.settle(4)
        done = [r for r in gateway.records().values() if r.state.value == "done"]
        assert len(done) >= 3, gateway.states()

        # Reading, merging, withdrawing
        one = done[0]
        for stored in one.objects:
            url = f"/api/v1/films/{one.film_id}/objects/{stored.uid}"
            assert rest.get(url, params={"kind": stored.kind}).status_code == 200
        assert rest.get(f"/api/v1/films/{one.film_id}/maps.npz").status_code == 200
        merge = {
            "prior": {"id": f"{PATIENT}-802"},
            "surviving": {"id": f"{PATIENT}-803", "name": f"{NAME}^{GIVEN}"},
        }
        merged = rest.post("/api/v1/patients/merge", json=merge)
        assert merged.json()["films"] == 1, merged.text
        answers.append(merged.content)
        message = f"MSH|^~\\&|A|B|C|D|20250101||ADT^A40|1|P|2.5\rPID|1||{PATIENT}^^^{PLACE}||{NAME}^{GIVEN}\r"
        rest.post("/api/v1/patients/merge", content=message.encode(), headers={"content-type": "application/hl7-v2"})
        gateway.settle(4)
        withdrawn = rest.post("/api/v1/operations/withdraw", json={"film_ids": [one.film_id], "reason": "safety"})
        assert withdrawn.status_code == 200, withdrawn.text
        made = rest.post("/api/v1/cohorts", json={"film_ids": [r.film_id for r in done], "display_name": COHORT})
        exported = _export(base, made.json()["id"], tmp_path / "export")
        metrics = rest.get("/metrics").content
        answers.append(rest.get("/api/v1/operations/audit", params={"limit": 5000}).content)
        answers.append(rest.get("/api/v1/operations/status").content)
        verified = json.loads(_command("verify-audit", "--server", base, "--json").stdout)
        assert verified["intact"] and verified["unchained"] == 0, verified
    gateway.stop()

    trail = Audit(gateway.journal.database, SiteKey.open(gateway.data_dir / "site.key"))
    assert trail.unexported_count() == 0
    places = {
        "log": gateway.log.encode(),
        "audit file": audit_file.read_bytes(),
        "syslog": b"\n".join(decoded(m) for m in repository.received),
        "audit table": repr(trail.page(10_000)).encode(),
        "metrics": metrics,
        "answers": b"\n".join(answers),
        "export": exported,
        **_databases(gateway, database),
    }
    assert len(repository.received) >= verified["records"]
    for word in WORDS:
        assert found(word, places) == set(), word
    uids = {str(dcmread(io.BytesIO(f), stop_before_pixels=True)[k].value) for f in good for k in ("StudyInstanceUID",)}
    for uid in uids:
        assert found(uid, places) == set(), "studies are known by keyed digests only"
    instances = {str(dcmread(io.BytesIO(f), stop_before_pixels=True).SOPInstanceUID) for f in good}
    for uid in instances:
        assert found(uid, places) <= {"journal"}, "where results are made from"

    # The scan can find: what is there on purpose, in every place.
    assert found(STRANGER, places) >= {"log", "audit file", "syslog", "audit table", "answers"}
    assert found(COHORT, places) == {"journal"}
    assert found("vidi_audit", places) >= {"metrics"}
    assert found("labels.csv", places) == {"export"}
    films = {p.name: p.read_bytes() for p in (gateway.data_dir / "files").rglob("*.dcm")}
    assert found(NAME, films), "the films themselves hold it"

    events = {r.event for r in trail.page(10_000)}
    expected = {Event.STARTED, Event.STOPPED, Event.TAKEN, Event.REFUSED, Event.NOT_TAKEN, Event.ASSOCIATION_REJECTED}
    expected |= {Event.QUARANTINED, Event.AMENDED, Event.READ, Event.MERGED, Event.WITHDRAWN, Event.NOT_DELIVERED}
    expected |= {Event.EXPORTED, Event.TRAIL_READ, Event.NOT_OBEYED}
    assert expected <= events, expected - events


def _databases(gateway: Any, database: str) -> dict[str, bytes]:
    """Everything that stands in journal and workflow engine, as bytes."""
    if database == "sqlite":
        return {
            "journal": b"".join(p.read_bytes() for p in gateway.data_dir.glob("journal.sqlite3*")),
            "workflows": b"".join(p.read_bytes() for p in gateway.data_dir.glob("workflows.sqlite3*")),
        }
    dump: dict[str, list[str]] = {"journal": [], "workflows": []}
    with gateway.journal.database.read() as c:
        inspector = sa.inspect(c)
        for schema in inspector.get_schema_names():
            if schema in ("information_schema", "pg_catalog"):
                continue
            for table in inspector.get_table_names(schema):
                rows = c.execute(sa.text(f'SELECT t::text FROM "{schema}"."{table}" t')).scalars().all()
                dump["journal" if schema == "public" else "workflows"] += [table, *map(str, rows)]
    assert "workflow_status" in dump["workflows"]
    return {name: "\n".join(rows).encode() for name, rows in dump.items()}


def _export(base: str, cohort: str, output: Path) -> bytes:
    """Export by the command line; returns everything that it wrote, names included."""
    done = _command(
        "export", cohort, "-o", str(output), "--server", base, "--json", "--shift-dates", "--keep-age-and-sex"
    )
    manifest = json.loads(done.stdout)
    assert done.returncode == 3 and manifest["left_out"] == {"NOT_DONE": 1}, (manifest, done.stderr)
    assert manifest["films"] >= 2 and manifest["deidentification"]["editions"] == ["2026c"]
    rows = list(csv.DictReader((output / "labels.csv").open()))
    assert len(rows) == manifest["films"] == len(list((output / "films").iterdir()))
    for row in rows:
        ds = dcmread(output / "films" / f"{row['name']}.dcm")
        assert (ds.PatientID, ds.SOPInstanceUID) == (row["patient_id"], row["sop_instance_uid"])
        assert abs(sum(float(v) for k, v in row.items() if k.startswith("probability_")) - 1) < 1e-3
        with np.load(output / "maps" / f"{row['name']}.npz") as maps:
            assert {f"map_{k.removeprefix('logit_')}" for k in row if k.startswith("logit_")} <= set(maps.files)
    names = sorted(str(p.relative_to(output)) for p in output.rglob("*") if p.is_file())
    assert set(names) == {*manifest["sha256"], "manifest.json"}
    return "\n".join(names).encode() + b"".join((output / n).read_bytes() for n in names) + done.stderr.encode()


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from vidi.cli import main; main()", "gateway", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
