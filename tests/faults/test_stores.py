"""What the gateway stores in fails with films in flight: the cache, the database, the disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.conftest import PostgresServer, Sites
from tests.faults.harness import Backends, Film, Site, count, wait
from vidi_gateway.dimse.receiver import Receiver

pytestmark = pytest.mark.timeout(3600)
MIB = 1 << 20


def test_valkey_killed(site: Sites, backends: Backends, pacs: Receiver, films: list[Film]) -> None:
    state = site()
    state.process()
    parts = [films[i * len(films) // 3 : (i + 1) * len(films) // 3] for i in range(3)]
    state.send(*parts[0])
    wait("films are worked on", lambda: state.states()["received"] < len(parts[0]))
    backends.valkey.kill()
    state.send(*parts[1])
    wait("films are explained without the cache", lambda: not state.active())
    state.send(*parts[2])
    backends.valkey.start()
    state.settle(len(films))
    count("Valkey killed and back", state, pacs, films)


def test_valkey_frozen(site: Sites, backends: Backends, pacs: Receiver, films: list[Film]) -> None:
    state = site()
    state.process()
    backends.valkey.freeze()
    try:
        state.modality(films).finished()
        state.settle(len(films))
    finally:
        backends.valkey.thaw()
    count("Valkey frozen all the while", state, pacs, films)


def test_postgresql_killed(
    site: Sites, backends: Backends, pacs: Receiver, postgres: PostgresServer, films: list[Film]
) -> None:
    state = site(url=postgres.database())
    state.front_and_workers()
    state.send(*films[: len(films) // 3])
    state.wait_for_done(1)
    backends.services["explainer"].freeze()
    modality = state.modality(films, associations=2)
    wait("films are worked on", lambda: state.states()["processing"] > 0)
    _kill_for_a_while(state, postgres)  # in the middle of steps, and while films come in
    backends.services["explainer"].thaw()
    state.wait_for_done(len(films) / 2)
    _kill_for_a_while(state, postgres)  # while results are published and sent
    modality.finished()
    state.settle(len(films))
    count("PostgreSQL killed twice", state, pacs, films)


def _kill_for_a_while(state: Site, postgres: PostgresServer) -> None:
    postgres.kill()
    time.sleep(4.0)  # longer than a step's attempts at a defect
    postgres.start()
    state.database.engine.dispose()


def test_disk_full(request: pytest.FixtureRequest) -> None:
    if os.geteuid() != 0:  # only root may mount, and everybody is root of a namespace of his own
        own = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-m", "pytest", request.node.nodeid]
        subprocess.run(own, check=True, cwd=request.config.rootpath)
        return
    _fill_the_disk(*map(request.getfixturevalue, ("site", "pacs", "small_disk", "films")))


def _fill_the_disk(site: Sites, pacs: Receiver, small_disk: Path, films: list[Film]) -> None:
    state = site(folder=small_disk / "state")
    gateway = state.process()
    first = films[: len(films) // 2]
    state.send(*first)
    state.wait_for_done(1)
    ballast = small_disk / "ballast"
    _fill(ballast, small_disk)
    modality = state.modality(films)
    wait("the disk is noticed", lambda: "STORE_FULL" in gateway.log or "not taken" in gateway.log)
    time.sleep(5.0)
    _fill(ballast, small_disk)
    assert gateway.running, gateway.log
    taken = modality.count
    assert taken < len(films), "films were acknowledged on a full disk"
    ballast.unlink()
    modality.finished()
    state.settle(len(films))
    count("disk full, then room again", state, pacs, films, f"{taken} acknowledged while it was full")


def _fill(ballast: Path, disk: Path) -> None:
    """Write until nothing fits any more."""
    with ballast.open("ab", buffering=0) as file:
        while free := shutil.disk_usage(disk).free:
            try:
                file.write(bytes(min(free, MIB)))
            except OSError:
                break
