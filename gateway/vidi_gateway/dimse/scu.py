"""Sending by C-STORE: one association for many objects, a status for each."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.presentation import build_context

#: PS3.8 section 9.3.2: presentation context ids are odd and at most 255.
MAX_CONTEXTS = 128
_NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
_OUT_OF_RESOURCES = range(0xA700, 0xA800)
_WARNINGS = (0xB000, 0xB006, 0xB007)
#: The peer has this UID already; ours always means the same bytes.
_DUPLICATE = 0x0111
_PERMANENT = (0x0105, 0x0106, 0x0117, 0x0122, 0x0124, 0x0210, 0x0211, 0x0212)


class Outcome(StrEnum):
    """What a peer's answer means for us."""

    SENT = "sent"
    RETRY = "retry"
    PERMANENT = "permanent"


@dataclass(frozen=True)
class Sent:
    """One object's fate. `status` is the C-STORE status or None; `error` is a code, "" after success."""

    sop_instance_uid: str
    outcome: Outcome
    status: int | None = None
    error: str = ""


@dataclass(frozen=True)
class Address:
    """A storage SCP: where it listens, how it is called, and who we are to it."""

    host: str
    port: int
    called_ae: str
    calling_ae: str = "VIDI"
    timeout: float = 60.0


def judge(status: int) -> Outcome:
    """Return what a C-STORE status (PS3.4 table B.2-1, PS3.7 annex C) means: sent, try again, or never."""
    if status in (0, _DUPLICATE) or status in _WARNINGS:
        return Outcome.SENT
    if status in _OUT_OF_RESOURCES:
        return Outcome.RETRY
    if status in _PERMANENT or 0xA900 <= status < 0xAA00 or 0xC000 <= status < 0xD000:
        return Outcome.PERMANENT
    return Outcome.RETRY


class Sender:
    """Sends; and lets go of what hangs, which pynetdicom's own threads would keep the process alive for."""

    def __init__(self) -> None:
        self._live: set[Any] = set()

    def send(
        self, objects: Sequence[bytes], address: Address, on_sent: Callable[[int, Sent], None] | None = None
    ) -> list[Sent]:
        """Send Part 10 files over as few associations as presentation contexts allow. Blocking.

        Parameters
        ----------
        objects
            Part 10 files.
        address
            Where to.
        on_sent
            Called with the index and fate of each object as it is known.

        Returns
        -------
        The fates, in the order of `objects`. A peer that does not answer gives RETRY for all; nothing is raised for it.

        Raises
        ------
        pydicom.errors.InvalidDicomError
            When an object is not a Part 10 file.
        """
        datasets = [dcmread(io.BytesIO(data)) for data in objects]
        fates: dict[int, Sent] = {}

        def settle(index: int, fate: Sent) -> None:
            fates[index] = fate
            if on_sent:
                on_sent(index, fate)

        for group in _groups(datasets):
            self._send_group(datasets, group, address, settle)
        return [fates[i] for i in range(len(datasets))]

    def abandon(self) -> None:
        """Drop all associations under way, without a word to the peers."""
        for association in list(self._live):
            association.dul.kill_dul()

    def _send_group(
        self,
        datasets: Sequence[Dataset],
        group: Sequence[int],
        address: Address,
        settle: Callable[[int, Sent], None],
    ) -> None:
        ae = _entity(address)
        for sop_class, syntaxes in sorted(_contexts([datasets[i] for i in group])):
            ae.requested_contexts = [*ae.requested_contexts, build_context(sop_class, list(syntaxes))]
        opened: list[Any] = []

        def remember(event: evt.Event) -> None:
            opened.append(event.assoc)
            self._live.add(event.assoc)

        handlers: list[Any] = [(evt.EVT_CONN_OPEN, remember)]
        association = ae.associate(address.host, address.port, ae_title=address.called_ae, evt_handlers=handlers)
        try:
            error = _not_established(association)
            for index in group:
                ds = datasets[index]
                failed = replace(error, sop_instance_uid=str(ds.SOPInstanceUID)) if error else None
                settle(index, failed or _send_one(association, ds))
            if association.is_established:
                association.release()
        finally:
            self._live.difference_update(opened)


def echo(address: Address) -> bool:
    """Whether a C-ECHO to the address succeeds. Blocking."""
    ae = _entity(address)
    ae.add_requested_context("1.2.840.10008.1.1")
    association = ae.associate(address.host, address.port, ae_title=address.called_ae)
    try:
        return bool(association.is_established and association.send_c_echo().get("Status") == 0)
    finally:
        if association.is_established:
            association.release()


def _not_established(association: Any) -> Sent | None:
    """Why there is no association, None when there is one."""
    if association.is_established:
        return None
    if association.rejected_contexts and not association.accepted_contexts:
        return Sent("", Outcome.PERMANENT, None, "SOP_CLASS_NOT_ACCEPTED")
    return Sent("", Outcome.RETRY, None, "ASSOCIATION_REJECTED" if association.is_rejected else "NO_ASSOCIATION")


def _send_one(association: Any, ds: Dataset) -> Sent:
    uid = str(ds.SOPInstanceUID)
    try:
        answer = association.send_c_store(ds)
    except ValueError:  # no accepted presentation context, or the object cannot be encoded for it
        return Sent(uid, Outcome.PERMANENT, None, "SOP_CLASS_NOT_ACCEPTED")
    except (RuntimeError, OSError):  # the association is gone
        return Sent(uid, Outcome.RETRY, None, "ASSOCIATION_LOST")
    if "Status" not in answer:
        return Sent(uid, Outcome.RETRY, None, "NO_ANSWER")
    status = int(answer.Status)
    outcome = judge(status)
    return Sent(uid, outcome, status, "" if outcome is Outcome.SENT else f"STATUS_{status:04X}")


def _entity(address: Address) -> ApplicationEntity:
    ae = ApplicationEntity(address.calling_ae)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = address.timeout
    ae.connection_timeout = min(address.timeout, 10.0)
    return ae


def _context(ds: Dataset) -> tuple[str, tuple[str, ...]]:
    """What has to be offered for an object: its own syntax; the native ones convert into each other."""
    syntax = str(ds.file_meta.TransferSyntaxUID)
    return str(ds.SOPClassUID), tuple(map(str, _NATIVE)) if syntax in _NATIVE else (syntax,)


def _contexts(datasets: Iterable[Dataset]) -> set[tuple[str, tuple[str, ...]]]:
    return {_context(ds) for ds in datasets}


def _groups(datasets: Sequence[Dataset]) -> Iterable[list[int]]:
    """Split into runs that fit the contexts of one association."""
    group: list[int] = []
    needed: set[tuple[str, tuple[str, ...]]] = set()
    for index, ds in enumerate(datasets):
        if len(needed | {_context(ds)}) > MAX_CONTEXTS:
            yield group
            group, needed = [], set()
        group.append(index)
        needed.add(_context(ds))
    if group:
        yield group
