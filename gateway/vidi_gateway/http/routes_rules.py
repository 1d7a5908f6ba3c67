"""REST: what the site's rules would do with a film."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from vidi.errors import InvalidInput
from vidi_gateway.handlers.rules import RulesHandler

_TYPES = ("application/dicom",)


def router(rules: RulesHandler, max_bytes: int, operators: Callable[[Request], Awaitable[None]]) -> APIRouter:
    """Return the routes.

    Parameters
    ----------
    rules
        The handler.
    max_bytes
        Largest body taken.
    operators
        Dependency that refuses everybody but operators.
    """
    api = APIRouter(prefix="/api/v1/rules", tags=["operation"], dependencies=[Depends(operators)])

    @api.post("/try")
    async def try_film(
        request: Request,
        source: Annotated[str, Query(max_length=128)] = "http",
        called: Annotated[str, Query(max_length=16)] = "",
        model: Annotated[str, Query(max_length=128)] = "",
    ) -> dict[str, Any]:
        """Say what would happen to a film (application/dicom) that came from `source`; nothing of it is kept.

        `source` is written as in the journal, such as dimse:ROOM1@10.0.0.5; `called` is the AE title that was called.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in _TYPES:
            raise InvalidInput(f"content type must be {_TYPES[0]}", field="content-type")
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > max_bytes:
                raise InvalidInput(f"the body is larger than {max_bytes >> 20} MiB", field="body", reason="TOO_LARGE")
            parts.append(part)
        run = await rules.dry_run(b"".join(parts), source=source, called=called, model=model)
        return run.to_json()

    return api
