"""REST: films fetched from other archives."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vidi_gateway.handlers.pulls import PullHandler
from vidi_gateway.http.hosts import sender
from vidi_gateway.http.schemas import moment
from vidi_gateway.store import pulls

_UID = r"^([0-9]+(\.[0-9]+)*)?$"
_DATES = r"^(\d{8}|\d{8}-|-\d{8}|\d{8}-\d{8})?$"


class PullTarget(BaseModel):
    """A study, series or instance to fetch, by the UIDs down to its level."""

    model_config = ConfigDict(extra="forbid")

    study_uid: str = Field(max_length=64, min_length=1, pattern=_UID)
    series_uid: str = Field(default="", max_length=64, pattern=_UID)
    sop_uid: str = Field(default="", max_length=64, pattern=_UID)


class PullQuery(BaseModel):
    """What to look for; nothing that names a patient. `study_date`: YYYYMMDD, or a range with a hyphen."""

    model_config = ConfigDict(extra="forbid")

    study_date: str = Field(default="", pattern=_DATES)
    modalities: list[Annotated[str, Field(pattern=r"^[A-Z0-9]{1,16}$")]] = Field(
        default=["CR", "DX"], min_length=1, max_length=8
    )
    body_part: str = Field(default="", max_length=16, pattern=r"^[A-Z0-9 _*?]*$")
    limit: int = Field(default=0, ge=0, description="Most studies; 0: all.")


class NewPull(BaseModel):
    """A pull to be started: by `query` or by `items`."""

    model_config = ConfigDict(extra="forbid")

    archive: str = Field(max_length=64)
    display_name: str = Field(default="", max_length=128)
    model: str = Field(default="", max_length=128)
    query: PullQuery | None = None
    items: list[PullTarget] = Field(default_factory=list, max_length=100_000)

    @model_validator(mode="after")
    def _one_of_two(self) -> NewPull:
        if (self.query is None) == (not self.items):
            raise ValueError("give either a query or items")
        return self

    @property
    def what(self) -> pulls.Query | list[pulls.Target]:
        """As the journal wants it."""
        if self.query is None:
            return [pulls.Target(**i.model_dump()) for i in self.items]
        values = self.query.model_dump()
        return pulls.Query(**(values | {"modalities": tuple(values["modalities"])}))


class Pull(BaseModel):
    """A pull. Counts are items, `films` instances that came. `last_error` says why nothing goes on right now."""

    id: str
    display_name: str
    archive: str
    model: str
    query: PullQuery | None
    state: pulls.PullState
    last_error: str
    total: int
    waiting: int
    done: int
    failed: int
    left_out: int
    films: int
    created: dt.datetime
    updated: dt.datetime

    @classmethod
    def of(cls, value: pulls.Pull) -> Pull:
        """From the journal."""
        values: dict[str, Any] = vars(value) | {"id": value.pull_id, "archive": value.peer}
        values |= {"created": moment(value.created_at), "updated": moment(value.updated_at)}
        values["query"] = vars(value.query) if value.query else None
        return cls.model_validate({name: values[name] for name in cls.model_fields})


class PullItem(BaseModel):
    """One thing to fetch, and how that went."""

    position: int
    study_uid: str
    series_uid: str
    sop_uid: str
    state: pulls.ItemState
    attempts: int
    films: int
    last_error: str

    @classmethod
    def of(cls, value: pulls.Item) -> PullItem:
        """From the journal."""
        values = vars(value) | vars(value.target)
        return cls.model_validate({name: values[name] for name in cls.model_fields})


class PullPage(BaseModel):
    """Pulls, the newest first."""

    pulls: list[Pull]


class PullItemPage(BaseModel):
    """Items in order; ask for those after the last position."""

    items: list[PullItem]


def router(handler: PullHandler, admitted: Any) -> APIRouter:
    """Return the routes. `admitted` is a dependency that refuses who may not operate the gateway."""
    api = APIRouter(prefix="/api/v1/pulls", tags=["pulls"], dependencies=[Depends(admitted)])

    @api.post("", status_code=202)
    async def create(new: NewPull, request: Request) -> Pull:
        """Fetch films from an archive in the background, at lower priority than arriving films."""
        source = f"http:{sender(request)}"
        made = await handler.create(
            new.archive, new.what, model=new.model, display_name=new.display_name, source=source
        )
        return Pull.of(made)

    @api.get("")
    async def list_pulls(
        page_size: Annotated[int, Query(ge=1, le=1000)] = 100, before: dt.datetime | None = None
    ) -> PullPage:
        """List pulls, the newest first; `before` is the creation time of the last one that is known."""
        found = await handler.page(page_size, before.timestamp() if before else None)
        return PullPage(pulls=[Pull.of(p) for p in found])

    @api.get("/{pull_id}")
    async def get(pull_id: str) -> Pull:
        """Return a pull with its progress."""
        return Pull.of(await handler.get(pull_id))

    @api.get("/{pull_id}/items")
    async def items(
        pull_id: str,
        state: pulls.ItemState | None = None,
        after: int = -1,
        page_size: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> PullItemPage:
        """List a pull's items, such as those that failed, with the code of what went wrong."""
        return PullItemPage(items=[PullItem.of(i) for i in await handler.items(pull_id, page_size, after, state)])

    @api.post("/{pull_id}/cancel")
    async def cancel(pull_id: str, request: Request) -> Pull:
        """Leave out what was not fetched yet; what came stays."""
        return Pull.of(await handler.cancel(pull_id, f"http:{sender(request)}"))

    @api.post("/{pull_id}/resume", status_code=202)
    async def resume(pull_id: str, request: Request) -> Pull:
        """Fetch what failed or was left out."""
        return Pull.of(await handler.resume(pull_id, f"http:{sender(request)}"))

    return api
