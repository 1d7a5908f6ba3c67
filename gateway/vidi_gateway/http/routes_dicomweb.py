"""DICOMweb: STOW-RS (PS3.18 section 10.5)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from vidi.errors import Cancelled, Exhausted, Expired, InvalidInput, NotFound, ViDiError
from vidi_gateway.dicomweb.stow import StowReceiver
from vidi_gateway.http.hosts import sender
from vidi_gateway.http.schemas import Problem

MEDIA_TYPE = "application/dicom+json"
ACCEPTABLE = {"*/*", "application/*", MEDIA_TYPE, "application/json"}
DRAIN_BYTES, DRAIN_SECONDS = 16 << 20, 5.0
#: Refusals of a whole request by our own code, where it is not what the error's type says.
_STATUS = {"MEDIA_TYPE": 415, "ENCODING": 415, "TOO_LARGE": 413, "TOO_MANY_PARTS": 413, "NOT_ACCEPTABLE": 406}
_UID = Annotated[str, Path(max_length=64, pattern=r"^[0-9]+(\.[0-9]+)*$")]
_MODEL = Annotated[str, Query(max_length=128, description="Model line; empty: the site's default.")]


def router(stow: StowReceiver, admitted: Any) -> APIRouter:
    """Return the routes. `admitted` is a dependency that refuses unknown senders."""
    api = APIRouter(prefix="/dicomweb", tags=["dicomweb"], dependencies=[Depends(admitted)])

    @api.post("/studies")
    async def store(request: Request, model: _MODEL = "") -> JSONResponse:
        """Store instances: multipart/related; type="application/dicom". 200 means that all are durable."""
        return await _store(request, stow, "", model)

    @api.post("/studies/{study_uid}")
    async def store_in_study(request: Request, study_uid: _UID, model: _MODEL = "") -> JSONResponse:
        """Store instances of one study; those of another study fail."""
        return await _store(request, stow, study_uid, model)

    return api


async def _store(request: Request, stow: StowReceiver, study_uid: str, model: str) -> JSONResponse:
    body = request.stream()
    try:
        _check_headers(request)
        stored = await stow.receive(
            body,
            request.headers.get("content-type", ""),
            source=f"stow:{sender(request)}",
            study_uid=study_uid,
            model=model,
        )
    except ClientDisconnect:
        return _problem(Cancelled("the sender hung up"), 400)
    except ViDiError as e:
        await _drain(body)
        return _problem(e, _STATUS.get(e.reason) or _status(e))
    headers = {"Retry-After": str(max(1, round(stored.retry_after)))} if stored.status == 503 else {}
    return JSONResponse(stored.to_json(), stored.status, headers, MEDIA_TYPE)


async def _drain(body: AsyncIterator[bytes]) -> None:
    """Read some of what is left: a sender whose connection is closed while it sends does not see the answer."""
    size = 0
    with contextlib.suppress(ClientDisconnect, TimeoutError, RuntimeError):  # RuntimeError: it was read to its end
        async with asyncio.timeout(DRAIN_SECONDS):
            async for chunk in body:
                size += len(chunk)
                if size > DRAIN_BYTES:
                    return


def _check_headers(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        # A small body may inflate without bound.
        raise InvalidInput("encoded bodies are not taken", field="content-encoding", reason="ENCODING")
    accepted = [part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "*/*").split(",")]
    if not ACCEPTABLE.intersection(accepted):
        raise InvalidInput(f"answers come as {MEDIA_TYPE}", field="accept", reason="NOT_ACCEPTABLE")


def _status(error: ViDiError) -> int:
    if isinstance(error, InvalidInput):
        return 400
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, Expired):
        return 408
    return 503 if isinstance(error, Exhausted) else 500


def _problem(error: ViDiError, status: int) -> JSONResponse:
    headers = {"Retry-After": str(max(1, round(getattr(error, "retry_after", 1.0))))} if status == 503 else {}
    # The rest of the body is not read: a connection that goes on in the middle of it would be misunderstood.
    headers["Connection"] = "close"
    return JSONResponse(Problem(reason=error.reason, message=str(error)).model_dump(), status, headers)
