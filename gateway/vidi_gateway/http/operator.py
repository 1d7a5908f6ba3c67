"""The routes beside the REST API of films: DICOMweb for senders, pulls and operations for those who run the gateway."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter

from vidi_gateway.compose import Gateway
from vidi_gateway.dicomweb.stow import StowLimits, StowReceiver
from vidi_gateway.http import routes_dicomweb
from vidi_gateway.http.hosts import only
from vidi_gateway.settings import GatewaySettings


def operator_routes(settings: GatewaySettings, parts: Gateway) -> Iterator[APIRouter]:
    """Yield the routes."""
    limits = StowLimits(
        max_film_bytes=settings.max_film_bytes,
        max_parts=settings.stow_max_parts,
        max_bytes=settings.stow_max_bytes,
        max_requests=settings.stow_max_requests,
        silence_seconds=settings.dimse_timeout,
    )
    receiver = StowReceiver(parts.films, parts.audit, parts.threads, limits)
    senders = only(settings.stow_peers, "stow", parts.audit, parts.threads)
    yield routes_dicomweb.router(receiver, senders)
