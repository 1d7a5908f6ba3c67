"""REST: dead letters sent again."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from vidi_gateway.handlers.films import Films
from vidi_gateway.http.hosts import sender
from vidi_gateway.store.audit import Audit
from vidi_gateway.threads import Threads


class ReplayRequest(BaseModel):
    """Which dead letters: of a film, for a destination, both, or all."""

    model_config = ConfigDict(extra="forbid")

    film_id: str = Field(default="", max_length=64)
    destination: str = Field(default="", max_length=64)


class Replayed(BaseModel):
    """How many objects are tried again."""

    objects: int


def router(films: Films, audit: Audit, threads: Threads, operators: Any) -> APIRouter:
    """Return the routes. `operators` is a dependency that refuses everybody but operators."""
    api = APIRouter(prefix="/api/v1/operations", tags=["operation"], dependencies=[Depends(operators)])

    @api.post("/replay")
    async def replay(request: Request, asked: ReplayRequest) -> Replayed:
        """Try objects again that were set aside after too many attempts, or because they were refused."""
        if asked.film_id:
            await films.get(asked.film_id)
        count = await films.replay(asked.film_id, asked.destination)
        detail = {"objects": count, "destination": asked.destination}
        await threads.run(
            audit.note, "replay", film_id=asked.film_id, source=f"http:{sender(request)}", action="E", detail=detail
        )
        return Replayed(objects=count)

    return api
