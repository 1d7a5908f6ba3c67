"""REST: de-identified export of a cohort, a film at a time."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from vidi_gateway.export.profile import Options
from vidi_gateway.export.secret import Names
from vidi_gateway.handlers.exports import Asked, Exports
from vidi_gateway.http.hosts import sender


class ExportFilm(BaseModel):
    """One film of an export. The secret makes the names; whoever exports makes it up, and forgets it afterwards."""

    model_config = ConfigDict(extra="forbid")

    cohort_id: str = Field(max_length=64)
    film_id: str = Field(max_length=64)
    model: str = Field(default="", max_length=128)
    secret: str = Field(pattern="^[0-9a-f]{64}$", repr=False)
    keep_age_and_sex: bool = False
    shift_dates: bool = False
    actor: str = Field(default="", max_length=64, pattern=r"^[\w.@+ -]*$")


def router(exports: Exports, operators: Any) -> APIRouter:
    """Return the routes. `operators` is a dependency that refuses everybody but operators."""
    api = APIRouter(prefix="/api/v1/operations", tags=["operation"], dependencies=[Depends(operators)])

    @api.post("/export/film", response_class=Response, responses={200: {"content": {"application/zip": {}}}})
    async def film(request: Request, asked: ExportFilm) -> Response:
        """Return a film, de-identified (PS3.15 annex E), with its maps and its row of the table, as a ZIP archive."""
        host = f"http:{sender(request)}"
        made = await exports.film(
            Asked(
                cohort_id=asked.cohort_id,
                film_id=asked.film_id,
                model=asked.model,
                names=Names.from_hex(asked.secret),
                options=Options(asked.keep_age_and_sex, asked.shift_dates),
                actor=f"{asked.actor} ({host})" if asked.actor else host,
            )
        )
        return Response(made, media_type="application/zip")

    return api
