"""Storage Commitment at a real Orthanc, which reports by a second association; and at nodes that do it otherwise."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity

from vidi.errors import PreconditionFailed, Unavailable
from vidi_gateway.dimse.address import Address
from vidi_gateway.dimse.commitment import (
    COMPLETE,
    NO_SUCH_OBJECT,
    STORAGE_COMMITMENT,
    WELL_KNOWN,
    WITH_FAILURES,
    Commitment,
    CommitmentUser,
    answer_event,
    read_commitment,
)
from vidi_gateway.dimse.contexts import accepted, commitment

Films = list[tuple[bytes, Dataset]]


class Listener:
    """Hears reports at a port, as the DICOM node does."""

    def __init__(self, port: int) -> None:
        self.heard: list[Commitment] = []
        self._came = threading.Event()
        self.ae = ApplicationEntity("VIDI")
        self.ae.supported_contexts = [*accepted(), commitment()]
        handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, lambda event: answer_event(event, self._hear))]
        self.ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)

    def _hear(self, heard: Commitment) -> None:
        self.heard.append(heard)
        self._came.set()

    def wait(self) -> Commitment:
        """The next report."""
        assert self._came.wait(60), "no report came"
        self._came.clear()
        return self.heard[-1]


@pytest.fixture
def listener(orthanc: Any) -> Iterator[Listener]:
    """Where Orthanc sends its reports."""
    opened = Listener(orthanc.modalities["VIDI"])
    yield opened
    opened.ae.shutdown()


def references(films: Films) -> list[tuple[str, str]]:
    return [(str(ds.SOPClassUID), str(ds.SOPInstanceUID)) for _, ds in films]


def test_what_it_has_is_committed(orthanc: Any, listener: Listener, dx_films: Films) -> None:
    for data, _ in dx_films:
        orthanc.put(data)
    transaction = generate_uid()
    answer = CommitmentUser().request(orthanc.address(), transaction, references(dx_films), wait=0.2)
    heard = answer or listener.wait()
    assert heard == Commitment(transaction, frozenset(uid for _, uid in references(dx_films)), {})


def test_what_it_has_not_is_denied(orthanc: Any, listener: Listener, dx_films: Films) -> None:
    orthanc.put(dx_films[0][0])
    transaction = generate_uid()
    answer = CommitmentUser().request(orthanc.address(), transaction, references(dx_films), wait=0.2)
    heard = answer or listener.wait()
    uids = [uid for _, uid in references(dx_films)]
    assert heard.transaction_uid == transaction and heard.committed == {uids[0]}
    assert heard.failed == {uids[1]: NO_SUCH_OBJECT, uids[2]: NO_SUCH_OBJECT}


def test_a_node_without_the_service_says_so_at_once(orthanc: Any, dx_films: Films) -> None:
    ae = ApplicationEntity("ECHO")
    ae.add_supported_context("1.2.840.10008.1.1")
    server: Any = ae.start_server(("127.0.0.1", 0), block=False)
    try:
        address = Address("127.0.0.1", server.server_address[1], "ECHO", timeout=10.0)
        with pytest.raises(PreconditionFailed) as caught:
            CommitmentUser().request(address, generate_uid(), references(dx_films))
        assert caught.value.reason == "SOP_CLASS_NOT_ACCEPTED"
    finally:
        ae.shutdown()


@pytest.fixture
def committing() -> Iterator[Callable[..., Address]]:
    """Opens nodes that answer N-ACTION as told, and report by the same association."""
    opened: list[ApplicationEntity] = []

    def start(status: int, report: bool = True) -> Address:
        ae = ApplicationEntity("SAME")
        ae.add_supported_context(STORAGE_COMMITMENT)

        def act(event: Any) -> tuple[int, None]:
            asked = event.action_information
            if report:
                threading.Thread(target=send, args=(event.assoc, asked), daemon=True).start()
            return status, None

        def send(association: Any, asked: Dataset) -> None:
            time.sleep(0.2)
            told = Dataset()
            told.TransactionUID = asked.TransactionUID
            told.ReferencedSOPSequence = asked.ReferencedSOPSequence
            association.send_n_event_report(told, COMPLETE, STORAGE_COMMITMENT, WELL_KNOWN)

        server: Any = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_ACTION, act)])
        opened.append(ae)
        return Address("127.0.0.1", server.server_address[1], "SAME", timeout=10.0)

    yield start
    for ae in opened:
        ae.shutdown()


def test_a_report_by_the_same_association_is_the_answer(committing: Callable[..., Address], dx_films: Films) -> None:
    transaction = generate_uid()
    answer = CommitmentUser().request(committing(0), transaction, references(dx_films), wait=20.0)
    assert answer == Commitment(transaction, frozenset(uid for _, uid in references(dx_films)))


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (0x0110, Unavailable, "STATUS_0110"),
        (0x0213, Unavailable, "STATUS_0213"),
        (0x0122, PreconditionFailed, "COMMITMENT_REFUSED"),
        (0x0123, PreconditionFailed, "COMMITMENT_REFUSED"),
    ],
)
def test_refusals(
    committing: Callable[..., Address], dx_films: Films, status: int, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error) as caught:
        CommitmentUser().request(committing(status, report=False), generate_uid(), references(dx_films))
    assert getattr(caught.value, "reason", "") == reason


def test_no_report_yet_is_no_answer(committing: Callable[..., Address], dx_films: Films) -> None:
    address = committing(0, report=False)
    assert CommitmentUser().request(address, generate_uid(), references(dx_films), wait=0.1) is None


def item(uid: str, reason: int | None = None) -> Dataset:
    ds = Dataset()
    ds.ReferencedSOPInstanceUID = uid
    if reason is not None:
        ds.FailureReason = reason
    return ds


def test_reports_that_are_none_are_refused() -> None:
    told = Dataset()
    for event_type, transaction in ((3, "1.2.3"), (COMPLETE, ""), (COMPLETE, "../x")):
        told.TransactionUID = transaction
        with pytest.raises(ValueError):
            read_commitment(event_type, told)


def test_a_node_that_says_both_denies() -> None:
    told = Dataset()
    told.TransactionUID = "1.2.3"
    told.ReferencedSOPSequence = [item("1.1"), item("1.2")]
    told.FailedSOPSequence = [item("1.2", NO_SUCH_OBJECT), item("1.3", 0), item("1.4")]
    read = read_commitment(WITH_FAILURES, told)
    assert read.committed == {"1.1"} and read.failed == {"1.2": 0x0112, "1.3": 0x0110, "1.4": 0x0110}
