"""C-FIND and C-MOVE at a real Orthanc."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset

from vidi.errors import InvalidInput, PreconditionFailed, Unavailable
from vidi_gateway.dimse.query import Querier
from vidi_gateway.dimse.receiver import Receiver
from vidi_gateway.dimse.sender import send_files
from vidi_gateway.matches import Level, Match

Films = list[tuple[bytes, Dataset]]


@pytest.fixture
def filled(orthanc: Any, dx_films: Films) -> Any:
    """An Orthanc with the films."""
    for data, _ in dx_films:
        orthanc.put(data)
    return orthanc


def test_studies_series_and_instances_are_found(filled: Any, dx_films: Films) -> None:
    one, two, three = (ds for _, ds in dx_films)
    with Querier(filled.address()) as querier:
        studies = list(querier.find(Level.STUDY, {"StudyDate": "20240101-20240131"}))
        assert {s.study_uid for s in studies} == {one.StudyInstanceUID, three.StudyInstanceUID}
        assert {s.study_uid: s.instances for s in studies} == {one.StudyInstanceUID: 2, three.StudyInstanceUID: 1}
        assert {s.modality for s in studies} == {"DX"} and all(s.level is Level.STUDY for s in studies)
        assert {s.date for s in studies} == {"20240101", "20240102"}
        (day,) = querier.find(Level.STUDY, {"StudyDate": "20240102"})
        assert day.study_uid == three.StudyInstanceUID
        (series,) = querier.find(Level.SERIES, {"StudyInstanceUID": one.StudyInstanceUID})
        assert (series.series_uid, series.instances, series.level) == (one.SeriesInstanceUID, 2, Level.SERIES)
        keys = {"StudyInstanceUID": one.StudyInstanceUID, "SeriesInstanceUID": one.SeriesInstanceUID}
        images = list(querier.find(Level.IMAGE, keys))
        assert {i.sop_uid for i in images} == {one.SOPInstanceUID, two.SOPInstanceUID}
        assert all(i.sop_class_uid == one.SOPClassUID and i.level is Level.IMAGE for i in images)
        assert list(querier.find(Level.IMAGE, keys | {"SOPInstanceUID": "1.2.3"})) == []


def test_patient_data_stay_out_of_what_a_match_shows(filled: Any) -> None:
    with Querier(filled.address()) as querier:
        found = list(querier.find(Level.STUDY, {"PatientID": "", "PatientName": "*"}))
    assert len(found) == 2
    for match in found:
        assert match.dataset.PatientID and str(match.dataset.PatientID) not in repr(match)


def test_a_limit_cancels_and_the_association_stays_of_use(filled: Any) -> None:
    with Querier(filled.address()) as querier:
        assert len(list(querier.find(Level.STUDY, {}, limit=1))) == 1
        first = querier.find(Level.STUDY, {})
        next(first)
        first.close()  # type: ignore[attr-defined]
        assert len(list(querier.find(Level.STUDY, {}))) == 2


def test_a_keyword_that_is_none_is_the_callers_mistake(orthanc: Any) -> None:
    with Querier(orthanc.address()) as querier, pytest.raises(InvalidInput) as caught:
        list(querier.find(Level.STUDY, {"PatientsName": "x"}))
    assert caught.value.reason == "NO_SUCH_KEYWORD"


def test_what_is_moved_arrives(filled: Any, dx_films: Films, tmp_path: Path) -> None:
    one, two, three = (ds for _, ds in dx_films)
    with Receiver(tmp_path, "VIDI", filled.modalities["VIDI"]) as receiver, Querier(filled.address()) as querier:
        answers = list(querier.move(Match(one.StudyInstanceUID, one.SeriesInstanceUID, two.SOPInstanceUID), "VIDI"))
        assert answers[-1].ok and answers[-1].completed == 1 and all(not a.done for a in answers[:-1])
        assert set(receiver.files) == {two.SOPInstanceUID}
        assert list(querier.move(Match(one.StudyInstanceUID), "VIDI"))[-1].ok
        assert list(querier.move(Match(three.StudyInstanceUID, three.SeriesInstanceUID), "VIDI"))[-1].ok
        assert set(receiver.files) == {ds.SOPInstanceUID for _, ds in dx_films}


def test_a_move_to_somebody_unknown_is_a_matter_of_configuration(filled: Any, dx_films: Films) -> None:
    with Querier(filled.address()) as querier, pytest.raises(PreconditionFailed) as caught:
        list(querier.move(Match(dx_films[0][1].StudyInstanceUID), "NOBODY"))
    assert caught.value.reason in ("MOVE_DESTINATION_UNKNOWN", "MOVE_NOT_ACCEPTED")


def test_a_move_to_somebody_who_is_down_fails(filled: Any, dx_films: Films) -> None:
    def moved() -> str:
        try:
            return "ok" if list(querier.move(Match(dx_films[0][1].StudyInstanceUID), "VIDI"))[-1].ok else "not ok"
        except (PreconditionFailed, Unavailable) as e:
            return e.reason

    with Querier(filled.address()) as querier:
        assert moved() in ("not ok", "MOVE_NOT_ACCEPTED", "STATUS_A701", "STATUS_A702")


def test_nodes_that_do_not_answer_or_do_not_know_us(orthanc: Any) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = orthanc.address()
        nowhere = type(address)("127.0.0.1", closed.getsockname()[1], "X")
        with pytest.raises(Unavailable) as caught, Querier(nowhere):
            pass
    assert caught.value.reason == "NO_ASSOCIATION"
    with pytest.raises(Unavailable) as caught, Querier(type(address)("no-such-host.invalid", 104, "X")):
        pass
    assert caught.value.reason == "NO_ASSOCIATION"
    with pytest.raises(Unavailable) as caught, Querier(type(address)("127.0.0.1", address.port, "WRONG")):
        pass
    assert caught.value.reason == "ASSOCIATION_REJECTED"


def test_sending_to_it_works_with_the_same_address(orthanc: Any, dx_films: Films) -> None:
    sent = send_files([d for d, _ in dx_films], "127.0.0.1", orthanc.dicom_port, "ARCHIVE", "VIDI")
    assert [s.status for s in sent] == [0, 0, 0] and orthanc.uids() == {ds.SOPInstanceUID for _, ds in dx_films}


def test_no_deflated_syntax_is_offered() -> None:
    """A small deflated answer may inflate without bound: neither we nor those who report to us may use one."""
    from pydicom.uid import DeflatedExplicitVRLittleEndian, generate_uid
    from pynetdicom import evt
    from pynetdicom.ae import ApplicationEntity

    from vidi_gateway.dimse.address import Address
    from vidi_gateway.dimse.commitment import CommitmentUser
    from vidi_gateway.dimse.contexts import commitment
    from vidi_gateway.dimse.scu import echo

    offered: list[str] = []

    def look(event: evt.Event) -> None:
        request: Any = event.assoc.requestor.primitive
        for context in request.presentation_context_definition_list:
            offered.extend(map(str, context.transfer_syntax))

    ae = ApplicationEntity("X")
    ae.add_supported_context("1.2.3")
    server: Any = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_REQUESTED, look)])
    address = Address("127.0.0.1", server.server_address[1], "X", timeout=10.0)
    try:
        with pytest.raises(PreconditionFailed), Querier(address):
            pass
        with pytest.raises(PreconditionFailed):
            CommitmentUser().request(address, generate_uid(), [("1.2", "1.3")])
        assert not echo(address)
    finally:
        ae.shutdown()
    assert offered and DeflatedExplicitVRLittleEndian not in offered
    assert DeflatedExplicitVRLittleEndian not in (commitment().transfer_syntax or [])
