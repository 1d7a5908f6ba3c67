"""The audit trail: who did what to which film, and what came of it. Codes, counts and keyed hashes only.

Append only, and evident when it was not: every record carries a keyed digest over itself and the record before it in
its chain. A chain belongs to one database connection, which has one transaction at a time; so chains need no lock, in
however many threads and processes, and a record costs no transaction of its own when the caller has one.

What the chains cannot show is the loss of the newest records of all chains at once: the relayed copies show that.

Blocking: call it from a thread.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from vidi import logs
from vidi_gateway.store.database import Database
from vidi_gateway.store.schema import audit
from vidi_gateway.store.site_key import SiteKey

#: Left behind by `Audit.trim`: where the chains begin that it shortened.
TRIMMED = "audit trimmed"
_WRITER, _END = "vidi_audit_writer", "vidi_audit_end"
_SEALED = ("at", "event", "film_id", "source", "outcome", "actor", "action", "detail", "writer")

_INSERT = audit.insert()
_LAST = sa.select(audit.c.chain).where(audit.c.writer == sa.bindparam("writer")).order_by(audit.c.id.desc()).limit(1)


@dataclass(frozen=True)
class AuditRecord:
    """A row of `audit`.

    Attributes
    ----------
    id
        Position in the table.
    at
        When, in seconds since the epoch.
    event
        What happened: one of `vidi_gateway.audit.events`, or a word of the caller.
    film_id
        The film, "" where it was about none.
    source
        The other party ("dimse:AET@host", a destination).
    outcome
        "" or a code.
    actor
        Who did it, where that is not `source`.
    action
        DICOM's action code C, R, U, D, E; "": what the event implies.
    detail
        More codes, counts and keyed hashes. "study" and "patient" hold the keys of the participants.
    writer, chain
        The record's chain and its link in it; "" where it was written without a key.
    """

    id: int
    at: float
    event: str
    film_id: str
    source: str
    outcome: str
    actor: str
    action: str
    detail: dict[str, Any]
    writer: str
    chain: str


@dataclass(frozen=True)
class Verification:
    """What `Audit.verify` found.

    Attributes
    ----------
    records, chains
        How many there are.
    unchained
        Records that were written without a key: before chains were introduced.
    broken
        Ids of records that do not continue their chain: they, or what stood before them, were changed or removed.
    """

    records: int
    chains: int
    unchained: int
    broken: tuple[int, ...]

    @property
    def intact(self) -> bool:
        """Whether nothing was changed or removed."""
        return not self.broken


class Audit:
    """Appends to the trail, reads it, verifies it.

    Parameters
    ----------
    database
        The journal's.
    site_key
        Links the chains; without it records are written unchained, and nothing can be verified.
    """

    def __init__(self, database: Database, site_key: SiteKey | None = None) -> None:
        self.database = database
        self._site_key = site_key

    def note(
        self,
        event: str,
        *,
        film_id: str = "",
        source: str = "",
        outcome: str = "",
        actor: str = "",
        action: str = "",
        detail: Mapping[str, Any] | None = None,
        connection: sa.Connection | None = None,
    ) -> None:
        """Append one event; see `AuditRecord` for what goes where.

        Parameters
        ----------
        event, film_id, source, outcome, actor, action, detail
            The record. UIDs in texts are replaced: a patient can be found by them.
        connection
            A transaction that writes, to be part of: the record is there if and only if what it is about is. None: one
            with whatever else is to be written at that moment.
        """
        row = {
            "event": event[:64],
            "film_id": film_id,
            "source": logs.without_uids(source)[:128],
            "outcome": logs.without_uids(outcome)[:64],
            "actor": logs.without_uids(actor)[:128],
            "action": action[:16],
            "detail": logs.without_uids(json.dumps(detail, sort_keys=True, default=_kind)) if detail else "",
            "exported": False,
        }
        if connection is not None:
            self._append(connection, row)
        else:
            self.database.together(lambda shared: self._append(shared, row))

    def counts(self, event: str) -> dict[str, int]:
        """How often an event ended in which outcome."""
        query = sa.select(audit.c.outcome, sa.func.count()).where(audit.c.event == event).group_by(audit.c.outcome)
        with self.database.read() as c:
            return {str(outcome): int(count) for outcome, count in c.execute(query)}

    def page(
        self,
        limit: int,
        before: int = 0,
        *,
        events: Sequence[str] = (),
        film_id: str = "",
        since: float = 0.0,
        until: float = 0.0,
    ) -> list[AuditRecord]:
        """Return records, the newest first.

        Parameters
        ----------
        limit
            How many.
        before
            Only records of smaller ids; 0: from the newest on.
        events, film_id, since, until
            Only these; times in seconds since the epoch, `until` exclusive, 0: no bound.
        """
        query = audit.select().order_by(audit.c.id.desc()).limit(limit)
        if before:
            query = query.where(audit.c.id < before)
        if events:
            query = query.where(audit.c.event.in_(events))
        if film_id:
            query = query.where(audit.c.film_id == film_id)
        if since:
            query = query.where(audit.c.at >= since)
        if until:
            query = query.where(audit.c.at < until)
        with self.database.read() as c:
            return [_record(r) for r in c.execute(query).mappings()]

    def unexported(self, limit: int) -> list[AuditRecord]:
        """Return records that were not relayed yet, in order."""
        query = audit.select().where(audit.c.exported.is_(sa.false())).order_by(audit.c.id).limit(limit)
        with self.database.read() as c:
            return [_record(r) for r in c.execute(query).mappings()]

    def unexported_count(self) -> int:
        """How many records were not relayed yet."""
        query = sa.select(sa.func.count()).select_from(audit).where(audit.c.exported.is_(sa.false()))
        with self.database.read() as c:
            return int(c.execute(query).scalar_one())

    def mark_exported(self, ids: Sequence[int]) -> None:
        """Note that records were relayed to everywhere."""
        with self.database.write() as c:
            for start in range(0, len(ids), 500):
                c.execute(audit.update().where(audit.c.id.in_(ids[start : start + 500])).values(exported=True))

    def verify(self) -> Verification:
        """Check that every record continues its chain. Reads the whole trail, and keeps none of it in memory.

        Raises
        ------
        ValueError
            When there is no site key to verify with.
        """
        if self._site_key is None:
            raise ValueError("the trail can only be verified with the site key")
        records = chains = unchained = 0
        broken: list[int] = []
        writer = link = ""
        with self.database.read() as c:
            starts = self._trusted_starts(c)
            rows = c.execution_options(yield_per=1000).execute(audit.select().order_by(audit.c.writer, audit.c.id))
            for row in rows.mappings():
                records += 1
                if not row["writer"]:
                    unchained += 1
                    continue
                links = [link]
                if row["writer"] != writer:
                    chains, writer = chains + 1, row["writer"]
                    links = ["", starts.get(writer, "")]  # a connection that had nothing left began anew
                if row["chain"] not in [self._link(one, row) for one in links]:
                    broken.append(row["id"])
                link = row["chain"]
        return Verification(records, chains, unchained, tuple(broken))

    def trim(self, before: float, *, relayed: bool, limit: int = 1000) -> int:
        """Delete the oldest records, and note where the chains begin from now on.

        Parameters
        ----------
        before
            Records of this moment and later stay.
        relayed
            Only records that were relayed to everywhere.
        limit
            At most so many records.

        Returns
        -------
        How many were deleted.
        """
        old = audit.c.at < before
        if relayed:
            old &= audit.c.exported.is_(sa.true())
        with self.database.write() as c:
            rows = c.execute(audit.select().where(old).order_by(audit.c.id).limit(limit)).mappings().all()
            if not rows:
                return 0
            # A chain loses its beginning, never its middle, even where a clock went backwards.
            stays = sa.select(audit.c.writer, sa.func.min(audit.c.id)).where(~old).group_by(audit.c.writer)
            first = {str(w): int(i) for w, i in c.execute(stays)}
            going = [r for r in rows if r["id"] < first.get(r["writer"], r["id"] + 1)]
            carried: dict[str, str] = {}
            for row in going:
                if row["event"] == TRIMMED:
                    carried |= json.loads(row["detail"])["starts"]
            ids = [r["id"] for r in going]
            for begin in range(0, len(ids), 500):
                c.execute(audit.delete().where(audit.c.id.in_(ids[begin : begin + 500])))
            alive = sa.select(audit.c.writer).where(audit.c.writer.in_(list(carried))).distinct()
            starts = {w: carried[w] for w in c.execute(alive).scalars()}
            starts |= {r["writer"]: r["chain"] for r in going if r["writer"]}
            if ids:
                detail = {"records": len(ids), "starts": starts}
                self.note(TRIMMED, actor="vidi", action="D", detail=detail, connection=c)
            return len(ids)

    def _append(self, c: sa.Connection, row: dict[str, Any]) -> None:
        row |= {"at": time.time(), "writer": "", "chain": ""}
        if self._site_key is not None:
            row["writer"] = c.info.setdefault(_WRITER, secrets.token_hex(8))
            row["chain"] = self._link(self._end(c, row["writer"]), row)
            c.info[_END] = (c.get_transaction(), row["chain"])
        c.execute(_INSERT, row)

    def _end(self, c: sa.Connection, writer: str) -> str:
        """Where a connection's chain ends: as of this transaction's last record, else as the journal says."""
        transaction, link = c.info.get(_END, (None, ""))
        if transaction is not None and transaction is c.get_transaction():
            return str(link)
        return c.execute(_LAST, {"writer": writer}).scalar() or ""

    def _link(self, previous: str, row: Mapping[Any, Any]) -> str:
        assert self._site_key is not None
        return self._site_key.mac(json.dumps([previous, *(row[name] for name in _SEALED)]))

    def _trusted_starts(self, c: sa.Connection) -> dict[str, str]:
        """Where shortened chains begin, as notes say that are themselves linked under the site key."""
        starts: dict[str, str] = {}
        for row in c.execute(audit.select().where(audit.c.event == TRIMMED).order_by(audit.c.id.desc())).mappings():
            before = sa.select(audit.c.chain).where((audit.c.writer == row["writer"]) & (audit.c.id < row["id"]))
            link = c.execute(before.order_by(audit.c.id.desc()).limit(1)).scalar() or ""
            stated: dict[str, str] = json.loads(row["detail"])["starts"]
            # What stood before the note may be trimmed too: then the note, or a later one, says what it was.
            links = (link, "", stated.get(row["writer"], ""), starts.get(row["writer"], ""))
            if row["chain"] in [self._link(one, row) for one in links]:
                starts = stated | starts
        return starts


def as_dict(record: AuditRecord) -> dict[str, Any]:
    """Return a record as JSON values."""
    return {k: v for k, v in vars(record).items() if v not in ("", {})}


def _record(row: Mapping[Any, Any]) -> AuditRecord:
    values = {n: row[n] for n in AuditRecord.__dataclass_fields__}
    return AuditRecord(**(values | {"detail": json.loads(row["detail"]) if row["detail"] else {}}))


def _kind(value: object) -> str | list[Any]:
    """What is written of values that JSON has no word for: their type; a header's element never gets in."""
    return list(value) if isinstance(value, Iterable) and not hasattr(value, "keys") else type(value).__name__
