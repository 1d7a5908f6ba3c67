"""REST: how the gateway is doing, and the switch that stops delivery."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from vidi_gateway.handlers.operations import Operations, Status
from vidi_gateway.http.hosts import sender
from vidi_gateway.http.schemas import moment
from vidi_gateway.store.controls import DeliveryState, Switch


class DeliverySwitch(BaseModel):
    """Whether results are sent. `since` and `actor` say when and by whom that was decided; null: never."""

    state: DeliveryState
    since: dt.datetime | None
    actor: str

    @classmethod
    def of(cls, switch: Switch) -> DeliverySwitch:
        """From the journal."""
        since = moment(switch.since) if switch.since else None
        return cls(state=switch.state, since=since, actor=switch.actor)


class SetDelivery(BaseModel):
    """Where the switch is to stand. `actor` names who decides it, for the audit trail; no patient data."""

    model_config = ConfigDict(extra="forbid")

    state: DeliveryState
    actor: str = Field(default="", max_length=64, pattern=r"^[\w.@+ -]*$")


class SourceStatus(BaseModel):
    """A source of films. Counts are those of the last 24 hours."""

    source: str
    last_film: dt.datetime | None
    films: dict[str, int]
    refusals: dict[str, int]


class Undelivered(BaseModel):
    """Objects that a destination does not have for certain yet, or that are not tried any more (dead)."""

    destination: str
    state: str
    objects: int


class GatewayStatus(BaseModel):
    """How the gateway is doing. `banner` must be seen wherever its results are; empty when nothing must."""

    at: dt.datetime
    delivery: DeliverySwitch
    banner: str
    warnings: list[str]
    unfinished: int
    oldest_unfinished: dt.datetime | None
    undelivered: list[Undelivered]
    disk_free_bytes: int
    sources: list[SourceStatus]

    @classmethod
    def of(cls, status: Status) -> GatewayStatus:
        """From the handler."""
        seen = status.overview
        return cls(
            at=moment(seen.at),
            delivery=DeliverySwitch.of(status.delivery),
            banner=status.banner,
            warnings=list(status.warnings),
            unfinished=seen.unfinished,
            oldest_unfinished=None if seen.oldest_unfinished is None else moment(seen.oldest_unfinished),
            undelivered=[
                Undelivered(destination=name, state=state.value, objects=count)
                for (name, state), count in seen.undelivered.items()
            ],
            disk_free_bytes=seen.free_bytes,
            sources=[
                SourceStatus(
                    source=s.name,
                    last_film=None if s.last_film is None else moment(s.last_film),
                    films=s.films,
                    refusals=s.refusals,
                )
                for s in seen.sources
            ],
        )


def router(operations: Operations, operators: Callable[[Request], Awaitable[None]]) -> APIRouter:
    """Return the routes.

    Parameters
    ----------
    operations
        The handler.
    operators
        Dependency that refuses everybody but operators.
    """
    api = APIRouter(prefix="/api/v1/operations", tags=["operation"], dependencies=[Depends(operators)])

    @api.get("/status")
    async def status() -> GatewayStatus:
        """Say how the gateway is doing."""
        return GatewayStatus.of(await operations.status())

    @api.get("/delivery")
    async def delivery() -> DeliverySwitch:
        """Say whether results are sent."""
        return DeliverySwitch.of(await operations.delivery())

    @api.post("/delivery")
    async def set_delivery(request: Request, wanted: SetDelivery) -> DeliverySwitch:
        """Stop sending in every process within half a second, or go on with what is due.

        While it is stopped, films are acknowledged, processed and stored as ever.
        """
        actor = f"{wanted.actor} (http:{sender(request)})" if wanted.actor else f"http:{sender(request)}"
        return DeliverySwitch.of(await operations.set_delivery(wanted.state, actor))

    return api
