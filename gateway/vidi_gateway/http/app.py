"""The FastAPI application: a thin skin over the handlers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse

from vidi import __version__
from vidi.errors import (
    AlreadyExists,
    Cancelled,
    Exhausted,
    Expired,
    InternalError,
    InvalidInput,
    NotFound,
    PreconditionFailed,
    Unavailable,
    ViDiError,
)
from vidi_gateway.handlers.cohorts import CohortHandler
from vidi_gateway.handlers.films import Films
from vidi_gateway.handlers.jobs import JobHandler
from vidi_gateway.http import routes_cohorts, routes_films
from vidi_gateway.http.hosts import NotAdmitted
from vidi_gateway.http.page import render
from vidi_gateway.http.schemas import Problem

#: The one table from errors to HTTP (RFC 9110 section 15).
STATUS: tuple[tuple[type[ViDiError], int], ...] = (
    (InvalidInput, 400),
    (NotFound, 404),
    (AlreadyExists, 409),
    (PreconditionFailed, 409),
    (Exhausted, 429),
    (Unavailable, 503),
    (Expired, 504),
    (Cancelled, 499),
    (NotAdmitted, 403),
    (ViDiError, 500),
)
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Handlers:
    """What the application calls.

    Attributes
    ----------
    films, jobs, cohorts
        The handlers.
    ready
        Raises Unavailable, naming what is missing, unless films can be processed now.
    models
        Loaded models as JSON.
    metrics
        Prometheus text and its media type.
    max_film_bytes
        Largest body taken.
    admitted
        Dependency of what takes films in: refuses unknown senders.
    routers
        More routes: DICOMweb, pulls, operations.
    """

    films: Films
    jobs: JobHandler
    cohorts: CohortHandler
    ready: Callable[[], Awaitable[None]]
    models: Callable[[], Awaitable[list[dict[str, Any]]]]
    metrics: Callable[[], tuple[bytes, str]]
    max_film_bytes: int
    admitted: Callable[[Request], Awaitable[None]]
    routers: tuple[APIRouter, ...] = ()


def build(handlers: Handlers) -> FastAPI:
    """Return the application."""
    app = FastAPI(
        title="ViDi gateway",
        version=__version__,
        description="Films in, results out. ViDi assists; a radiologist decides. Not for diagnosis.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # its page loads scripts from other hosts
        redoc_url=None,
        responses={status: {"model": Problem} for status in (400, 404, 409, 429, 503)},
    )
    app.add_exception_handler(ViDiError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unknown)

    @app.middleware("http")
    async def harden(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await proceed(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.get("/healthz", tags=["operation"])
    async def healthz() -> dict[str, str]:
        """Whether the process is alive."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["operation"])
    async def readyz() -> dict[str, str]:
        """Whether films can be processed now; 503 names what is missing."""
        await handlers.ready()
        return {"status": "ready"}

    @app.get("/metrics", tags=["operation"], response_class=Response)
    def metrics() -> Response:
        """Prometheus metrics."""
        # Not async: some are read from the journal, in a thread of the framework's.
        body, media_type = handlers.metrics()
        return Response(body, media_type=media_type)

    @app.get("/api/v1/models", tags=["models"])
    async def models() -> list[dict[str, Any]]:
        """Loaded models with their cards (`vidi.api.common.v1.Model` in proto3 JSON)."""
        return await handlers.models()

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page(page_token: Annotated[str, Query(max_length=256)] = "") -> HTMLResponse:
        listed = await handlers.films.list(50, page_token)
        return HTMLResponse(render(listed, Path(__file__).parent))

    app.include_router(routes_films.router(handlers.films, handlers.max_film_bytes, handlers.admitted))
    app.include_router(routes_cohorts.router(handlers.cohorts, handlers.jobs))
    for router in handlers.routers:
        app.include_router(router)
    return app


async def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, ViDiError)
    status = next(code for kind, code in STATUS if isinstance(error, kind))
    violations = [vars(v) for v in error.violations] if isinstance(error, InvalidInput) else []
    problem = Problem(reason=error.reason, message=str(error), violations=violations)
    headers = {}
    if isinstance(error, Exhausted | Unavailable):
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    return JSONResponse(problem.model_dump(), status, headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # Values are left out: a field that was filled in wrongly may hold a patient's name.
    violations = [{"field": ".".join(map(str, e["loc"])), "description": str(e["msg"])} for e in error.errors()]
    problem = Problem(reason="INVALID_INPUT", message="the request does not fit the schema", violations=violations)
    return JSONResponse(problem.model_dump(), 400)


async def _unknown(request: Request, error: Exception) -> Response:
    problem = Problem(reason=InternalError.reason, message="internal error; the log of this moment says more")
    return JSONResponse(problem.model_dump(), 500, dict(HEADERS))
