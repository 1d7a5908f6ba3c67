"""REST: the reading list."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from vidi_gateway.handlers.worklist import ReadingList, Row
from vidi_gateway.http.schemas import moment
from vidi_gateway.store.records import FilmState


class UrgencyReason(BaseModel):
    """Why a study is pulled forward. `code` is stable, for programs; `message` is for people."""

    code: str
    message: str


class ListedFilm(BaseModel):
    """A film of the study. Refused, failed and pending films say nothing about the patient."""

    film_id: str
    state: FilmState


class Entry(BaseModel):
    """A study on the reading list.

    `position` is where it is best read, `arrival_position` where it came. `urgency` 0 says nothing about the study: it
    stays where it came. `badge` must stand beside whatever is shown of its results.
    """

    study: str
    position: int
    arrival_position: int
    received: dt.datetime
    urgency: float
    urgency_band: int
    urgency_reasons: list[UrgencyReason]
    may_be_overtaken: bool
    badge: Literal["", "superseded", "withdrawn"]
    states: dict[FilmState, int]
    films: list[ListedFilm]

    @classmethod
    def of(cls, row: Row) -> Entry:
        """From the list."""
        study, urgency = row.study, row.study.urgency
        return cls.model_validate(
            {
                "study": study.key,
                "position": row.position,
                "arrival_position": row.arrival_position,
                "received": moment(study.arrived),
                "urgency": urgency.score,
                "urgency_band": row.band,
                "urgency_reasons": [vars(r) for r in urgency.reasons],
                "may_be_overtaken": row.overtakable,
                "badge": study.badge,
                "states": study.states,
                "films": [{"film_id": f.film_id, "state": f.state} for f in study.films],
            }
        )


class WorklistPage(BaseModel):
    """A part of the reading list."""

    studies: list[Entry]
    total: int
    next_page_token: str
    notice: str = (
        "Urgency pulls studies forward and never back. It is no finding, and a study without it is not a normal one."
    )


def router(reading_list: ReadingList) -> APIRouter:
    """Return the routes."""
    api = APIRouter(prefix="/api/v1", tags=["worklist"])

    @api.get("/worklist")
    async def worklist(
        hours: Annotated[float, Query(gt=0, le=24 * 31)] = 24.0,
        page_size: Annotated[int, Query(ge=1, le=1000)] = 100,
        page_token: Annotated[str, Query(max_length=256)] = "",
    ) -> WorklistPage:
        """List studies in reading order: order of arrival, with urgent ones pulled forward.

        ViDi does not know what has been read; leave that out of the answer, the order of the rest stays right.
        """
        page = await reading_list.page(hours=hours, size=page_size, token=page_token)
        return WorklistPage(
            studies=[Entry.of(row) for row in page.rows], total=page.total, next_page_token=page.next_token
        )

    return api
