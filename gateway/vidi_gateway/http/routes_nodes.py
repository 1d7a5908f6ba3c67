"""REST: the nodes that the gateway knows by name."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from vidi_gateway.handlers.nodes import Nodes
from vidi_gateway.matches import Level


class EchoResult(BaseModel):
    """Whether a node answers; `error` says why not."""

    ok: bool
    error: str
    seconds: float


class NodeQuery(BaseModel):
    """What to look for. Keys are DICOM keywords that name no patient."""

    model_config = ConfigDict(extra="forbid")

    level: Level = Level.STUDY
    keys: dict[str, Annotated[str, Field(max_length=256)]] = Field(default_factory=dict, max_length=16)
    limit: int = Field(default=100, ge=1, le=100_000)


class NodeMatch(BaseModel):
    """A study, series or instance; what the node did not say is empty."""

    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class_uid: str
    modality: str
    date: str
    instances: int | None


class NodeMatches(BaseModel):
    """What a node has."""

    matches: list[NodeMatch]


def router(nodes: Nodes, operators: Any) -> APIRouter:
    """Return the routes. `operators` is a dependency that refuses everybody but operators."""
    api = APIRouter(prefix="/api/v1/operations/nodes", tags=["operation"], dependencies=[Depends(operators)])

    @api.post("/{name}/echo")
    async def echo(name: str) -> EchoResult:
        """Say whether a node answers the gateway."""
        said = await nodes.echo(name)
        return EchoResult(ok=said.ok, error=said.error, seconds=said.seconds)

    @api.post("/{name}/query")
    async def query(name: str, asked: NodeQuery) -> NodeMatches:
        """Say what a node has, by C-FIND or QIDO-RS."""
        found = await nodes.query(name, asked.level, asked.keys, asked.limit)
        return NodeMatches(matches=[NodeMatch(**m) for m in found])

    return api
