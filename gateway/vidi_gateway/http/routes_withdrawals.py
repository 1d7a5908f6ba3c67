"""REST: withdrawals, and what a model has touched."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from vidi_gateway.handlers.withdrawals import Withdrawals
from vidi_gateway.http.hosts import sender
from vidi_gateway.http.schemas import moment
from vidi_gateway.store.records import FilmState

Reason = Literal["withdrawn", "quality", "safety", "worklist", "retention"]


class WithdrawRequest(BaseModel):
    """Films to be withdrawn with all their results, and why."""

    model_config = ConfigDict(extra="forbid")

    film_ids: list[str] = Field(min_length=1, max_length=10_000)
    reason: Reason = "withdrawn"


class Withdrawn(BaseModel):
    """How many films were withdrawn; those that were withdrawn already do not count."""

    films: int


class ImpactedFilm(BaseModel):
    """A film that a model has touched, and the destinations that may have its results."""

    film_id: str
    study: str
    state: FilmState
    model_version: str
    model_digest: str
    superseded_by: str
    updated: dt.datetime
    destinations: list[str]


class ImpactList(BaseModel):
    """What a model has touched."""

    model: str
    digest: str
    count: int
    films: list[ImpactedFilm]


class WithdrawImpactRequest(BaseModel):
    """Results of a model to be withdrawn. `expected`: how many the caller has looked at."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(min_length=1, max_length=128)
    digest: str = Field(default="", max_length=71)
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    reason: Reason = "withdrawn"
    expected: int = Field(ge=1)


def router(withdrawals: Withdrawals, operators: Callable[[Request], Awaitable[None]]) -> APIRouter:
    """Return the routes; `operators` refuses everybody else."""
    api = APIRouter(prefix="/api/v1/operations", tags=["operation"], dependencies=[Depends(operators)])

    @api.post("/withdraw")
    async def withdraw(request: Request, asked: WithdrawRequest) -> Withdrawn:
        """Withdraw films; archives that may have results of them get a rejection note."""
        return Withdrawn(films=await withdrawals.withdraw(asked.film_ids, asked.reason, _actor(request)))

    @api.get("/impact")
    async def impact(
        model: Annotated[str, Query(min_length=1, max_length=128)],
        digest: Annotated[str, Query(max_length=71)] = "",
        since: Annotated[dt.datetime | None, Query(alias="from")] = None,
        until: Annotated[dt.datetime | None, Query(alias="to")] = None,
    ) -> ImpactList:
        """List what a model has touched."""
        touched = await withdrawals.impact(model, digest, _seconds(since), _seconds(until))
        films = [
            ImpactedFilm(
                film_id=t.film_id,
                study=t.study_key,
                state=t.state,
                model_version=t.model_version,
                model_digest=t.model_digest,
                superseded_by=t.superseded_by,
                updated=moment(t.updated_at),
                destinations=list(t.destinations),
            )
            for t in touched
        ]
        return ImpactList(model=model, digest=digest, count=len(films), films=films)

    @api.post("/impact/withdraw")
    async def withdraw_impact(request: Request, asked: WithdrawImpactRequest) -> Withdrawn:
        """Withdraw all results that the list names; 409 when there are more or fewer than expected by now."""
        count = await withdrawals.withdraw_impact(
            asked.model,
            asked.digest,
            _seconds(asked.since),
            _seconds(asked.until),
            reason=asked.reason,
            expected=asked.expected,
            actor=_actor(request),
        )
        return Withdrawn(films=count)

    return api


def _actor(request: Request) -> str:
    return f"http:{sender(request)}"


def _seconds(at: dt.datetime | None) -> float:
    """Seconds since the epoch; 0 for None. A time without a zone is UTC."""
    if at is None:
        return 0.0
    return (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).timestamp()
