"""The gateway's transports on top of its parts: gRPC with the pass-through, and HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from google.protobuf.json_format import MessageToDict

from vidi import metrics
from vidi.errors import InvalidInput, Unavailable
from vidi.service import Mounted
from vidi_gateway.compose import Gateway, gateway
from vidi_gateway.handlers.cohorts import CohortHandler
from vidi_gateway.handlers.jobs import JobHandler
from vidi_gateway.handlers.patients import PatientMerger
from vidi_gateway.handlers.pulls import PullHandler
from vidi_gateway.handlers.rules import check_models
from vidi_gateway.hl7.handler import Merges
from vidi_gateway.hl7.listener import Listener
from vidi_gateway.http.app import Handlers, build
from vidi_gateway.http.hosts import only
from vidi_gateway.http.operator import operator_routes
from vidi_gateway.http.server import serving
from vidi_gateway.passthrough import FORWARDED, add_forwarders
from vidi_gateway.pull.runner import PullRunner
from vidi_gateway.servicer import NAME, StudyServicer, add_study_service
from vidi_gateway.settings import GatewaySettings
from vidi_gateway.store.cohorts import Cohorts
from vidi_gateway.store.jobs import Jobs
from vidi_gateway.store.pulls import Pulls
from vidi_gateway.threads import ended

READY_SECONDS = 5.0


@asynccontextmanager
async def mounted(settings: GatewaySettings) -> AsyncIterator[Mounted]:
    """Open the gateway by its role: a worker has no transports of its own.

    Raises
    ------
    PreconditionFailed
        Another process uses the data directory.
    Unavailable
        A port is taken.
    """
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(gateway(settings))
        if settings.role == "worker":
            yield Mounted(add_to=lambda _server: None, names=(), drain=parts.drain, endpoints=parts.endpoints)
            return
        cohorts = CohortHandler(
            Cohorts(parts.journal.database),
            parts.journal,
            parts.store,
            parts.services,
            parts.threads,
            settings.default_model,
        )
        jobs = JobHandler(
            jobs=Jobs(parts.journal.database),
            films=parts.films,
            journal=parts.journal,
            services=parts.services,
            changes=parts.changes,
            threads=parts.threads,
            default_model=settings.default_model,
        )
        feeding = asyncio.create_task(jobs.feed(), name="vidi-jobs")
        stack.push_async_callback(ended, feeding)
        pulls = Pulls(parts.journal.database)
        puller = PullRunner(settings, pulls=pulls, films=parts.films, journal=parts.journal, threads=parts.threads)
        puller.start()
        stack.push_async_callback(puller.close)
        merges = Merges(
            PatientMerger(parts.lifecycle, parts.store, parts.site_key, settings.patient_issuer),
            parts.audit,
            parts.threads,
            parts.site_key.mac,
            max_bytes=settings.mllp_max_bytes,
            codec=settings.mllp_charset,
            processing_id=settings.mllp_processing_id,
        )
        if settings.mllp_port >= 0:
            await _listen(stack, Listener(settings, merges, settings.mllp_tls), settings, parts)
        if settings.http_port >= 0:
            pull_handler = PullHandler(
                settings,
                pulls=pulls,
                films=parts.films,
                audit=parts.audit,
                threads=parts.threads,
                on_change=puller.wake,
            )
            app = build(_handlers(settings, parts, jobs, cohorts, pull_handler, merges))
            url = await stack.enter_async_context(
                serving(app, settings.http_host, settings.http_port, settings.http_tls)
            )
            parts.endpoints["http"] = url
        study = StudyServicer(parts.films, jobs, cohorts)

        def add_to(server: Any) -> None:
            add_study_service(server, study)
            add_forwarders(server, parts.services.channels)

        names = (NAME, *(name for name, _register, _forwarder in FORWARDED))
        yield Mounted(add_to=add_to, names=names, drain=parts.drain, endpoints=parts.endpoints)


def _handlers(
    settings: GatewaySettings,
    parts: Gateway,
    jobs: JobHandler,
    cohorts: CohortHandler,
    pulls: PullHandler,
    merges: Merges,
) -> Handlers:
    async def models() -> list[dict[str, Any]]:
        return [MessageToDict(m, preserving_proto_field_name=True) for m in await parts.services.models()]

    async def ready() -> None:
        await parts.threads.run(parts.journal.unfinished_count)
        try:
            async with asyncio.timeout(READY_SECONDS):
                await parts.services.healthy()
            await check_models(parts.rules, parts.services)
        except InvalidInput as e:
            raise Unavailable(e.message, reason=e.reason) from None
        except TimeoutError:
            raise Unavailable("a service does not answer", reason="NOT_READY") from None

    return Handlers(
        films=parts.films,
        jobs=jobs,
        cohorts=cohorts,
        ready=ready,
        models=models,
        metrics=metrics.render,
        max_film_bytes=settings.max_film_bytes,
        admitted=only(settings.stow_peers, "http", parts.audit, parts.threads),
        routers=tuple(operator_routes(settings, parts, pulls, merges)),
    )


async def _listen(stack: AsyncExitStack, listener: Listener, settings: GatewaySettings, parts: Gateway) -> None:
    try:
        await listener.open()
    except OSError as e:
        where = f"{settings.mllp_host}:{settings.mllp_port}"
        raise Unavailable(f"the HL7 listener cannot listen on {where}: {e.strerror}", reason="PORT_TAKEN") from e
    stack.push_async_callback(listener.close)
    parts.endpoints["mllp"] = f"{settings.mllp_host}:{listener.port}"
