"""STOW-RS, the server (PS3.18 section 10.5): instances in by HTTP. What it calls stored is durable."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from pydicom import DataElement, Dataset
from pydicom.sequence import Sequence as Items

from vidi import logs
from vidi.errors import Exhausted, Expired, InvalidInput, ViDiError
from vidi_gateway.dicomweb.multipart import Part, Parts, media_type
from vidi_gateway.handlers.films import Films
from vidi_gateway.objects import source as source_of
from vidi_gateway.pipeline.header import read_header
from vidi_gateway.store.audit import Audit
from vidi_gateway.threads import Threads

# Failure reasons (PS3.18 table I.2-2).
PROCESSING_FAILURE = 0x0110
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000

DICOM = "application/dicom"
_RETRY_SECONDS = 10.0

log = logs.get("vidi.gateway.stow")


@dataclass(frozen=True)
class StowLimits:
    """What one request may ask for.

    Attributes
    ----------
    max_film_bytes
        Largest instance; a larger one fails, the others are stored.
    max_parts, max_bytes
        Most parts and most bytes of a request; it ends where they are exceeded.
    max_requests
        Requests at a time, each of which holds one instance in memory.
    silence_seconds
        How long a sender may say nothing.
    """

    max_film_bytes: int
    max_parts: int
    max_bytes: int
    max_requests: int
    silence_seconds: float


@dataclass
class Stored:
    """What became of a request's instances.

    Attributes
    ----------
    referenced
        (SOP class UID, SOP instance UID) of what is durable, or was deliberately dropped as out of scope.
    failed
        The same of what is not, with the failure reason and our own code.
    unknown
        Failure reason and code of parts in which no UID could be read.
    retry_after
        Seconds after which a sender should try again, 0 when that would not help.
    """

    referenced: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str, int, str]] = field(default_factory=list)
    unknown: list[tuple[int, str]] = field(default_factory=list)
    retry_after: float = 0.0

    @property
    def status(self) -> int:
        """HTTP status (PS3.18 table 10.5.3-1)."""
        codes = {f[3] for f in self.failed} | {u[1] for u in self.unknown}
        if not codes:
            return 200
        if self.referenced:
            return 202
        if self.retry_after:
            return 503
        return 413 if codes == {"TOO_LARGE"} else 409

    @property
    def codes(self) -> Counter[str]:
        """How often each of our own codes."""
        return Counter([f[3] for f in self.failed] + [u[1] for u in self.unknown])

    def to_json(self) -> dict[str, Any]:
        """Return the response module (PS3.18 table 10.5.3-2) in the DICOM JSON model."""
        ds = Dataset()
        if self.referenced:
            ds.ReferencedSOPSequence = Items([_reference(c, u) for c, u in self.referenced])
        if self.failed:
            ds.FailedSOPSequence = Items([_reference(c, u, reason) for c, u, reason, _ in self.failed])
        if self.unknown:
            ds.add(DataElement(0x0008119A, "SQ", Items([_reference("", "", reason) for reason, _ in self.unknown])))
        return dict(ds.to_json_dict())


class StowReceiver:
    """Takes requests.

    Parameters
    ----------
    films
        Takes the instances.
    audit
        Hears of what was not taken.
    threads
        For blocking work.
    limits
        Bounds.
    """

    def __init__(self, films: Films, audit: Audit, threads: Threads, limits: StowLimits) -> None:
        self._films = films
        self._audit = audit
        self._threads = threads
        self._limits = limits
        self._running = 0

    async def receive(
        self, body: AsyncIterator[bytes], content_type: str, *, source: str, study_uid: str = "", model: str = ""
    ) -> Stored:
        """Store the instances of one request. They are taken one by one as they come in.

        Parameters
        ----------
        body
            As it comes in.
        content_type
            Of the request.
        source
            "stow:ADDRESS".
        study_uid
            Study Instance UID that all instances must have; "" for any.
        model
            Model line; "": the site's default.

        Raises
        ------
        InvalidInput
            MEDIA_TYPE: not multipart/related with DICOM instances. MULTIPART: malformed or cut off. NO_INSTANCES.
        NotFound
            No such model.
        Exhausted
            TOO_LARGE, TOO_MANY_PARTS: a request above the bounds; what came before is stored. DISK_LOW, QUEUE_FULL,
            BUSY: nothing was read.
        Expired
            The sender fell silent.
        """
        parts = self._parts(content_type)
        if self._running >= self._limits.max_requests:
            raise Exhausted("too many STOW-RS requests at a time", reason="BUSY", retry_after=_RETRY_SECONDS)
        self._running += 1
        stored = Stored()
        try:
            await self._films.check(model)
            async for chunk in _within(body, self._limits.silence_seconds):
                for part in parts.feed(chunk):
                    await self._store(part, source, study_uid, model, stored)
            parts.close()
        finally:
            self._running -= 1
            for code, count in stored.codes.items():
                detail = {"count": count}
                await self._threads.run(
                    self._audit.note, "instance not taken", source=source, outcome=code, detail=detail
                )
        if not (stored.referenced or stored.failed or stored.unknown):
            raise InvalidInput("the request holds no instance", field="body", reason="NO_INSTANCES")
        return stored

    def _parts(self, content_type: str) -> Parts:
        kind, parameters = media_type(content_type)
        if kind != "multipart/related" or media_type(parameters.get("type", ""))[0] != DICOM:
            message = 'only multipart/related; type="application/dicom" is taken'
            raise InvalidInput(message, field="content-type", reason="MEDIA_TYPE")
        bounds = self._limits
        return Parts(
            parameters.get("boundary", ""),
            max_part_bytes=bounds.max_film_bytes,
            max_parts=bounds.max_parts,
            max_bytes=bounds.max_bytes,
        )

    async def _store(self, part: Part, source: str, study_uid: str, model: str, stored: Stored) -> None:
        sop_class, sop_uid, study = await self._threads.run(_identify, part.data)
        reason, code = CANNOT_UNDERSTAND, ""
        if part.media_type not in ("", DICOM):
            code = "MEDIA_TYPE"
        elif part.oversize:
            reason, code = OUT_OF_RESOURCES, "TOO_LARGE"
        elif study_uid and study != study_uid:
            code = "STUDY_MISMATCH"
        else:
            reason, code = await self._take(part.data, source, model, stored)
        if not code:
            stored.referenced.append((sop_class, sop_uid))
        elif sop_class and sop_uid:
            stored.failed.append((sop_class, sop_uid, reason, code))
        else:
            stored.unknown.append((reason, code))

    async def _take(self, data: bytes, source: str, model: str, stored: Stored) -> tuple[int, str]:
        """Take one instance; return failure reason and code, the code "" when it is durable."""
        try:
            receipt = await self._films.submit(data, model, source=source, wait=False, audited=False)
        except Exhausted as e:
            log.warning("film not taken", peer=source, reason=e.reason)
            stored.retry_after = max(stored.retry_after, e.retry_after)
            return OUT_OF_RESOURCES, e.reason
        except InvalidInput as e:
            log.warning("instance not taken", peer=source, reason=e.reason)
            return CANNOT_UNDERSTAND, e.reason
        except Exception as e:  # noqa: BLE001 - whatever it is, the sender must not hear that it is stored
            code = e.reason if isinstance(e, ViDiError) else type(e).__name__
            log.error("film not taken", peer=source, error=code)
            return PROCESSING_FAILURE, code
        log.info("instance taken", peer=source, film=receipt.film_id, fate=receipt.fate.value)
        return 0, ""


async def _within(body: AsyncIterator[bytes], seconds: float) -> AsyncIterator[bytes]:
    """Pass on a body whose sender does not fall silent.

    Raises
    ------
    Expired
        When it does.
    """
    while True:
        try:
            async with asyncio.timeout(seconds):
                chunk = await anext(body)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Expired("the sender fell silent", reason="SENDER_SILENT") from None
        yield chunk


def _identify(data: bytes) -> tuple[str, str, str]:
    """SOP class, SOP instance and Study Instance UID, each "" where there is no valid one."""
    try:
        header = read_header(data)
    except InvalidInput:
        return "", "", ""
    return source_of.uid(header, "SOPClassUID"), source_of.uid(header, "SOPInstanceUID"), source_of.study_uid(header)


def _reference(sop_class: str, sop_uid: str, reason: int | None = None) -> Dataset:
    ds = Dataset()
    if sop_uid:
        ds.ReferencedSOPClassUID = sop_class
        ds.ReferencedSOPInstanceUID = sop_uid
    if reason is not None:
        ds.FailureReason = reason
    return ds
