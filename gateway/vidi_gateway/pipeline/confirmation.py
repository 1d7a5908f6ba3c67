"""Confirmation: a destination that answered Success is asked whether it has the object, and only then it is delivered.

By Storage Commitment where the destination offers it, else by C-FIND or QIDO-RS for the SOP Instance UID. What it
denies having is sent again; the outbox counts, and sets aside.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydicom import dcmread
from pydicom.uid import generate_uid

from vidi import logs
from vidi.errors import NotFound, PreconditionFailed, ViDiError
from vidi_gateway.dicomweb.client import WebClient
from vidi_gateway.dimse.association import Associations
from vidi_gateway.dimse.commitment import TRANSIENT, Commitment, CommitmentUser
from vidi_gateway.dimse.query import Querier
from vidi_gateway.matches import Level
from vidi_gateway.pipeline import metrics
from vidi_gateway.pipeline.changes import Changes
from vidi_gateway.settings import Destination, GatewaySettings
from vidi_gateway.store.files import Store
from vidi_gateway.store.outbox import Outbox
from vidi_gateway.store.records import DeliveryState, OutboxEntry
from vidi_gateway.threads import Threads, ended, in_daemon

#: Objects of one question.
BATCH = 64
CLOSE_SECONDS = 5.0
#: How long an answer to a request for Storage Commitment may take to come by another association.
COMMITMENT_SECONDS = 60.0
#: How long Storage Commitment is not tried where it did not work.
FORGET_SECONDS = 3600.0
#: Pause before an object is asked for again that cannot be: nobody to ask, or its file is gone.
HOPELESS_SECONDS = 600.0

log = logs.get("vidi.gateway.confirmation")


@dataclass(frozen=True)
class Reference:
    """An object as a destination is asked for it."""

    id: int
    study_uid: str
    series_uid: str
    sop_class_uid: str
    uid: str


@dataclass(frozen=True)
class Answers:
    """What a destination said: row ids of what it has, and of what it has not. The rest it did not get to."""

    present: tuple[int, ...] = ()
    absent: tuple[int, ...] = ()
    error: str = ""


class Confirmation:
    """One loop per destination that is to confirm.

    Parameters
    ----------
    settings
        Destinations and how long they have.
    outbox, store
        What was sent, and its bytes.
    changes
        Told when something became delivered, or is to be sent again.
    threads
        For what blocks.
    """

    def __init__(
        self, settings: GatewaySettings, outbox: Outbox, store: Store, changes: Changes, threads: Threads
    ) -> None:
        self._settings = settings
        self._outbox = outbox
        self._store = store
        self._changes = changes
        self._threads = threads
        self._associations = Associations()
        self._tasks: list[asyncio.Task[None]] = []
        self._without_commitment: dict[str, float] = {}
        self._stopping = False

    def start(self) -> None:
        """Start asking."""
        for destination in self._settings.destinations:
            if destination.confirm != "none":
                name = f"vidi-confirm-{destination.name}"
                self._tasks.append(asyncio.create_task(self._serve(destination), name=name))

    async def close(self) -> None:
        """Stop. What was asked is asked again at the next start."""
        self._stopping = True
        self._changes.notify()
        await ended(*self._tasks, patience=CLOSE_SECONDS)
        self._associations.abandon()

    async def confirm_once(self, destination: Destination) -> int:
        """Ask for what is due; returns how many objects were asked for."""
        entries = await self._threads.run(self._outbox.claim_sent, destination.name, BATCH)
        asked = len(entries)
        if not entries:
            return 0
        unanswered = [e.id for e in entries if e.commit_transaction]
        if unanswered:  # its report went elsewhere, or it never made one
            self._forget(destination, "NO_REPORT")
            if destination.confirm == "commitment":  # nothing else may be asked: that counts as a denial
                states = await self._threads.run(self._outbox.denied, unanswered)
                count(destination.name, states)
                entries = [e for e in entries if not e.commit_transaction]
        references = await self._threads.run(self._references, entries)
        if references and self._by_commitment(destination):
            references = await self._ask_commitment(destination, references)
        if references:
            await self._ask_query(destination, references)
        self._changes.notify()
        return asked

    def _by_commitment(self, destination: Destination) -> bool:
        if destination.protocol != "dimse" or destination.confirm == "query":
            return False
        until = self._without_commitment.get(destination.name, 0.0)
        return destination.confirm == "commitment" or time.monotonic() >= until

    def _forget(self, destination: Destination, reason: str) -> None:
        if self._by_commitment(destination):
            log.warning("no storage commitment", destination=destination.name, reason=reason)
        self._without_commitment[destination.name] = time.monotonic() + FORGET_SECONDS

    async def _ask_commitment(self, destination: Destination, references: list[Reference]) -> list[Reference]:
        """Ask for Storage Commitment; returns what is to be asked for in another way."""
        transaction, ids = generate_uid(), [r.id for r in references]
        wait = min(COMMITMENT_SECONDS, self._settings.confirm_seconds)
        await self._threads.run(self._outbox.asked, ids, transaction, wait)
        user = CommitmentUser(self._associations)
        objects = [(r.sop_class_uid, r.uid) for r in references]
        address = destination.dimse_address(self._settings.ae_title)
        try:
            answer = await in_daemon(user.request, address, transaction, objects)
        except PreconditionFailed as e:
            if destination.confirm == "auto" and e.reason != "TLS_FILES":
                self._forget(destination, e.reason)
                return references
            await self._threads.run(self._outbox.ask_later, ids, e.reason, HOPELESS_SECONDS)
        except ViDiError as e:
            await self._threads.run(self._outbox.ask_later, ids, e.reason)
        else:
            if answer:
                await self._threads.run(obey, self._outbox, answer, destination.name)
        return []

    async def _ask_query(self, destination: Destination, references: Sequence[Reference]) -> None:
        try:
            answers = await in_daemon(self._query, destination, references)
        except PreconditionFailed as e:
            log.error("deliveries cannot be confirmed", destination=destination.name, reason=e.reason)
            await self._threads.run(
                self._outbox.ask_later, [r.id for r in references], "CANNOT_BE_CONFIRMED", HOPELESS_SECONDS
            )
            return
        await self._threads.run(self._record, destination, references, answers)

    def _query(self, destination: Destination, references: Sequence[Reference]) -> Answers:
        """Look for each object at the destination."""
        present: list[int] = []
        absent: list[int] = []
        error = ""
        try:
            with contextlib.ExitStack() as stack:
                has = self._finder(destination, stack)
                for reference in references:
                    (present if has(reference) else absent).append(reference.id)
        except PreconditionFailed:
            if not present and not absent:
                raise
        except ViDiError as e:
            error = e.reason
        return Answers(tuple(present), tuple(absent), error)

    def _finder(self, destination: Destination, stack: contextlib.ExitStack) -> Callable[[Reference], bool]:
        opened: Querier | WebClient
        if destination.protocol == "dimse":
            address = destination.dimse_address(self._settings.ae_title)
            opened = stack.enter_context(Querier(address, self._associations))
        else:
            opened = stack.enter_context(WebClient(destination.web_address()))

        def has(reference: Reference) -> bool:
            keys = {"StudyInstanceUID": reference.study_uid, "SeriesInstanceUID": reference.series_uid}
            found = opened.find(Level.IMAGE, keys | {"SOPInstanceUID": reference.uid})
            return any(match.sop_uid == reference.uid for match in found)  # whatever keys the node has ignored

        return has

    def _record(self, destination: Destination, references: Sequence[Reference], answers: Answers) -> None:
        self._outbox.confirmed(answers.present)
        states = self._outbox.denied(answers.absent)
        asked = {*answers.present, *answers.absent}
        left = [r.id for r in references if r.id not in asked]
        self._outbox.ask_later(left, answers.error)
        count(destination.name, {DeliveryState.CONFIRMED: len(answers.present)} | states)

    def _references(self, entries: Sequence[OutboxEntry]) -> list[Reference]:
        references = []
        keywords = ["StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID"]
        for entry in entries:
            try:
                data = self._store.get(entry.key)
            except NotFound:
                self._outbox.ask_later([entry.id], "FILE_MISSING", HOPELESS_SECONDS)
                continue
            ds = dcmread(io.BytesIO(data), stop_before_pixels=True, specific_tags=keywords)
            study, series, sop_class = (str(ds.get(keyword, "")) for keyword in keywords)
            references.append(Reference(entry.id, study, series, sop_class, entry.uid))
        return references

    async def _serve(self, destination: Destination) -> None:
        def failed(error: Exception) -> None:
            log.error("confirmation failed", destination=destination.name, error=type(error).__name__)

        await self._changes.repeat(lambda: self.confirm_once(destination), failed, lambda: not self._stopping)


def obey(outbox: Outbox, commitment: Commitment, destination: str = "") -> None:
    """Record what a node reports. Reasons that pass leave the question open: it is asked again. Blocking."""
    failed = {uid for uid, reason in commitment.failed.items() if reason not in TRANSIENT}
    count(destination, outbox.committed(commitment.transaction_uid, commitment.committed, failed))


def count(destination: str, states: dict[DeliveryState, int]) -> None:
    """Count answers: confirmed, asked again (sent), sent again (pending), set aside (dead), of no interest any more."""
    names: dict[DeliveryState, Literal["confirmed", "denied", "resend", "dead", "cancelled"]] = {
        DeliveryState.CONFIRMED: "confirmed",
        DeliveryState.SENT: "denied",
        DeliveryState.PENDING: "resend",
        DeliveryState.DEAD: "dead",
        DeliveryState.CANCELLED: "cancelled",
    }
    for state, number in states.items():
        if number:
            metrics.CONFIRMATIONS.labels(destination or "(report)", names[state]).inc(number)
    if states.get(DeliveryState.DEAD):
        log.error("dead letters", destination=destination or "(report)", reason="CONFIRMATION_FAILED")
