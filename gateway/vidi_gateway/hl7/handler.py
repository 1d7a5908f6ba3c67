"""From the bytes of a message to its acknowledgment: each merge is made durable before the sender hears AA."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import Counter

from vidi import logs
from vidi.errors import ViDiError
from vidi_gateway.hl7 import acknowledgment
from vidi_gateway.hl7.adt import read_merges
from vidi_gateway.hl7.merge import Merger, PatientMerge
from vidi_gateway.hl7.message import Header, read_header
from vidi_gateway.hl7.refusal import Reason, Refused
from vidi_gateway.store.audit import Audit
from vidi_gateway.threads import Threads

MESSAGES = Counter("vidi_hl7_messages", "HL7 messages, by what became of them.", ("outcome",))

log = logs.get("vidi.gateway.hl7")


@dataclass(frozen=True)
class Answer:
    """What became of a message: its acknowledgment, and the refusal that it tells, if any."""

    acknowledgment: bytes
    films: int = 0
    refused: Refused | None = None


class Merges:
    """Obeys messages and requests that patients are merged.

    Parameters
    ----------
    merger
        Carries them out.
    audit
        Hears of each.
    threads
        Where they are carried out.
    mac
        Keyed digest of a text (`SiteKey.mac`).
    max_bytes
        Longest message.
    codec
        Python's codec for messages that do not name their character set.
    processing_id
        Processing id (MSH-11) that is obeyed.
    """

    def __init__(
        self,
        merger: Merger,
        audit: Audit,
        threads: Threads,
        mac: Callable[[str], str],
        *,
        max_bytes: int = 64 << 10,
        codec: str = "utf-8",
        processing_id: str = "P",
    ) -> None:
        self._merger = merger
        self._audit = audit
        self._threads = threads
        self._mac = mac
        self.max_bytes = max_bytes
        self._codec = codec
        self._processing_id = processing_id

    async def message(self, data: bytes, source: str) -> Answer:
        """Obey a message; never raises for what is in it.

        Parameters
        ----------
        data
            The message without its MLLP frame.
        source
            How it came, such as "mllp:10.0.0.5"; no patient data.
        """
        header: Header | None = None
        films = 0
        try:
            if len(data) > self.max_bytes:
                raise Refused(Reason.DATA, f"the message is longer than {self.max_bytes} bytes")
            header = read_header(data, self._codec)
            # All are understood before the first is carried out.
            for merge in await self._threads.run(self._read, data, header):
                films += await self.merge(merge, source)
        except Refused as refused:
            return await self.refuse(refused, source, refused.header or header)
        except ViDiError as error:
            log.error("merge not carried out", peer=source, error=error.reason)
            return await self.refuse(Refused(Reason.INTERNAL, "not carried out; send it again"), source, header)
        except Exception as error:  # noqa: BLE001 - whatever it is, the sender must not hear AA
            log.error("merge not carried out", peer=source, error=type(error).__name__)
            return await self.refuse(Refused(Reason.INTERNAL, "not carried out; send it again"), source, header)
        MESSAGES.labels("AA").inc()
        return Answer(acknowledgment.write(header), films)

    async def merge(self, merge: PatientMerge, source: str) -> int:
        """Carry one merge out, durably; returns the number of films concerned.

        Raises
        ------
        ViDiError
            It could not be made durable.
        """
        films = await self._threads.run(self._merger.merge, merge)
        await self._threads.run(self._audit.note, "patients merged", source=source, outcome=f"{films} films")
        log.info("patients merged", peer=source, merge=merge.message_id, films=films)
        return films

    async def refuse(self, refused: Refused, source: str, header: Header | None = None) -> Answer:
        """Record a message that is not obeyed, and return its answer."""
        code = f"{refused.reason.acknowledgment}_{refused.reason.name}"
        MESSAGES.labels(code).inc()
        log.warning("message not obeyed", peer=source, reason=code)
        try:
            await self._threads.run(self._audit.note, "message not obeyed", source=source, outcome=code)
        except Exception as error:  # noqa: BLE001 - the sender gets its answer even when the journal is away
            log.error("not in the audit trail", error=type(error).__name__)
        return Answer(acknowledgment.write(header, refused), refused=refused)

    def _read(self, data: bytes, header: Header) -> list[PatientMerge]:
        return read_merges(data, header, self._mac, processing_id=self._processing_id)

    async def turned_away(self, source: str, code: str) -> None:
        """Record a connection that was ended without an answer."""
        MESSAGES.labels(code).inc()
        log.warning("connection ended", peer=source, reason=code)
        await self._threads.run(self._audit.note, "connection ended", source=source, outcome=code)
