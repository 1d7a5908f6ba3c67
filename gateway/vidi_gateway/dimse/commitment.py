"""Storage Commitment Push Model (PS3.4 annex J): a node takes responsibility for what it acknowledged, or denies it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.presentation import build_context

from vidi.errors import PreconditionFailed, Unavailable
from vidi_gateway.dimse.address import Address
from vidi_gateway.dimse.association import NATIVE, Associations

STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
#: The well-known instance that all requests are made of (PS3.4 section J.3.2).
WELL_KNOWN = "1.2.840.10008.1.20.1.1"
REQUEST = 1
#: Event types: everything committed; some not.
COMPLETE, WITH_FAILURES = 1, 2
NO_SUCH_OBJECT = 0x0112
PROCESSING_FAILURE = 0x0110
_NO_SUCH_EVENT = 0x0113
_INVALID_VALUE = 0x0115
_SUCCESS = 0x0000
#: The node could not do it now (PS3.3 table C.14-1): processing failure, resource limitation.
TRANSIENT = (PROCESSING_FAILURE, 0x0213)
_MOST_OBJECTS = 100_000


@dataclass(frozen=True)
class Commitment:
    """What a node answered to a request.

    Attributes
    ----------
    transaction_uid
        Of the request.
    committed
        SOP Instance UIDs that it is responsible for.
    failed
        Failure reasons (PS3.3 table C.14-1) by SOP Instance UID that it is not responsible for: 0x0112 is "no such
        object".
    """

    transaction_uid: str
    committed: frozenset[str]
    failed: Mapping[str, int] = field(default_factory=dict)


def read_commitment(event_type: int, information: Dataset) -> Commitment:
    """Read the N-EVENT-REPORT of a node.

    Raises
    ------
    ValueError
        When it is none.
    """
    if event_type not in (COMPLETE, WITH_FAILURES):
        raise ValueError("not an event of Storage Commitment")
    transaction = str(information.get("TransactionUID", ""))
    if not UID(transaction).is_valid:
        raise ValueError("no transaction")
    referenced = information.get("ReferencedSOPSequence") or ()
    failures = information.get("FailedSOPSequence") or ()
    if len(referenced) + len(failures) > _MOST_OBJECTS:
        raise ValueError("more objects than anybody asks for")
    failed = {
        str(item.get("ReferencedSOPInstanceUID", "")): int(item.get("FailureReason") or PROCESSING_FAILURE)
        for item in failures
    }
    committed = frozenset(str(item.get("ReferencedSOPInstanceUID", "")) for item in referenced) - failed.keys()
    return Commitment(transaction, committed - {""}, {uid: reason for uid, reason in failed.items() if uid})


def answer_event(event: Any, hand_on: Callable[[Commitment], object]) -> tuple[int, Dataset | None]:
    """Answer an N-EVENT-REPORT of Storage Commitment.

    Parameters
    ----------
    event
        pynetdicom's.
    hand_on
        Called with the `Commitment`; what it raises is answered as a processing failure: the node may tell us again.

    Returns
    -------
    Status and no reply.
    """
    if str(event.request.AffectedSOPClassUID) != STORAGE_COMMITMENT:
        return _NO_SUCH_EVENT, None
    try:
        commitment = read_commitment(int(event.event_type), event.event_information)
    except Exception:  # noqa: BLE001 - pydicom raises anything for what a peer may send
        return _INVALID_VALUE, None
    hand_on(commitment)
    return _SUCCESS, None


class CommitmentUser:
    """Asks for Storage Commitment.

    Parameters
    ----------
    associations
        Where associations are remembered while they are open.
    """

    def __init__(self, associations: Associations | None = None) -> None:
        self._associations = associations or Associations()

    def request(
        self, address: Address, transaction_uid: str, objects: Sequence[tuple[str, str]], wait: float = 2.0
    ) -> Commitment | None:
        """Ask a node whether it takes responsibility for objects. Blocking.

        Parameters
        ----------
        address
            The node.
        transaction_uid
            A new UID. The answer names it, and may come by another association even before this returns.
        objects
            SOP Class UID and SOP Instance UID of each.
        wait
            Seconds to wait for the answer by this association.

        Returns
        -------
        The answer, or None when it is to come by another association.

        Raises
        ------
        PreconditionFailed
            SOP_CLASS_NOT_ACCEPTED or COMMITMENT_REFUSED: the node does not do Storage Commitment.
        Unavailable
            As `Associations.open`; ASSOCIATION_LOST; or STATUS_0110 and the like: it cannot now.
        """
        came: list[Commitment] = []
        told = threading.Event()

        def hear(commitment: Commitment) -> None:
            if commitment.transaction_uid == transaction_uid:
                came.append(commitment)
                told.set()

        def report(event: evt.Event) -> tuple[int, Dataset | None]:
            return answer_event(event, hear)

        handlers = [(evt.EVT_N_EVENT_REPORT, report)]
        contexts = [build_context(STORAGE_COMMITMENT, list(NATIVE))]
        with self._associations.open(address, contexts, handlers) as association:
            try:
                status, _ = association.send_n_action(
                    _request(transaction_uid, objects), REQUEST, STORAGE_COMMITMENT, WELL_KNOWN
                )
            except RuntimeError:
                raise Unavailable("the association with the node was lost", reason="ASSOCIATION_LOST") from None
            if "Status" not in status:
                raise Unavailable("the node does not answer", reason="ASSOCIATION_LOST")
            _check(int(status.Status))
            told.wait(wait)
        return came[0] if came else None


def _request(transaction_uid: str, objects: Sequence[tuple[str, str]]) -> Dataset:
    ds = Dataset()
    ds.TransactionUID = transaction_uid
    ds.ReferencedSOPSequence = []
    for sop_class, sop_instance in objects:
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class
        item.ReferencedSOPInstanceUID = sop_instance
        ds.ReferencedSOPSequence.append(item)
    return ds


def _check(status: int) -> None:
    if status == _SUCCESS or 0xB000 <= status <= 0xBFFF:
        return
    if status in TRANSIENT:
        raise Unavailable("the node cannot take the request now", reason=f"STATUS_{status:04X}")
    raise PreconditionFailed(f"the node answers with status {status:04X}", reason="COMMITMENT_REFUSED")
