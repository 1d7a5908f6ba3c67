"""REST: the audit trail."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel

from vidi_gateway.http.hosts import sender
from vidi_gateway.http.schemas import moment
from vidi_gateway.store.audit import Audit, AuditRecord
from vidi_gateway.threads import Threads


class Record(BaseModel):
    """Who did what, and what came of it; no patient data."""

    id: int
    at: dt.datetime
    event: str
    film_id: str
    source: str
    actor: str
    action: str
    outcome: str
    detail: dict[str, Any]

    @classmethod
    def of(cls, record: AuditRecord) -> Record:
        """From the journal."""
        values = vars(record) | {"at": moment(record.at)}
        return cls(**{name: values[name] for name in cls.model_fields})


class Trail(BaseModel):
    """Records, the newest first; ask for those before the last id."""

    records: list[Record]


class Verified(BaseModel):
    """What a verification found. `broken` holds ids of records that do not continue their chain, at most 1000."""

    intact: bool
    records: int
    chains: int
    unchained: int
    broken: list[int]


def router(audit: Audit, threads: Threads, operators: Any) -> APIRouter:
    """Return the routes. `operators` is a dependency that refuses everybody but operators."""
    api = APIRouter(prefix="/api/v1/operations", tags=["operation"], dependencies=[Depends(operators)])

    @api.get("/audit")
    async def trail(
        request: Request,
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
        event: Annotated[list[str] | None, Query(max_length=32)] = None,
        film: Annotated[str, Query(max_length=64)] = "",
        before: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
    ) -> Trail:
        """Read the trail; that it was read stands in it too."""
        found = await threads.run(
            audit.page,
            limit,
            before,
            events=tuple(event or ()),
            film_id=film,
            since=_seconds(since),
            until=_seconds(until),
        )
        detail = {"records": len(found)}
        await threads.run(audit.note, "audit log used", source=f"http:{sender(request)}", action="R", detail=detail)
        return Trail(records=[Record.of(r) for r in found])

    @api.post("/audit/verify")
    async def verify(request: Request) -> Verified:
        """Check that no record was changed or removed since it was written. Reads the whole trail."""
        found = await threads.run(audit.verify)
        detail = {"records": found.records, "broken": len(found.broken)}
        outcome = "" if found.intact else "BROKEN"
        await threads.run(
            audit.note, "audit log used", source=f"http:{sender(request)}", action="R", outcome=outcome, detail=detail
        )
        return Verified(
            intact=found.intact,
            records=found.records,
            chains=found.chains,
            unchained=found.unchained,
            broken=list(found.broken[:1000]),
        )

    return api


def _seconds(at: dt.datetime | None) -> float:
    """Seconds since the epoch; 0 for None. A time without a zone is UTC."""
    if at is None:
        return 0.0
    return (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).timestamp()
