"""Processes are killed with films in flight: gateway, workers, services."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa

from tests.faults.conftest import PostgresServer, Sites
from tests.faults.harness import Backends, Film, count, wait
from vidi_gateway.dimse.receiver import Receiver

pytestmark = pytest.mark.timeout(3600)


def test_gateway_killed(site: Sites, pacs: Receiver, films: list[Film]) -> None:
    state = site()
    gateway = state.process()
    modality = state.modality(films)
    wait("some are taken", lambda: modality.count >= len(films) // 3)
    gateway.kill()
    assert modality.count < len(films), "killed too late to show anything"
    gateway.start()
    modality.finished()
    for part in (4, 2):  # killed twice in the middle of the work
        state.wait_for_done(len(films) / part)
        gateway.kill()
        assert state.busy(), "killed too late to show anything"
        gateway.start()
    state.settle(len(films))
    count("gateway killed three times (SQLite)", state, pacs, films)


def test_worker_killed_and_back(site: Sites, pacs: Receiver, postgres: PostgresServer, films: list[Film]) -> None:
    state = site(url=postgres.database())
    workers = state.front_and_workers()
    modality = state.modality(films)
    for turn in range(2):
        state.wait_for_done((turn + 1) * len(films) / 4)
        workers[turn].kill()
        assert state.busy()
        time.sleep(1.0)
        workers[turn].start()
    modality.finished()
    state.settle(len(films))
    count("each of two workers killed, and back (PostgreSQL)", state, pacs, films)


def test_worker_killed_for_good(
    site: Sites, backends: Backends, pacs: Receiver, postgres: PostgresServer, films: list[Film]
) -> None:
    state = site(url=postgres.database(), VIDI_WORKER_LOST_SECONDS="4")
    first, second = state.front_and_workers()
    state.send(*films[: len(films) // 2])
    state.wait_for_done(len(films) / 4)
    explainer = backends.services["explainer"]
    explainer.freeze()
    modality = state.modality(films)
    held = "SELECT count(*) FROM dbos.workflow_status WHERE executor_id = 'worker-0' AND status = 'PENDING'"
    wait("it has a film in its hands", lambda: state.scalar(held) > 0)
    first.kill()
    modality.finished()
    # The engine lets go what it calls under way when its tables cannot be read at the wrong moment: here, one film.
    let_go = "UPDATE dbos.workflow_status SET status = 'PENDING', executor_id = 'worker-1', updated_at = 0 "
    let_go += "WHERE workflow_uuid = (SELECT max(workflow_uuid) FROM dbos.workflow_status WHERE status = 'ENQUEUED')"

    def one_let_go() -> bool:
        with state.database.write() as c:
            return c.execute(sa.text(let_go)).rowcount == 1

    wait("one is let go", one_let_go)
    explainer.thaw()
    state.settle(len(films), alive=False)
    assert state.scalar("SELECT count(*) FROM workers") == 1, "it is known that the other one is gone"
    assert "workflows stranded" in second.log
    count("a worker killed for good, with films in its hands (PostgreSQL)", state, pacs, films)


@pytest.mark.parametrize("service", ["classifier", "explainer", "clusterer"])
def test_service_killed(site: Sites, backends: Backends, pacs: Receiver, films: list[Film], service: str) -> None:
    state = site()
    state.process()
    state.send(*films[: len(films) // 2])
    state.wait_for_done(len(films) / 4)
    backends.services[service].kill()
    modality = state.modality(films)
    if service != "clusterer":  # films need no clusterer
        time.sleep(3.0)
        assert state.busy(), f"films are done without a {service}"
        backends.services[service].start()
    modality.finished()
    state.settle(len(films))
    count(f"{service} killed", state, pacs, films)
