"""A new version takes over with films in flight: what the old one had begun goes on where it was."""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

import vidi
import vidi_gateway
from tests.faults.conftest import PostgresServer, Sites
from tests.faults.harness import Backends, Film, count, wait
from vidi_gateway.dimse.receiver import Receiver

pytestmark = pytest.mark.timeout(3600)
NEXT = "9.9.9"


@pytest.fixture(scope="session")
def newer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of the next version: the same code elsewhere, with another version and a changed workflow."""
    root = tmp_path_factory.mktemp("newer")
    for package in (vidi, vidi_gateway):
        assert package.__file__
        source = Path(package.__file__).parent
        shutil.copytree(source, root / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    call = "return await self._film("
    for name, old, new in (
        ("vidi/__init__.py", f'__version__ = "{vidi.__version__}"', f'__version__ = "{NEXT}"'),
        # The engine's own application version would be a digest of this function's source.
        ("vidi_gateway/pipeline/workflow.py", call, f"_changed = True\n            {call}"),
    ):
        path = root / name
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)}


def test_upgrade_in_flight(
    site: Sites, backends: Backends, pacs: Receiver, newer: dict[str, str], films: list[Film]
) -> None:
    state = site()
    gateway = state.process()
    state.send(*films[: len(films) // 2])
    state.wait_for_done(len(films) / 4)
    explainer = backends.services["explainer"]
    explainer.freeze()
    modality = state.modality(films)
    wait("films are worked on", lambda: state.states()["processing"] > 0)
    gateway.stop()
    explainer.thaw()
    held = state.states()["processing"]
    assert held, "nothing was in flight"
    gateway.environment |= newer
    gateway.start()
    modality.finished()
    state.settle(len(films))
    assert state.scalar("SELECT version FROM workers") == NEXT, "the newer one runs"
    count("upgrade in flight (SQLite)", state, pacs, films, f"{held} were in its hands")


def test_rolling_upgrade(
    site: Sites, backends: Backends, pacs: Receiver, postgres: PostgresServer, newer: dict[str, str], films: list[Film]
) -> None:
    state = site(url=postgres.database())
    workers = state.front_and_workers()
    parts = [films[: len(films) // 3], films[len(films) // 3 :]]
    explainer = backends.services["explainer"]
    held = 0
    for turn, worker in enumerate(workers):
        mine = f"FROM dbos.workflow_status WHERE executor_id = 'worker-{turn}' AND status = 'PENDING'"
        explainer.freeze()
        state.send(*parts[turn])
        wait("it works on films", functools.partial(state.scalar, f"SELECT count(*) > 0 {mine}"))
        worker.stop()
        held += state.scalar(f"SELECT count(*) {mine}")
        explainer.thaw()
        worker.environment |= newer
        worker.start()
    modality = state.modality(films)  # all once more, while the front is replaced
    front = state.processes["front"]
    front.stop()
    front.environment |= newer
    front.start()
    modality.finished()
    state.settle(len(films))
    with state.database.read() as c:
        assert set(c.execute(sa.text("SELECT version FROM workers")).scalars()) == {NEXT}
    assert held, "nothing was in flight"
    count("rolling upgrade of a front and two workers (PostgreSQL)", state, pacs, films, f"{held} were in their hands")
