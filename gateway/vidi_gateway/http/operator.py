"""The routes beside the REST API of films: DICOMweb for senders, pulls and operations for those who run the gateway."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter

from vidi_gateway.compose import Gateway
from vidi_gateway.dicomweb.stow import StowLimits, StowReceiver
from vidi_gateway.handlers.exports import Exports
from vidi_gateway.handlers.nodes import Nodes
from vidi_gateway.handlers.operations import Operations
from vidi_gateway.handlers.pulls import PullHandler
from vidi_gateway.handlers.rules import RulesHandler
from vidi_gateway.handlers.withdrawals import Withdrawals
from vidi_gateway.handlers.worklist import ReadingList
from vidi_gateway.hl7.handler import Merges
from vidi_gateway.http import (
    routes_audit,
    routes_dicomweb,
    routes_exports,
    routes_nodes,
    routes_operations,
    routes_patients,
    routes_pulls,
    routes_replay,
    routes_rules,
    routes_withdrawals,
    routes_worklist,
)
from vidi_gateway.http.hosts import only
from vidi_gateway.settings import GatewaySettings
from vidi_gateway.store.cohorts import Cohorts
from vidi_gateway.store.worklist import Worklist


def operator_routes(
    settings: GatewaySettings, parts: Gateway, pulls: PullHandler, merges: Merges
) -> Iterator[APIRouter]:
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
    operators = only(settings.operator_peers, "operator", parts.audit, parts.threads)
    operations = Operations(parts.overviews, parts.controls, parts.changes, parts.threads, settings.low_disk_bytes)
    yield routes_operations.router(operations, operators)
    withdrawals = Withdrawals(parts.journal, parts.lifecycle, parts.audit, parts.changes, parts.threads)
    yield routes_withdrawals.router(withdrawals, operators)
    yield routes_replay.router(parts.films, parts.audit, parts.threads, operators)
    yield routes_audit.router(parts.audit, parts.threads, operators)
    cohorts = Cohorts(parts.journal.database)
    yield routes_exports.router(Exports(cohorts, parts.films, parts.audit, parts.exporter, parts.threads), operators)
    yield routes_pulls.router(pulls, operators)
    yield routes_patients.router(merges, operators)
    yield routes_nodes.router(Nodes(settings), operators)
    trial = RulesHandler(settings, parts.rules, parts.services, parts.threads)
    yield routes_rules.router(trial, settings.max_film_bytes, operators)
    worklist = Worklist(parts.journal.database)
    yield routes_worklist.router(ReadingList(worklist, parts.rules.reading_order, parts.threads))
