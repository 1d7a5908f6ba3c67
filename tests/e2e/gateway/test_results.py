"""The life of a result, as an archive sees it: one report a study, late films, amendments, rejections, withdrawals."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from tests.support import part10, uid_of
from vidi.phantoms import PhantomSpec, make, to_dicom
from vidi_gateway.dimse.receiver import Receiver
from vidi_gateway.objects import RejectionNote, RejectionReason, read_rejection

# Processes are started and killed: minutes on a machine that does much else.
pytestmark = pytest.mark.timeout(1800)

Launch = Callable[..., Any]
Wait = Callable[..., None]
SR, SC, PM = "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.30"
KOS = "1.2.840.10008.5.1.4.1.1.88.59"


def in_study(film: bytes, study_uid: str, **changes: Any) -> bytes:
    ds = dcmread(io.BytesIO(film))
    ds.StudyInstanceUID = study_uid
    ds.PatientID, ds.PatientName = "PRIOR-77", "Canary^Carla"
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    return part10(ds)


class Archive:
    """What a receiver holds, as an archive would that obeys rejection notes."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def all(self, sop_class: str) -> list[Dataset]:
        return [dcmread(r.path) for r in self._receiver.received if r.sop_class_uid == sop_class]

    def notes(self) -> list[RejectionNote]:
        read = [read_rejection(ds) for ds in self.all(KOS)]
        assert None not in read
        return [note for note in read if note]

    def current(self, sop_class: str) -> list[Dataset]:
        rejected = {r.sop_instance_uid for n in self.notes() for r in n.references}
        return [ds for ds in self.all(sop_class) if ds.SOPInstanceUID not in rejected]


@pytest.fixture
def archive(receiver: Receiver) -> Archive:
    return Archive(receiver)


@pytest.fixture
def study_films() -> list[bytes]:
    """Three films of one study."""
    study = str(generate_uid())
    films = [to_dicom(make(PhantomSpec(seed=700 + i, severity="severe", height=256, width=256))) for i in range(3)]
    return [in_study(f, study, InstanceNumber=i + 1) for i, f in enumerate(films)]


def text_of(report: Dataset) -> str:
    found: list[str] = []

    def walk(items: Any) -> None:
        for item in items:
            found.append(str(item.get("TextValue", "")))
            walk(item.get("ContentSequence", ()))

    walk(report.ContentSequence)
    return "\n".join(found)


def film_id(gateway: Any, film: bytes) -> str:
    return str(gateway.records()[uid_of(film)].film_id)


def test_two_films_one_report_and_a_late_one_amends_it(
    launch: Launch, receiver: Receiver, archive: Archive, study_films: list[bytes]
) -> None:
    gateway = launch(("pacs", receiver.port, ["sr", "sc", "pm"]), VIDI_SETTLE_SECONDS="2")
    gateway.send(*study_films[:2])
    gateway.settle(2)
    assert [len(archive.all(kind)) for kind in (SR, SC, PM, KOS)] == [1, 1, 12, 0]
    (first,) = archive.all(SR)
    evidence = first.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    named = {i.ReferencedSOPInstanceUID for s in evidence for i in s.ReferencedSOPSequence}
    assert {uid_of(f) for f in study_films[:2]} <= named

    gateway.send(study_films[2])
    gateway.settle(3)
    assert [len(archive.all(kind)) for kind in (SR, SC, PM, KOS)] == [2, 2, 18, 1], "no map was sent twice"
    (note,) = archive.notes()
    assert note.reason is RejectionReason.QUALITY
    assert {r.sop_instance_uid for r in note.references} == {
        first.SOPInstanceUID,
        archive.all(SC)[0].SOPInstanceUID,
    }
    (second,) = archive.current(SR)
    predecessors = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert [p.ReferencedSOPInstanceUID for p in predecessors] == [first.SOPInstanceUID]
    assert "Canary" not in gateway.log and "PRIOR-77" not in gateway.log


def test_corrected_demographics_withdraw_and_reissue(
    launch: Launch, receiver: Receiver, archive: Archive, study_films: list[bytes]
) -> None:
    gateway = launch(("pacs", receiver.port, ["sr", "sc", "pm"]))
    gateway.send(study_films[0])
    gateway.settle(1)
    corrected = dcmread(io.BytesIO(study_films[0]))
    corrected.PatientID, corrected.PatientName = "CORRECT-88", "Other^Olga"
    gateway.send(part10(corrected))
    gateway.settle(1)
    assert gateway.states() == {"done": 1}
    by_patient = {str(r.PatientID): r for r in archive.current(SR)}
    assert set(by_patient) == {"PRIOR-77", "CORRECT-88"}
    assert str(by_patient["CORRECT-88"].PatientName) == "Other^Olga"
    assert "PredecessorDocumentsSequence" not in by_patient["CORRECT-88"], "another patient's report is not named"
    assert "withdrawn" in text_of(by_patient["PRIOR-77"]).lower(), "who looks there learns that it was wrong"
    assert len(archive.current(SC)) == 1 and len(archive.current(PM)) == 6 and len(archive.all(PM)) == 12
    notes = archive.all(KOS)
    assert {n.PatientID for n in notes} == {"PRIOR-77"}, "the note is filed where the wrong objects are"
    assert {n.reason for n in archive.notes()} == {RejectionReason.WORKLIST}
    assert sum(len(n.references) for n in archive.notes()) == 8


def test_a_rejection_note_takes_results_back_and_bars_the_film(
    launch: Launch,
    receiver: Receiver,
    archive: Archive,
    study_films: list[bytes],
    rejection_note: Callable[[list[bytes], str], bytes],
) -> None:
    gateway = launch(("pacs", receiver.port))
    gateway.send(*study_films[:2])
    gateway.settle(2)
    before = archive.current(SR)[0].SOPInstanceUID
    gateway.send(rejection_note(study_films[:1], "113001"), rejection_note(study_films[2:], "113037"))
    gateway.settle(2)
    assert gateway.states() == {"withdrawn": 1, "done": 1}
    (report,) = archive.current(SR)
    assert report.SOPInstanceUID != before
    assert "withdrawn" in text_of(report).lower()
    assert all(s.status == 0 for s in gateway.send(study_films[2], study_films[0]))
    gateway.settle(3)
    assert gateway.states() == {"withdrawn": 2, "done": 1}, "a film that was rejected before it came is not analysed"

    gateway.send(rejection_note(study_films[1:2], "113001"))
    gateway.settle(3)
    assert gateway.states() == {"withdrawn": 3}
    (last,) = archive.current(SR)
    assert "withdrawn" in text_of(last).lower() and archive.current(SC) == []
    assert (last.VerificationFlag, last.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert last.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    # Our own notes sent back to us change nothing.
    assert all(s.status == 0 for s in gateway.send(*[part10(n) for n in archive.all(KOS)]))
    assert gateway.states() == {"withdrawn": 3}


def test_operators_withdraw_by_film_and_by_model(
    launch: Launch, receiver: Receiver, archive: Archive, phantoms: list[bytes], port: int
) -> None:
    gateway = launch(("pacs", receiver.port), VIDI_HTTP_PORT=str(port))
    gateway.send(*phantoms[:3])
    gateway.settle(3)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=60) as rest:
        unknown = rest.post("/operations/withdraw", json={"film_ids": ["f0"], "reason": "quality"})
        assert (unknown.status_code, unknown.json()["reason"]) == (404, "NOT_FOUND")
        asked = {"film_ids": [film_id(gateway, phantoms[0])], "reason": "safety"}
        assert rest.post("/operations/withdraw", json=asked).json() == {"films": 1}
        gateway.settle(3)
        listed = rest.get("/operations/impact", params={"model": "tiny-severity"}).json()
        assert listed["count"] == 2 and {tuple(f["destinations"]) for f in listed["films"]} == {("pacs",)}
        wrong = rest.post("/operations/impact/withdraw", json={"model": "tiny-severity", "expected": 7})
        assert (wrong.status_code, wrong.json()["reason"]) == (409, "IMPACT_CHANGED")
        bulk = {"model": "tiny-severity", "expected": 2, "reason": "withdrawn"}
        assert rest.post("/operations/impact/withdraw", json=bulk).json() == {"films": 2}
        gateway.settle(3)
        assert gateway.states() == {"withdrawn": 3}
        assert len(archive.notes()) == 3 and archive.current(SC) == []
        assert all("withdrawn" in text_of(r).lower() for r in archive.current(SR))
        assert len(archive.current(SR)) == 3
        film = rest.get(f"/films/{film_id(gateway, phantoms[1])}").json()
        assert film["state"] == "withdrawn" and film["result"] is None
        again = rest.post(f"/films/{film_id(gateway, phantoms[1])}/retry")
        assert again.status_code == 202, "the film itself was not rejected"
        barred = rest.post(f"/films/{film_id(gateway, phantoms[0])}/retry")
        assert (barred.status_code, barred.json()["reason"]) == (409, "WITHDRAWN")
    gateway.settle(3)
    assert gateway.states() == {"withdrawn": 2, "done": 1}
    assert len(archive.current(SC)) == 1, "new UIDs: a rejected object does not come back under its name"
    assert gateway.audit.counts("withdrawn") == {"SAFETY": 1}


def test_shadow_computes_and_sends_nothing(
    launch: Launch, receiver: Receiver, phantoms: list[bytes], tmp_path: Path, wait: Wait
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[default]\nmode = "shadow"\n')
    gateway = launch(("pacs", receiver.port), VIDI_RULES_FILE=str(rules))
    gateway.send(*phantoms[:2])
    gateway.settle(2)
    assert gateway.states() == {"done": 2}
    assert all(len(r.objects) == 9 for r in gateway.records().values())
    assert receiver.received == () and gateway.outbox.counts() == {}


def test_a_report_does_not_wait_for_ever_and_names_what_is_pending(
    launch: Launch, receiver: Receiver, archive: Archive, study_films: list[bytes], wait: Wait, dead_port: int
) -> None:
    gateway = launch(("pacs", receiver.port), VIDI_STUDY_PATIENCE_SECONDS="3", VIDI_RETRY_CAP_SECONDS="1")
    gateway.send(study_films[0])
    gateway.settle(1)
    gateway.stop()
    gateway.environment["VIDI_EXPLAINER_ADDRESS"] = f"127.0.0.1:{dead_port}"
    gateway.start()
    gateway.send(study_films[1])
    wait("a report that names the pending film", lambda: len(archive.all(SR)) == 2)
    assert "PENDING" in text_of(archive.current(SR)[0])
    gateway.stop()
    gateway.environment["VIDI_EXPLAINER_ADDRESS"] = gateway.backends.addresses["explainer"]
    gateway.start()
    gateway.settle(2)
    assert gateway.states() == {"done": 2}
    (final,) = archive.current(SR)
    assert "PENDING" not in text_of(final)


def test_merged_patients_get_their_results_anew(
    launch: Launch, receiver: Receiver, archive: Archive, study_films: list[bytes], port: int
) -> None:
    gateway = launch(("pacs", receiver.port), VIDI_HTTP_PORT=str(port))
    gateway.send(study_films[0])
    gateway.settle(1)
    merge = {"prior": {"id": "PRIOR-77"}, "surviving": {"id": "SURVIVOR-1", "name": "Canary^Clara", "sex": "F"}}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=60) as rest:
        assert rest.post("/patients/merge", json=merge).json()["films"] == 1
        gateway.settle(1)
        by_patient = {str(r.PatientID): r for r in archive.current(SR)}
        assert str(by_patient["SURVIVOR-1"].PatientName) == "Canary^Clara"
        assert [n.PatientID for n in archive.all(KOS)] == ["PRIOR-77"]
        assert [n.reason for n in archive.notes()] == [RejectionReason.WORKLIST]
        assert [c.PatientID for c in archive.current(SC)] == ["SURVIVOR-1"]
        # A film that still comes under the old id goes to the surviving patient too.
        gateway.send(study_films[1])
        gateway.settle(2)
    assert {c.PatientID for c in archive.current(SC)} == {"SURVIVOR-1"}
    found = gateway.log + str([tuple(map(str, r.film.__dict__.values())) for r in gateway.records().values()])
    assert not any(word in found for word in ("PRIOR-77", "SURVIVOR-1", "Canary"))
