"""Processes are killed with films in flight: gateway, workers, services."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa

from tests.faults.conftest import PostgresServer, Sites
from tests.faults.harness import Backends, Film, count, wait
from vidi_gateway.dimse.receiver import Receiver

pytestmark = pytest.mark.timeout(3600)


def test_gateway_killed(site: Sites, backends: Backends, pacs: Receiver, films: list[Film]) -> None:
    state = site()
    gateway = state.process()
    modality = state.modality(films)
    wait("some are taken", lambda: modality.count >= len(films) // 3)
    gateway.kill()  # while films come in
    taken = modality.count
    backends.services["explainer"].freeze()
    gateway.start()
    modality.finished()
    wait("films are worked on", lambda: state.states()["processing"] > 0)
    gateway.kill()  # in the middle of a step
    backends.services["explainer"].thaw()
    gateway.start()
    state.wait_for_done(len(films) / 2)
    gateway.kill()  # while results are published and sent
    gateway.start()
    state.settle(len(films))
    count("gateway killed three times (SQLite)", state, pacs, films, f"{taken} acknowledged before")


def test_worker_killed_and_back(
    site: Sites, backends: Backends, pacs: Receiver, postgres: PostgresServer, films: list[Film]
) -> None:
    state = site(url=postgres.database())
    first, second = state.front_and_workers()
    backends.services["explainer"].freeze()
    modality = state.modality(films)
    wait("films are worked on", lambda: state.states()["processing"] == 2)
    first.kill()  # in the middle of a step
    backends.services["explainer"].thaw()
    first.start()
    modality.finished()
    state.wait_for_done(len(films) / 2)
    second.kill()  # while results are published and sent
    second.start()
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
