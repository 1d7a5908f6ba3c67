"""Sending by C-STORE: one association for many objects, a status for each."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydicom import Dataset, dcmread
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from vidi.errors import PreconditionFailed, Unavailable
from vidi_gateway.dimse.address import Address
from vidi_gateway.dimse.association import NATIVE, Associations

__all__ = ["MAX_CONTEXTS", "Address", "Outcome", "Sender", "Sent", "echo", "judge"]

#: PS3.8 section 9.3.2: presentation context ids are odd and at most 255.
MAX_CONTEXTS = 128
_OUT_OF_RESOURCES = range(0xA700, 0xA800)
_WARNINGS = (0xB000, 0xB006, 0xB007)
#: The peer has this UID already; ours always means the same bytes.
_DUPLICATE = 0x0111
_PERMANENT = (0x0105, 0x0106, 0x0117, 0x0122, 0x0124, 0x0210, 0x0211, 0x0212)
#: An object was on its way, and no answer came.
UNANSWERED = ("ASSOCIATION_LOST", "NO_ANSWER")


class Outcome(StrEnum):
    """What a peer's answer means for us."""

    SENT = "sent"
    RETRY = "retry"
    PERMANENT = "permanent"
    HELD = "held"  # not tried: we were told not to


@dataclass(frozen=True)
class Sent:
    """One object's fate. `status` is the C-STORE status or None; `error` is a code, "" after success."""

    sop_instance_uid: str
    outcome: Outcome
    status: int | None = None
    error: str = ""

    @property
    def may_have_arrived(self) -> bool:
        """Whether the peer may have the object: it said so, or its answer was lost."""
        return self.outcome is Outcome.SENT or self.error in UNANSWERED


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
    """Sends; and lets go of what hangs."""

    def __init__(self) -> None:
        self._associations = Associations()

    def send(
        self,
        objects: Sequence[bytes],
        address: Address,
        on_sent: Callable[[int, Sent], None] | None = None,
        may_send: Callable[[int], bool] | None = None,
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
        may_send
            Asked with the index just before each object is sent; False leaves it out (HELD).

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
            self._send_group(datasets, group, address, settle, may_send or (lambda _: True))
        return [fates[i] for i in range(len(datasets))]

    def abandon(self) -> None:
        """Drop all associations under way, without a word to the peers."""
        self._associations.abandon()

    def _send_group(
        self,
        datasets: Sequence[Dataset],
        group: Sequence[int],
        address: Address,
        settle: Callable[[int, Sent], None],
        may_send: Callable[[int], bool],
    ) -> None:
        contexts = [build_context(c, list(s)) for c, s in sorted(_contexts([datasets[i] for i in group]))]
        left = list(group)
        try:
            with self._associations.open(address, contexts) as association:
                while left:
                    index = left[0]
                    uid = str(datasets[index].SOPInstanceUID)
                    fate = _send_one(association, datasets[index]) if may_send(index) else Sent(uid, Outcome.HELD)
                    settle(left.pop(0), fate)
        except (Unavailable, PreconditionFailed) as e:
            outcome = Outcome.PERMANENT if e.reason == "SOP_CLASS_NOT_ACCEPTED" else Outcome.RETRY
            for index in left:
                settle(index, Sent(str(datasets[index].SOPInstanceUID), outcome, None, e.reason))


def echo(address: Address) -> bool:
    """Whether a C-ECHO to the address succeeds. Blocking."""
    try:
        ping(address)
    except (Unavailable, PreconditionFailed):
        return False
    return True


def ping(address: Address) -> None:
    """Have a node answer a C-ECHO. Blocking.

    Raises
    ------
    Unavailable
        See `Associations.open`; NO_ECHO: it answers with something else than Success, or not at all.
    PreconditionFailed
        See `Associations.open`.
    """
    with Associations().open(address, [build_context(Verification, list(NATIVE))]) as association:
        if association.send_c_echo().get("Status") != 0:
            raise Unavailable("the node does not answer C-ECHO with Success", reason="NO_ECHO")


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


def _context(ds: Dataset) -> tuple[str, tuple[str, ...]]:
    """What has to be offered for an object: its own syntax; the native ones convert into each other."""
    syntax = str(ds.file_meta.TransferSyntaxUID)
    return str(ds.SOPClassUID), tuple(NATIVE) if syntax in NATIVE else (syntax,)


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
